"""What a saved model keeps of how it was made."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.bottleneck.sparse.choice import choose_sparse_head
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.provenance import Candidate, Origin
from jaxcbm.model.calibration import fit_calibration
from jaxcbm.model.model import Model, load_model


def small_model(concepts: ConceptSet) -> Model:
    """Untrained, on embeddings of width 4, for two classes."""
    config = BottleneckConfig()
    _, params = build_bottleneck(config, 4, len(concepts), 2, seed=0)
    return Model(
        config=config,
        params={path: np.asarray(value) for path, value in params.items()},
        input_map=InputMap(None, np.zeros(4, np.float32)),
        concepts=concepts,
        concept_embeddings=np.eye(len(concepts), 4, dtype=np.float32),
        classes=("amber", "blue"),
        encoder_name="jaxcbm/tiny",
        encoder_hash="0" * 64,
        logit_scale=10.0,
        logit_bias=0.0,
    )


def test_a_model_keeps_where_its_phrases_come_from_and_what_filters_dropped(tmp_path):
    given = [Candidate("long tail", Origin("attributes")), Candidate("thing", Origin("llm"))]
    concepts = ConceptSet.from_candidates(given, {"by": "hand"})
    concepts = concepts.without({"thing": "says nothing"}, "by hand", {"below": 1})
    small_model(concepts).save(tmp_path / "model")
    kept = load_model(tmp_path / "model").concepts
    assert kept.to_json() == concepts.to_json()
    assert [origin.source for origin in kept.origins["long tail"]] == ["attributes"]
    assert kept.filters[-1].dropped[0].phrase == "thing"


def test_a_loaded_model_predicts_what_the_saved_one_did(tmp_path):
    model = small_model(ConceptSet.from_phrases(["long tail", "red crown"]))
    model.save(tmp_path / "model")
    rows = np.eye(3, 4, dtype=np.float32)
    before = model.predict_embeddings(rows)
    after = load_model(tmp_path / "model").predict_embeddings(rows)
    np.testing.assert_array_equal(after.class_logits, before.class_logits)
    assert after.labels == before.labels


def sparse_model() -> tuple[Model, np.ndarray, np.ndarray]:
    """A model with a sparse path, and activations with labels to draw its curve on."""
    model = small_model(ConceptSet.from_phrases([f"part {d}" for d in range(6)]))
    rng = np.random.default_rng(0)
    activations = rng.normal(3, 2, (80, 6)).astype(np.float32)
    labels = (activations @ rng.normal(size=6) + rng.normal(0, 2, 80) > 0).astype(np.int32)
    choice = choose_sparse_head(activations, labels, activations, labels, 2, path_length=8)
    head = {"head.kernel": np.ascontiguousarray(choice.head.T), "head.bias": choice.bias}
    params = {**model.params, **head}
    return dataclasses.replace(model, params=params, sparse_path=choice), activations, labels


_CURVE = """
import sys, numpy as np
from jaxcbm.model.model import load_model
rows = np.load(sys.argv[2])
path = load_model(sys.argv[1]).sparse_path
print(path.curve(rows["activations"], rows["labels"], (1, 2, 4, 5, 9)).accuracies.tolist())
"""


def test_the_sparse_path_reads_the_same_in_another_process(tmp_path):
    model, activations, labels = sparse_model()
    model.save(tmp_path / "model")
    kept = load_model(tmp_path / "model").sparse_path
    assert kept is not None and model.sparse_path is not None
    assert kept.sized is not None
    jax.tree.map(np.testing.assert_array_equal, kept, model.sparse_path)
    bare = dataclasses.replace(model, sparse_path=kept._replace(sized=None))
    bare.save(tmp_path / "bare")
    assert load_model(tmp_path / "bare").sparse_path.sized is None  # pyright: ignore
    np.savez(tmp_path / "rows.npz", activations=activations, labels=labels)
    arguments = [tmp_path / "model", tmp_path / "rows.npz"]
    done = subprocess.run(
        [sys.executable, "-c", _CURVE, *arguments], capture_output=True, text=True, check=True
    )
    here = model.sparse_path.curve(activations, labels, (1, 2, 4, 5, 9))
    assert done.stdout.strip() == str(here.accuracies.tolist())
    assert len(set(here.accuracies.tolist())) > 1


def test_a_model_without_a_path_has_none(tmp_path):
    model, *_ = sparse_model()
    dataclasses.replace(model, sparse_path=None).save(tmp_path / "model")
    old = load_model(tmp_path / "model")
    assert old.sparse_path is None
    np.testing.assert_array_equal(old.head, model.head)


def calibrated_model() -> Model:
    model, activations, labels = sparse_model()
    present = (activations > 3).astype(float)
    present[:, 2] = np.nan
    logits = np.stack([labels, 1.0 - labels], axis=1)
    record = fit_calibration(activations, labels, activations, logits, labels, present, present)
    return dataclasses.replace(model, calibration=record)


def test_a_calibration_comes_back_as_it_was_and_predicts(tmp_path):
    model = calibrated_model()
    model.save(tmp_path / "model")
    kept = load_model(tmp_path / "model")
    assert kept.calibration is not None and model.calibration is not None
    for one, other in zip(
        vars(kept.calibration).values(), vars(model.calibration).values(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
        assert type(one) is type(other)
    rows = np.eye(3, 4, dtype=np.float32)
    before, after = (each.predict_embeddings(rows) for each in (model, kept))
    np.testing.assert_array_equal(after.class_probabilities, before.class_probabilities)
    np.testing.assert_array_equal(after.concept_probabilities, before.concept_probabilities)
    assert np.isnan(after.concept_probabilities).any(axis=0).tolist() == [d == 2 for d in range(6)]


def test_a_model_without_a_calibration_says_its_softmax(tmp_path):
    dataclasses.replace(calibrated_model(), calibration=None).save(tmp_path / "model")
    old = load_model(tmp_path / "model")
    assert old.calibration is None
    said = old.predict_embeddings(np.eye(3, 4, dtype=np.float32))
    softmax = np.exp(said.class_logits) / np.exp(said.class_logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(said.class_probabilities, softmax, rtol=1e-6)
