"""The documented command of configs/cub.py, on drawn birds laid out as CUB-200-2011 is."""

import json
from dataclasses import replace

import numpy as np
import pytest
from cub_mock import Photograph, prepare, write_folder

from jaxcbm.cli import main
from jaxcbm.data.birds.birds import load_birds
from jaxcbm.data.datasets import load_dataset
from jaxcbm.data.sources import class_names
from jaxcbm.errors import UserError
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.prepare import concepts_of
from jaxcbm.training.fit_arrays import source_of
from jaxcbm.training.metrics_log import read_metrics

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# What the drawn birds' annotations are called among CUB's attributes.
GROUPS = {
    "has_crown_color": ("red", "yellow", "blue", "black", "white", "brown", "green"),
    "has_bill_color": ("black", "yellow", "red", "grey"),
    "has_back_color": ("brown", "grey", "black", "blue", "green", "red"),
    "has_belly_color": ("white", "yellow", "orange", "grey", "blue", "pink"),
    "has_leg_color": ("black", "yellow", "red", "grey"),
    "has_breast_pattern": ("spotted", "striped"),
    "has_tail_shape": ("forked_tail", "rounded_tail"),
    "has_bill_shape": ("hooked",),
    "has_size": ("large_(16_-_32_in)", "small_(5_-_9_in)"),
}
ATTRIBUTES = tuple(f"{group}::{value}" for group, values in GROUPS.items() for value in values)


def drawn_as(attribute: str) -> str:
    group, value = attribute.removeprefix("has_").split("::")
    if group == "size":
        return f"{value.split('_')[0]} bird"
    if value.endswith("_tail"):
        return value.replace("_", " ")
    part = group.rpartition("_")[0]
    return f"{value} {'legs' if part == 'leg' else part}"


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """Of `jaxcbm train`: the config's own, on the mock and the built-in encoder."""
    root = tmp_path_factory.mktemp("cub")
    photographs, answers = [], []
    rng = np.random.default_rng(0)
    for train in (True, False):
        birds = load_birds("train" if train else "test", images_per_class=8 if train else 4)
        assert birds.annotations is not None
        names = [name.title().replace(" ", "_").replace("-", "_") for name in birds.classes]
        columns = [birds.annotation_phrases.index(drawn_as(a)) for a in ATTRIBUTES]
        for index, label in enumerate(birds.labels):
            species = f"{label + 1:03d}.{names[label]}"
            photographs.append(Photograph(species, index, train, birds.source.load(index)))
            for number, column in enumerate(columns, start=1):
                certainty = int(rng.choice([1, 2, 3, 4], p=[0.05, 0.1, 0.25, 0.6]))
                present = int(birds.annotations[index, column])
                answers.append((len(photographs), number, present, certainty))
    folder = write_folder(root / "archive", photographs, ATTRIBUTES, answers)
    name = prepare(root / "tfds", photographs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(class_names._LABELS, name, " ".join(names))
        yield [
            "train",
            "--config=cub",
            f"--config.data.attributes={folder}",
            f"--config.data.tfds_name={name}",
            f"--config.data.tfds_data_dir={root / 'tfds'}",
            "--config.encoder.name=jaxcbm/tiny",
            f"--config.features={root / 'features'}",
            "--config.training.epochs=8",
            "--config.evaluation.controls=false",
        ]


def train(arguments, workdir, *more) -> tuple[float, float]:
    """Mean objective over the epochs, and the concept AUC on test."""
    assert main([*arguments, f"--workdir={workdir}", *more]) == 0
    logged = [
        line["value"]
        for line in read_metrics(workdir / "metrics.jsonl")
        if (line["split"], line["name"]) == ("train", "objective")
    ]
    test = json.loads((workdir / "metrics.json").read_text())["test"]
    return float(np.mean(logged)), test["concept_auc"]


def test_attributes_are_positives_and_raise_the_concept_auc(arguments, tmp_path):
    """The same phrases, with the attributes as positives and without."""
    own = "--config.concepts=annotations"
    with_them, auc = train(arguments, tmp_path / "with", own)
    _, before = train(arguments, tmp_path / "without", own, "--config.bottleneck.positives=scores")
    assert with_them > 0.1
    assert auc > before + 0.02, (auc, before)
    model = json.loads((tmp_path / "with/model/model.json").read_text())
    assert "blue back" in model["concepts"]["phrases"]


def test_the_attributes_are_a_concept_set(arguments):
    changes = dict(argument.removeprefix("--config.").split("=") for argument in arguments[2:5])
    experiment = read_experiment("cub", {**changes, "concepts": "annotations"})
    images, *_ = load_dataset(experiment.data)
    phrases = concepts_of(experiment, images).phrases
    assert phrases == images.annotation_phrases and "blue back" in phrases
    assert source_of(experiment.bottleneck, images, phrases) == "annotations"
    with pytest.raises(UserError, match="give --concept-count"):
        concepts_of(experiment)
    with pytest.raises(UserError, match="the images have no annotations"):
        concepts_of(experiment, replace(images, annotations=None, annotation_phrases=()))


def test_a_set_of_other_words_is_refused_before_anything_is_encoded(arguments, tmp_path, capsys):
    phrases = ["a crest like a comb", "a red-crowned head", "a blue back", "rain", "snow"]
    (tmp_path / "own.txt").write_text("\n".join(phrases))
    features = f"--config.features={tmp_path / 'store'}"
    own = f"--config.concepts={tmp_path / 'own.txt'}"
    assert main([*arguments, f"--workdir={tmp_path / 'run'}", own, features]) == 2
    message = capsys.readouterr().err
    assert "only 1 of 5 phrases have an annotation" in message
    assert "'a red-crowned head' (closest: 'red crown')" in message
    assert not (tmp_path / "store").exists()
