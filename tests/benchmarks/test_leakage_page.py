"""Rules against leakage do what their names say, and the page is what its results say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import f_oneway, kurtosis, skew

from benchmarks import leakage_page
from benchmarks.leakage_birds import PRESENT
from benchmarks.leakage_rules import Layer, bits, erased, erased_beyond, own_scores, penalised
from benchmarks.leakage_signs import explained_by, signs
from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.birds.nuisances import NUISANCE_PHRASES
from jaxcbm.data.features import Features, Splits
from jaxcbm.model.model import Model

DOCS = Path(__file__).parents[2] / "docs"
PHRASES = tuple(f"phrase {d}" for d in range(5))


@pytest.fixture(scope="module")
def layer():
    """Three annotated concepts and two unannotated ones on embeddings of three classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    rows = rng.normal(size=(300, 6)) + 2 * rng.normal(size=(3, 6))[labels]
    present = (rows[:, :3] + rng.normal(size=(300, 3)) > 0).astype(np.float32)
    told: dict[str, Any] = {"annotations": present, "annotation_phrases": PHRASES[:3]}
    part = Features.from_arrays(np.eye(6)[np.arange(300) % 6], labels, ["a", "b", "c"], **told)
    part = replace(part, embeddings=rows.astype(np.float32))
    _, params = build_bottleneck(BottleneckConfig(sampler="sigmoid"), 6, 5, 3)
    model = Model(
        config=BottleneckConfig(sampler="sigmoid"),
        params={name: np.asarray(value) for name, value in params.items()},
        input_map=InputMap(None, -jnp.asarray(part.as_array().mean(axis=0))),
        concepts=ConceptSet.from_phrases(PHRASES),
        concept_embeddings=rng.normal(size=(5, 6)).astype(np.float32),
        classes=part.classes,
        encoder_name="none",
        encoder_hash="",
        logit_scale=1.0,
        logit_bias=0.0,
    )
    return Layer(model, Splits(part, part, part), np.arange(5) >= 3)


def predict(layer):
    return layer.model.predict_embeddings(layer.splits.train.as_array())


def explained(layer, known_NxR):
    """Share of the variance of each logit that a linear reading of labels adds to what is known."""
    z, labels = predict(layer).concept_logits, np.eye(3)[layer.labels]

    def rest(columns):
        return (z - columns @ np.linalg.lstsq(columns, z, rcond=None)[0]).var(axis=0)

    return 1 - rest(np.concatenate([known_NxR, labels], axis=1)) / rest(known_NxR)


def test_erasure_is_the_limit_of_the_penalty(layer):
    ones = np.ones((300, 1))
    shares = [explained(penalised(layer, weight), ones) for weight in (0.0, 1.0, 100.0)]
    assert (np.diff([share[3:] for share in shares], axis=0) < -0.01).all()
    limit, gone = predict(penalised(layer, 1e7)), predict(erased(layer, 1.0))
    np.testing.assert_allclose(limit.concept_logits, gone.concept_logits, atol=1e-3)
    np.testing.assert_array_equal(gone.concept_logits[:, :3], predict(layer).concept_logits[:, :3])


def test_own_scores_are_those_of_the_encoder(layer):
    found = predict(own_scores(layer))
    for d in (3, 4):
        r = np.corrcoef(found.concept_logits[:, d], found.concept_scores[:, d])[0, 1]
        assert r == pytest.approx(1.0, abs=1e-5)
    assert abs(found.concept_logits[:, 3:].std(axis=0) - 1).max() < 1e-3


def test_bits_say_on_which_side_of_the_median_a_logit_lies(layer):
    before, after = predict(layer), predict(bits(layer))
    above = before.concept_logits > np.median(before.concept_logits, axis=0)
    told = after.concept_activations[:, 3:]
    assert np.mean((told < 1e-3) | (told > 1 - 1e-3)) > 0.99
    assert np.mean((told > 0.5) == above[:, 3:]) > 0.99


def test_beyond_its_annotations_a_concept_tells_nothing_of_the_class(layer):
    after = erased_beyond(layer, 1.0)
    present = layer.splits.train.annotations
    for d in range(3):
        known = np.stack([np.ones(300), present[:, d]], axis=1)
        assert explained(layer, known)[d] > 0.05 and explained(after, known)[d] < 1e-6
    assert (after.unknown == layer.unknown).all()
    same = slice(3, None)
    np.testing.assert_array_equal(
        predict(after).concept_logits[:, same], predict(layer).concept_logits[:, same]
    )


def test_signs_are_what_they_are_called():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    scores = rng.exponential(size=(90, 4)) + rng.normal(size=(3, 4))[labels]
    found = signs(scores, labels)
    within = scores - np.stack([scores[labels == k].mean(axis=0) for k in range(3)])[labels]
    np.testing.assert_allclose(found["kurtosis within classes"], kurtosis(within, fisher=False))
    np.testing.assert_allclose(found["skewness within classes"], skew(within))
    for d in range(4):
        groups = f_oneway(*(scores[labels == k, d] for k in range(3))).statistic
        share = found["share of variance between classes"][d]
        assert share / (1 - share) * 87 / 2 == pytest.approx(groups)


def test_a_phrase_that_combines_others_is_explained_and_a_strange_one_is_not():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(8, 40))
    mixed = known.mean(axis=0) + 3 * (known[0] - known[1])
    strange = np.linalg.svd(known)[2][-1] + known.mean(axis=0)
    explained = explained_by(known, np.stack([mixed, strange]))
    assert explained[0] > 0.8 and explained[1] == pytest.approx(0.0, abs=1e-9)


def test_every_nuisance_can_be_seen_in_a_scene():
    assert len(PRESENT) == len(NUISANCE_PHRASES)


def test_the_page_is_what_its_results_say():
    result = json.loads((DOCS / "results" / "leakage.json").read_text("utf-8"))
    assert (DOCS / "leakage.md").read_text("utf-8") == leakage_page.render(result)
