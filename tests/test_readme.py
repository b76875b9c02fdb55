"""The picture of the README is the quick start's, and its captions are true."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from jaxcbm.data.birds.birds import load_birds

# The run of the quick start without the numbers of its test split, which are most of its time.
DRAW = """
import pathlib, sys
from jaxcbm.experiment import train

train.evaluate_model = lambda *_, **options: {"test": {}}
train.draw = lambda _: None
pathlib.Path(sys.argv[1], "plots").mkdir(parents=True)
train.run("quickstart", sys.argv[1])
"""
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "explanation.png"


def told(picture: Path) -> list[dict]:
    with Image.open(picture) as image:
        return json.loads(image.info["Description"])


def test_the_picture_shows_a_right_and_a_wrong_prediction_with_true_classes():
    right, wrong = told(PICTURE)
    assert right["true"] == right["predicted"] == right["explained"]
    assert wrong["true"] != wrong["predicted"] == wrong["explained"]


def test_the_picture_says_of_every_reason_that_is_false_that_it_is():
    birds = load_birds("test")
    column = {phrase: d for d, phrase in enumerate(birds.annotation_phrases)}
    for each in told(PICTURE):
        index = int(each["picture"].rpartition("/")[2])
        assert birds.classes[birds.labels[index]] == each["true"]
        for reason, _ in each["reasons"]:
            absent = reason.startswith("no ")
            phrase = reason.partition(" (")[0].removeprefix("no " if absent else "")
            there = birds.annotations[index, column[phrase]] > 0.5
            assert (there == absent) == reason.endswith(": false"), reason


@pytest.mark.slow
def test_the_picture_is_what_the_quick_start_draws(tmp_path):
    """Where it is not: copy plots/explanation.png of a run of the quick start to docs/pictures."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    command = [sys.executable, "-c", DRAW, str(tmp_path / "run")]
    subprocess.run(command, check=True, env=environment)
    drawn, shown = told(tmp_path / "run" / "plots" / "explanation.png"), told(PICTURE)
    for new, old in zip(drawn, shown, strict=True):
        assert {**new, "reasons": 0, "probability": 0} == {**old, "reasons": 0, "probability": 0}
        assert new["probability"] == pytest.approx(old["probability"], abs=0.01)
        phrases = [[label for label, _ in each["reasons"][:3]] for each in (new, old)]
        assert phrases[0] == phrases[1]
