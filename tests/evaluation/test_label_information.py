import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from jaxcbm.data.birds.nuisances import NUISANCE_PHRASES, annotate_scene
from jaxcbm.data.birds.scene import BACKGROUNDS, sample_scene
from jaxcbm.data.birds.species import all_species, one_hot
from jaxcbm.evaluation.label_information import label_information, shuffle_annotations


def test_mutual_information_is_scikit_learns():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 300)
    annotations = (rng.random((300, 3)) < 0.2 + 0.2 * labels[:, None]).astype(float)
    annotations[:50, 1] = np.nan
    found = label_information(annotations, labels, deals=20)
    for d in range(3):
        known = ~np.isnan(annotations[:, d])
        assert found.mutual_information[d] == pytest.approx(
            mutual_info_score(labels[known], annotations[known, d])
        )


def test_deals_are_permutations():
    """The mean over deals is that of really permuted annotations."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 6, 120)
    annotation = (rng.random(120) < 0.3).astype(float)
    found = label_information(annotation[:, None], labels, deals=4000)
    permuted = [mutual_info_score(labels, rng.permutation(annotation)) for _ in range(1500)]
    assert found.by_chance[0] == pytest.approx(np.mean(permuted), rel=0.04)
    own = mutual_info_score(labels, annotation)
    assert found.p_values[0] == pytest.approx(np.mean(np.array(permuted) >= own), abs=0.05)


def test_p_values_of_label_free_concepts_are_uniform():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 8, 400)
    found = label_information((rng.random((400, 300)) < 0.4).astype(float), labels, deals=200)
    assert 0.01 < np.mean(~found.label_free) < 0.1
    assert np.mean(found.p_values) == pytest.approx(0.5, abs=0.06)


def test_constant_and_unknown_annotations():
    annotations = np.stack([np.ones(20), np.full(20, np.nan)], axis=1)
    found = label_information(annotations, np.arange(20) % 2, deals=50)
    assert found.p_values[0] == 1.0 and found.label_free.tolist() == [True, False]
    assert np.isnan(found.p_values[1]) and np.isnan(found.mutual_information[1])


def test_scenes_of_birds_say_nothing_of_the_species_and_attributes_do():
    labels = np.repeat(np.arange(48), 12)
    scenes = [sample_scene(np.random.default_rng([0, 1, i, 1])) for i in range(len(labels))]
    nuisances = np.stack([annotate_scene(scene) for scene in scenes])
    assert nuisances.shape == (len(labels), len(NUISANCE_PHRASES))
    # All of them vary, and the backgrounds are each other's alternatives.
    assert ((nuisances.mean(axis=0) > 0.1) & (nuisances.mean(axis=0) < 0.9)).all()
    assert (nuisances[:, : len(BACKGROUNDS)].sum(axis=1) == 1).all()
    found = label_information(nuisances, labels, level=0.01)
    assert found.label_free.sum() >= len(NUISANCE_PHRASES) - 1
    attributes = one_hot(np.array([species.values for species in all_species()])[labels])
    assert not label_information(attributes, labels, level=0.01).label_free.any()


def test_shuffled_annotations_are_label_free():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 300)
    annotations = np.stack([labels == 0, labels == 1, labels == 2], axis=1).astype(float)
    shuffled = shuffle_annotations(annotations, [0, 2])
    np.testing.assert_array_equal(shuffled[:, 1], annotations[:, 1])
    np.testing.assert_array_equal(shuffled.sum(axis=0), annotations.sum(axis=0))
    found = label_information(shuffled, labels, level=0.001)
    assert found.label_free.tolist() == [True, False, True]
