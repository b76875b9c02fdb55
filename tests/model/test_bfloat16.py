"""How many labels are the same with the encoder in bfloat16: docs/inference.md states it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from contract_cases import CASES

import jaxcbm
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.birds.birds import load_birds
from jaxcbm.data.features import Features
from jaxcbm.encoders.load import load_encoder
from jaxcbm.experiment.config import read_experiment
from jaxcbm.model.random_model import random_model

PAGE = Path(__file__).parents[2] / "docs" / "inference.md"
STATED = dict(re.findall(r"^\| (\S+) \| ([\d.]+) % \|", PAGE.read_text("utf-8"), re.M))
FIRST = {case.kind: case for case in reversed(CASES.values())}


def fitted(encoder) -> jaxcbm.Model:
    """The quick start's bottleneck on an encoder, with fewer epochs."""
    experiment, train = read_experiment("quickstart"), load_birds("train")
    features = Features.from_arrays(
        encoder.embed_images(train.source.pixels, 64),
        train.labels,
        train.classes,
        annotations=train.annotations,
        annotation_phrases=train.annotation_phrases,
    )
    held = np.arange(len(features)) % 6 == 0
    return jaxcbm.fit(
        features.select(~held),
        features.select(held),
        encoder=encoder,
        concepts=ConceptSet.from_file(experiment.concepts),
        config=replace(
            experiment.fit,
            training=replace(experiment.training, epochs=30),
            sparse_head=replace(experiment.sparse_head, path_length=20),
        ),
    )


def agreement(model, images) -> tuple[float, float]:
    """Share of equal labels, and the error of embeddings as a share of their spread."""
    wide, narrow = (each.predict(images, 64) for each in (model, model.on(dtype="bfloat16")))
    mean_E = wide.image_embeddings.mean(axis=0)
    error, spread = (
        np.sqrt(np.mean(np.square(wide.image_embeddings - other)))
        for other in (narrow.image_embeddings, mean_E[None])
    )
    return float(np.mean(wide.label_ids == narrow.label_ids)), float(error / spread)


def test_the_page_has_every_family():
    assert STATED.keys() == FIRST.keys()


@pytest.mark.parametrize("kind", FIRST)
def test_labels_of_each_family(kind, tmp_path):
    case = FIRST[kind]
    encoder = load_encoder(case.write(tmp_path / "checkpoint", tmp_path))
    same, error = agreement(random_model(encoder, 64, 20), load_birds("test")[::3])
    print(f"\n| {kind} | {100 * same:.1f} % | {error:.3f} |")
    # Another processor rounds in other places.
    assert same == pytest.approx(float(STATED[kind]) / 100, abs=0.01)


def test_the_quick_start_keeps_its_labels():
    model, test = fitted(load_encoder("jaxcbm/tiny")), load_birds("test")
    same, error = agreement(model, test)
    # A model that always says the same class would agree with anything.
    assert np.mean(model.predict(test, 64).label_ids == test.labels) > 0.6
    print(f"\nthe quick start: {100 * same:.2f} %, {error:.3f}")
    assert same >= 0.995
