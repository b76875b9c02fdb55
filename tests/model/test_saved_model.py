"""What a saved model keeps of how it was made."""

import numpy as np

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.provenance import Candidate, Origin
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
