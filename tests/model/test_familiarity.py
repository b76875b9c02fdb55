"""How unlike train an image is, and sets of classes with a promise."""

import dataclasses

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.covariance import empirical_covariance
from test_saved_model import calibrated_model

from jaxcbm.evaluation.trust import trust_metrics
from jaxcbm.model.familiarity import Familiarity, fit_familiarity
from jaxcbm.model.model import Model, load_model
from jaxcbm.model.prediction import Prediction
from jaxcbm.model.prediction_sets import prediction_sets, set_threshold

WIDTH, CLASSES = 5, 3
MEANS = np.random.default_rng(7).normal(0, 2, (CLASSES, WIDTH))


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings about the mean of their class, wider along some axes than along others."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    spread = np.array([0.2, 1.0, 0.5, 2.0, 0.1])
    return (MEANS[labels] + rng.normal(0, spread, (count, WIDTH))).astype(np.float32), labels


def fitted(valid_images: int = 300) -> Familiarity:
    (train, labels), (valid, on_valid) = images(400, 0), images(valid_images, 1)
    return fit_familiarity(train, labels, valid, np.eye(CLASSES)[on_valid], on_valid)


def test_distances_are_mahalanobis_to_the_nearest_class():
    (train, labels), (rows, _) = images(400, 0), images(50, 2)
    means = np.stack([train[labels == k].mean(axis=0) for k in range(CLASSES)])
    within = empirical_covariance(train - means[labels], assume_centered=True)
    shrunk = within + np.trace(within) / WIDTH * np.eye(WIDTH)
    inverse = np.linalg.inv(shrunk)
    expected = cdist(rows, means, "mahalanobis", VI=inverse).min(axis=1)
    np.testing.assert_allclose(fitted().distances(rows), expected, rtol=1e-4)


def test_images_of_unknown_class_and_classes_without_images_do_not_matter():
    train, labels = images(400, 0)
    valid, on_valid = images(50, 1)
    told = valid, np.eye(CLASSES)[on_valid], on_valid
    plain = fit_familiarity(train, labels, *told)
    stray = np.concatenate([train, np.full((9, WIDTH), 50.0, np.float32)])
    other = fit_familiarity(stray, np.append(2 * labels, [-1] * 9), *told)
    np.testing.assert_allclose(other.distances(valid), plain.distances(valid), rtol=1e-5)


def test_familiarity_is_the_share_of_validation_images_as_far_from_train():
    found, (valid, _) = fitted(), images(300, 1)
    distances = found.distances(valid)
    shares = [(1 + np.sum(distances >= d)) / (1 + len(distances)) for d in distances]
    np.testing.assert_allclose(found.familiarity(distances), shares)
    assert found.familiarity(np.array([1e9], np.float32))[0] == 1 / 301
    # Images like those of validation: about 5 % of them are called unfamiliar.
    like, _ = images(4000, 3)
    assert abs(np.mean(found.familiarity(found.distances(like)) <= 0.05) - 0.05) < 0.03


def test_too_few_validation_images_tell_nothing():
    far = np.full((2, WIDTH), 1e3, np.float32)
    for count, familiarity in ((18, np.nan), (19, 0.05)):
        record = fitted(count)
        assert record.can_tell == (count == 19)
        said = Prediction.of(9.0 * np.eye(2, CLASSES), ("a", "b", "c"))
        said = dataclasses.replace(said, image_embeddings=far, trust=record)
        np.testing.assert_allclose(said.familiarity, familiarity)
        assert all("unlike all train" in why for why in said.cautions) == (count == 19)
        assert all(why.startswith("too few") for why in said.cautions) == (count == 18)
        assert said.prediction_sets.all() == (count == 18)
        held = np.array([0, 1]), said, said.class_probabilities, np.array([0, 1])
        assert ("unfamiliar" in trust_metrics(said.class_probabilities, *held)) == (count == 19)


def test_many_validation_distances_are_kept_as_quantiles():
    every, few = fitted(30_000), fitted(900)
    assert len(every.valid_distances) == 1000 and len(few.valid_distances) == 900
    valid, _ = images(30_000, 1)
    distances = every.distances(valid)
    probe = np.quantile(distances, [0.1, 0.5, 0.95]).astype(np.float32)
    np.testing.assert_allclose(every.familiarity(probe), [0.9, 0.5, 0.05], atol=2e-3)


def test_one_image_a_class_is_far_from_all_others_and_no_division_by_zero():
    rows = np.eye(3, dtype=np.float32)
    found = fit_familiarity(rows, np.arange(3), rows, np.eye(3), np.arange(3))
    assert np.isfinite(found.distances(rows)).all()
    assert found.distances(np.full((1, 3), 0.5, np.float32))[0] > found.distances(rows).max()


def chances(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of classes, of which the right one need not be the likeliest."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(6, 0.4), count)
    below = np.cumsum(0.7 * p + 0.05, axis=1) < rng.random((count, 1))
    return p, below.sum(axis=1)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(20, 200), st.integers(0, 10_000))
def test_sets_hold_the_class_of_exchangeable_images_as_often_as_promised(coverage, count, seed):
    """Over draws of calibration and new images: the mean coverage lies where theory puts it."""
    held = []
    for draw in range(60):
        p, labels = chances(count + 400, seed + 7919 * draw)
        threshold = set_threshold(p[:count], labels[:count], coverage)
        sets = prediction_sets(p[count:], threshold)
        held.append(sets[np.arange(400), labels[count:]].mean())
    # 1 - alpha at least and 1 - alpha + 1 / (n + 1) at most, but for chance and the likeliest
    # class, which is always in the set and can add what the theory does not count.
    error = 4 * np.std(held) / np.sqrt(len(held))
    assert np.mean(held) >= coverage - error
    extra = 0.12 if coverage < 0.6 else 0.0
    assert np.mean(held) <= coverage + 1 / (count + 1) + error + extra


def test_the_threshold_by_brute_force():
    for count in (19, 20, 39, 100, 433):
        p, labels = chances(count, count)
        own = p[np.arange(count), labels]
        found = set_threshold(p, labels, 0.95)
        # The highest value that so many images reach that one more, a new one, may count too.
        best = max(
            t for t in [0.0, *own] if np.sum(own >= t) >= 0.95 * (count + 1) - 1e-9 or t == 0
        )
        assert found == best
    assert set_threshold(p[:18], labels[:18], 0.95) == 0.0


def trusting_model() -> Model:
    model = calibrated_model()
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    said, labels = model.predict_embeddings(rows), np.arange(60) % 2
    record = fit_familiarity(rows, labels, rows, said.class_probabilities, labels)
    return dataclasses.replace(model, familiarity=record)


def test_a_saved_model_knows_what_it_has_seen(tmp_path):
    model = trusting_model()
    model.save(tmp_path / "model")
    kept = load_model(tmp_path / "model")
    assert kept.familiarity is not None and model.familiarity is not None
    for one, other in zip(
        vars(kept.familiarity).values(), vars(model.familiarity).values(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
        assert type(one) is type(other)
    rows = np.concatenate([np.eye(3, 4), np.full((1, 4), 99.0)]).astype(np.float32)
    before, after = (each.predict_embeddings(rows) for each in (model, kept))
    np.testing.assert_array_equal(after.familiarity, before.familiarity)
    np.testing.assert_array_equal(after.prediction_sets, before.prediction_sets)
    assert after.cautions == before.cautions
    assert "unlike all train images" in after.cautions[-1]
    assert after.familiarity[-1] == 1 / 61


def test_a_model_without_familiarity_claims_nothing(tmp_path):
    dataclasses.replace(trusting_model(), familiarity=None).save(tmp_path / "model")
    old = load_model(tmp_path / "model")
    said = old.predict_embeddings(np.full((2, 4), 99.0, np.float32))
    assert old.familiarity is None and np.isnan(said.familiarity).all()
    assert said.prediction_sets.all() and said.cautions == ("", "")


def test_a_decision_that_is_certain_is_never_called_unsure():
    (train, labels), (valid, on_valid) = images(400, 0), images(70, 1)
    trust = fit_familiarity(train, labels, valid, np.eye(CLASSES)[on_valid], on_valid)
    logits = np.array([[26.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]], np.float32)[:, :CLASSES]
    said = Prediction(
        logits, *[logits[:, :0]] * 3, valid[:2], tuple(map(str, range(CLASSES))), trust=trust
    )
    assert 0.99 < said.class_probabilities[0].max() < 1.0
    assert [bool(caution) for caution in said.cautions] == [False, True]


def test_a_printed_prediction_is_short():
    logits = np.eye(30, 3, dtype=np.float32)
    said = Prediction.of(logits, ("owl", "wren", "kite"))
    lines = repr(said).splitlines()
    assert lines[0] == "Prediction of 30 images, 3 classes (owl, wren, kite)"
    assert (lines[2], lines[-1], len(lines)) == ("  wren (58%)", "  ...", 12)
    assert (
        repr(said.select([1])) == "Prediction of 1 image, 3 classes (owl, wren, kite)\n  wren (58%)"
    )
    assert "Prediction of 0 images" in repr(said.select(np.zeros(0, int)))
    assert repr(jax.eval_shape(lambda: said)).startswith("Prediction(class_logits=")
