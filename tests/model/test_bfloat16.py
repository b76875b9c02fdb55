"""How many labels are the same with the encoder in bfloat16: docs/inference.md states it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from contract_cases import CASES

from benchmarks import bfloat16_labels
from benchmarks.bfloat16_labels import RESULT, agreement, fitted
from jaxcbm.data.birds.birds import load_birds
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.load import load_encoder
from jaxcbm.model.random_model import random_model

FIRST = {case.kind: case for case in reversed(CASES.values())}


def test_trained_encoders_of_every_family_keep_their_labels():
    families = json.loads(RESULT.read_text("utf-8"))["families"]
    assert families.keys() == FAMILIES.keys() == FIRST.keys()
    for kind, found in families.items():
        assert found["same"] >= 0.995, kind
        # A model that always says the same class would agree with anything.
        assert found["accuracy"] > 0.5, kind


@pytest.mark.slow
def test_what_is_measured_has_learnt(monkeypatch, capsys):
    """A convolutional tower and a text tower whose rows are padded, for a few steps."""
    short = replace(bfloat16_labels.TRAINING, steps=40, warmup_steps=5, batch_size=32)
    monkeypatch.setattr(bfloat16_labels, "TRAINING", short)
    monkeypatch.setattr(bfloat16_labels, "PAIRS", replace(bfloat16_labels.PAIRS, birds=200))
    monkeypatch.setattr(bfloat16_labels, "EVERY", 20)
    encoder = bfloat16_labels.trained_encoder("align")
    first, last = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
    assert last < first
    for rows in (
        encoder.embed_images(load_birds("test").source.pixels[:8]),
        encoder.embed_texts("red"),
    ):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("kind", FIRST)
def test_encoders_without_training_keep_most_of_theirs(kind, tmp_path):
    case = FIRST[kind]
    encoder = load_encoder(case.write(tmp_path / "checkpoint", tmp_path))
    found = agreement(random_model(encoder, 64, 20), load_birds("test")[::3])
    assert found.same >= 0.98 and found.error < 0.05


def test_the_quick_start_keeps_its_labels():
    found = agreement(fitted(load_encoder("jaxcbm/tiny")), load_birds("test"))
    assert found.same >= 0.995 and found.accuracy > 0.6
