"""Which concepts lose their class information, in every kind of layer, and who sees it."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError
from jaxcbm.experiment.config import read_experiment
from jaxcbm.model.model import Model
from jaxcbm.training.config import SparseHeadConfig
from jaxcbm.training.erase import erase_unannotated
from jaxcbm.training.sparsify import sparsify

CLASSES, WIDTH = ("owl", "wren", "tit"), 8
PHRASES = tuple(f"phrase {d}" for d in range(6))


def features(known=PHRASES[:4], images=240, seed=0):
    """Embeddings around a mean for each class, and annotations of some phrases."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % len(CLASSES)
    means = np.random.default_rng(9).normal(size=(len(CLASSES), WIDTH))
    rows = (rng.normal(size=(images, WIDTH)) + means[labels]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    present = (rows[:, : len(known)] > 0).astype(np.float32)
    told = {"annotations": present, "annotation_phrases": known} if known else {}
    return Features.from_arrays(rows, labels, CLASSES, **told)


def model(layer: Literal["factored", "residual", "full"] = "factored"):
    """A bottleneck with random weights on centred scores of random texts."""
    rng = np.random.default_rng(1)
    texts = rng.normal(size=(len(PHRASES), WIDTH)).astype(np.float32)
    inputs = WIDTH if layer == "factored" else len(PHRASES)
    config = BottleneckConfig(parameterisation=layer, sampler="sigmoid")
    _, params = build_bottleneck(config, inputs, len(PHRASES), len(CLASSES))
    params |= {"cbl.kernel": jnp.asarray(rng.normal(size=(inputs, len(PHRASES))), jnp.float32)}
    rows = features().as_array()
    kernel = None if layer == "factored" else jnp.asarray(texts.T)
    centre = rows.mean(axis=0) if kernel is None else rows.mean(axis=0) @ texts.T
    return Model(
        config=config,
        params={name: np.asarray(value) for name, value in params.items()},
        input_map=InputMap(kernel, -jnp.asarray(centre)),
        concepts=ConceptSet.from_phrases(PHRASES),
        concept_embeddings=texts,
        classes=CLASSES,
        encoder_name="none",
        encoder_hash="",
        logit_scale=1.0,
        logit_bias=0.0,
    )


def logits(model, part):
    return model.predict_embeddings(part.as_array()).concept_logits


def between(values, labels):
    """How far class means lie from the common mean, at most."""
    means = np.stack([values[labels == k].mean(axis=0) for k in range(len(CLASSES))])
    return np.abs(means - values.mean(axis=0)).max(axis=0)


@pytest.mark.parametrize("layer", ["factored", "residual", "full"])
def test_unannotated_concepts_alone_lose_what_tells_classes_apart(layer):
    part, before = features(), model(layer)
    after = erase_unannotated(before, part, 1.0)
    old, new = logits(before, part), logits(after, part)
    np.testing.assert_array_equal(new[:, :4], old[:, :4])
    assert (between(old, part.labels)[4:] > 0.3).all()
    assert (between(new, part.labels)[4:] < 1e-4).all()
    # What is left is still about the image, and the common mean is where it was.
    assert (new[:, 4:].std(axis=0) > 0.3).all()
    np.testing.assert_allclose(new.mean(axis=0), old.mean(axis=0), atol=1e-4)
    assert after.metrics["erased_concepts"] == 2


def test_annotations_that_never_say_anything_are_none():
    part = features(PHRASES)
    assert part.annotations is not None
    part.annotations[:, 1] = np.nan
    part.annotations[::2, 2] = np.nan
    new, old = (logits(m, part) for m in (erase_unannotated(model(), part, 1.0), model()))
    assert (new != old).any(axis=0).tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize(("known", "share"), [(PHRASES, 1.0), ((), 1.0), (PHRASES[:4], 0.0)])
def test_nothing_changes_where_there_is_nothing_to_tell_by(known, share):
    before = model()
    assert erase_unannotated(before, features(known), share) is before


def test_the_head_is_solved_on_what_is_left(monkeypatch):
    seen = []

    def remember(train_NxD, labels, valid_MxD, *args, **settings):
        seen.append((train_NxD[: len(train)], valid_MxD))
        raise InterruptedError

    monkeypatch.setattr("jaxcbm.training.sparsify.choose_sparse_head", remember)
    train, valid = features(), features(seed=1)
    for share in (0.0, 0.7):
        with pytest.raises(InterruptedError):
            sparsify(model(), train, valid, SparseHeadConfig(erasure=share))
    before = [model().predict_embeddings(part.as_array()) for part in (train, valid)]
    erased = erase_unannotated(model(), train, 0.7)
    after = [erased.predict_embeddings(part.as_array()) for part in (train, valid)]
    for found, expected in zip(seen, (before, after), strict=True):
        for rows, told in zip(found, expected, strict=True):
            np.testing.assert_array_equal(rows, told.concept_activations)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_a_share(share):
    with pytest.raises(UserError, match=r"sparse_head\.erasure must be a number"):
        read_experiment({}, {"sparse_head.erasure": share})
