"""The dials of the birds: at zero nothing changes, and each does what it says and no more."""

import hashlib
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.data.birds import load_birds, random_birds
from jaxcbm.data.birds.birds import load_parts
from jaxcbm.data.birds.dials import DIALS, Dials, with_noise, withheld_phrases
from jaxcbm.data.birds.drawing import draw_bird, draw_parts
from jaxcbm.data.birds.scene import sample_scene, strengthened
from jaxcbm.data.birds.species import PHRASES, SIZES, all_species, one_hot
from jaxcbm.data.datasets import DataConfig, load_dataset
from jaxcbm.errors import UserError
from jaxcbm.typed_json import from_json

# Of train birds, test birds of another seed, and random birds, before there were dials.
AS_THEY_WERE = "8a1028926a6ebf591c89148eed1a30b4e5cbe6b83772756b8f3a5ba5ab02c6dd"


@cache
def paint(split="train", count=2, size=16, **dials):
    return load_birds(split, images_per_class=count, size=size, dials=Dials(**dials))


def changed_pictures(before, after) -> np.ndarray:
    return (before.source.pixels != after.source.pixels).any(axis=(1, 2, 3))


def same(before, after) -> bool:
    return (
        not changed_pictures(before, after).any()
        and before.captions == after.captions
        and np.array_equal(before.annotations, after.annotations)
    )


def test_the_birds_are_as_they_were():
    digest = hashlib.sha256()
    for birds in (
        load_birds("train", images_per_class=1),
        load_birds("test", images_per_class=1, seed=2, dials=Dials()),
        random_birds(24, seed=1),
    ):
        digest.update(birds.source.pixels.tobytes())
        digest.update(birds.annotations.tobytes())
        digest.update("\n".join(c for captions in birds.captions for c in captions).encode())
    assert digest.hexdigest() == AS_THEY_WERE, (
        "other birds than those of all results so far: undo the change, or make every result and "
        "the built-in encoder anew (a new Pillow may round polygons otherwise: then compare "
        "pictures by eye, and put the new digest here)"
    )


@pytest.mark.parametrize("dial", DIALS)
@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan")])
def test_a_dial_goes_from_0_to_1(dial, level):
    with pytest.raises(UserError, match=f"data.dials: {dial} must be a number"):
        from_json(Dials, {dial: level}, "data.dials")


def test_a_dial_of_another_dataset_is_the_users_mistake():
    with pytest.raises(UserError, match=r"config\.data\.dials\.shortcut is a dial of the birds"):
        load_dataset(DataConfig(name="folder", root="x", dials=Dials(shortcut=0.5)))


@pytest.mark.parametrize("dial", DIALS)
def test_the_same_again(dial):
    first, again = (paint(count=1, **{dial: 0.7}) for _ in range(2))
    assert same(first, again)
    assert not same(first, load_birds("train", images_per_class=1, size=16))


def test_workers_do_not_change_the_result():
    dials = Dials(*(0.5 for _ in DIALS))
    alone, together = (
        load_birds("train", images_per_class=1, size=16, workers=workers, dials=dials)
        for workers in (1, 2)
    )
    assert same(alone, together)


@given(share=st.floats(0.0, 1.0), more=st.floats(0.0, 1.0), seed=st.integers(0, 9))
def test_a_share_of_annotations_is_flipped(share, more, seed):
    true = np.random.default_rng(seed).integers(0, 2, (200, 57)).astype(np.float32)
    told = with_noise(true, share, np.random.default_rng(seed))
    assert told.dtype == np.float32 and set(np.unique(told)) <= {0.0, 1.0}
    flipped = told != true
    # Six standard deviations of as many coins.
    assert abs(flipped.mean() - share) <= 6 * np.sqrt(share / flipped.size) + 1e-12
    again = with_noise(true, max(share, more), np.random.default_rng(seed)) != true
    assert again[flipped].all()


def test_noise_falls_on_every_phrase_alike_and_on_no_picture():
    before, noisy = paint(count=6), paint(count=6, annotation_noise=0.3)
    assert noisy.captions == before.captions and not changed_pictures(before, noisy).any()
    flipped = noisy.annotations != before.annotations
    assert abs(flipped.mean() - 0.3) < 0.01
    assert np.abs(flipped.mean(axis=0) - 0.3).max() < 0.1


@pytest.mark.parametrize("dial", ["annotation_noise", "shortcut"])
def test_what_a_model_is_tested_on_stays_true(dial):
    assert same(paint("test", 1), paint("test", 1, **{dial: 1.0}))
    assert not same(paint("valid", 1), paint("valid", 1, **{dial: 1.0}))


@given(share=st.floats(0.0, 1.0), seed=st.integers(0, 5))
def test_withheld_phrases_are_a_share_and_nested(share, seed):
    withheld = withheld_phrases(share, seed)
    assert len(withheld) == round(share * len(PHRASES)) and withheld <= set(PHRASES)
    assert withheld_phrases(share / 2, seed) <= withheld


def test_annotations_of_withheld_phrases_are_gone_everywhere():
    withheld = withheld_phrases(0.5, 0)
    for split in ("train", "valid", "test"):
        before, after = paint(split, 1), paint(split, 1, missing_concepts=0.5)
        assert after.annotation_phrases == tuple(p for p in PHRASES if p not in withheld)
        kept = [PHRASES.index(phrase) for phrase in after.annotation_phrases]
        np.testing.assert_array_equal(after.annotations, before.annotations[:, kept])
        assert not changed_pictures(before, after).any()


@pytest.mark.parametrize("correlation", [0.3, 0.8])
def test_marks_and_species_are_so_correlated(correlation):
    before, after = paint(count=6), paint(count=6, shortcut=correlation)
    species_NxK = np.eye(48)[before.labels]
    marked_NxK = species_NxK * changed_pictures(before, after)[:, None]
    measured = np.corrcoef(marked_NxK.ravel(), species_NxK.ravel())[0, 1]
    assert abs(measured - correlation) < 0.06
    np.testing.assert_array_equal(before.annotations, after.annotations)


def test_every_species_has_a_mark_of_its_own_in_the_corner():
    scene = sample_scene(np.random.default_rng(0))
    plain = draw_bird((0,) * len(SIZES), scene)
    marked = [draw_bird((0,) * len(SIZES), scene, mark=k) for k in range(48)]
    assert len({picture.tobytes() for picture in marked}) == 48
    for picture in marked:
        rows, columns = np.nonzero((picture != plain).any(axis=2))
        assert rows.max() < 12 and columns.max() < 28
    # All pictures of one species bear the same mark, whatever is behind it.
    after = paint(count=3, size=64, shortcut=1.0)
    corner = after.source.pixels[:, 3:9, 3:24].astype(float).reshape(48, 3, -1)
    tone = corner - corner.mean(axis=2, keepdims=True)
    tone /= np.linalg.norm(tone, axis=2, keepdims=True) + 1e-9
    first, second = tone[:, 0], tone[:, 1]
    assert ((first @ second.T).argmax(axis=1) == np.arange(48)).mean() > 0.7


def test_stronger_nuisances_hide_more():
    changes, seen, bird = [], [], (1,) * len(SIZES)
    scenes = [sample_scene(np.random.default_rng([5, i])) for i in range(12)]
    for strength in (0.0, 0.2, 0.5, 1.0):
        harder = [
            strengthened(scene, strength, np.random.default_rng([6, i]))
            for i, scene in enumerate(scenes)
        ]
        pairs = zip(scenes, harder, strict=True)
        pixels = [(draw_bird(bird, scene), draw_bird(bird, hard)) for scene, hard in pairs]
        changes.append(np.mean([np.abs(a.astype(int) - b).mean() for a, b in pixels]))
        seen.append(np.stack([draw_parts(bird, hard, 32)["size"] for hard in harder]))
    assert 0 == changes[0] < changes[1] < changes[2] < changes[3]
    for before, after in pairwise(seen):
        assert not (after & ~before).any() and after.sum() < before.sum()


def test_stronger_nuisances_are_in_every_split_and_in_the_places_of_parts():
    for split in ("train", "valid", "test"):
        before, after = paint(split, 1), paint(split, 1, nuisances=0.5)
        assert changed_pictures(before, after).all() and before.captions == after.captions
        np.testing.assert_array_equal(before.annotations, after.annotations)
    plain, hard = (
        load_parts("test", images_per_class=1, size=16, dials=Dials(nuisances=level))
        for level in (0.0, 1.0)
    )
    assert (hard["size"] <= plain["size"]).all() and hard["size"].sum() < plain["size"].sum()


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_share_of_individuals_has_one_more_odd_trait(split):
    before, after = paint(split, 4), paint(split, 4, atypical=0.4)
    changed = (before.annotations != after.annotations).sum(axis=1) / 2
    assert set(changed) == {0.0, 1.0}
    assert abs(changed.mean() - 0.4) < 0.08
    np.testing.assert_array_equal(changed > 0, changed_pictures(before, after))
    typical_NxA = one_hot(np.array([s.values for s in all_species()]))[before.labels]
    shown_as_before = (typical_NxA * before.annotations).sum(axis=1)
    np.testing.assert_array_equal(
        (typical_NxA * after.annotations).sum(axis=1), shown_as_before - changed
    )
    more = paint(split, 4, atypical=1.0).annotations
    assert ((before.annotations != more).sum(axis=1) == 2).all()
    np.testing.assert_array_equal(more[changed > 0], after.annotations[changed > 0])


def test_annotations_and_captions_tell_what_is_painted_of_atypical_birds():
    after = load_birds("test", images_per_class=1, dials=Dials(atypical=1.0))
    blocks = np.split(after.annotations, np.cumsum(SIZES)[:-1], axis=1)
    values = np.stack([block.argmax(axis=1) for block in blocks], axis=1)
    for row, captions in enumerate(after.captions):
        scene = sample_scene(np.random.default_rng([0, 3, row, 1]))
        bird = tuple(int(value) for value in values[row])
        np.testing.assert_array_equal(after.source.pixels[row], draw_bird(bird, scene))
        absent = [p for p, there in zip(PHRASES, after.annotations[row], strict=True) if not there]
        colours = [p for p in absent if p.split()[-1] in ("crown", "back", "belly", "legs")]
        assert not [p for p in colours for caption in captions if p in caption]
