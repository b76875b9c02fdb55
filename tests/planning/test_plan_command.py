"""`jaxcbm plan` as a user types it, on simulated devices."""

import json
import re
from importlib.util import find_spec

import pytest

from jaxcbm.cli import main
from jaxcbm.planning import devices

CONFIG = "--config=quickstart"
SMALL = ("--stage=train", "--concept-count=64", "--search=0", CONFIG)


def plan(capsys, *flags):
    code = main(["--quiet", "plan", *flags])
    out, err = capsys.readouterr()
    return code, out, err


def test_encoding_says_memory_and_work(capsys, tmp_path, tiny_encoder_folder):
    file = tmp_path / "plan.json"
    flags = (f"--config.encoder.name={tiny_encoder_folder}", "--config.encoder.dtype=bfloat16")
    code, out, _ = plan(
        capsys, CONFIG, "--topology=cpu-8", "--stage=encode", f"--output={file}", *flags
    )
    assert code == 0
    assert "cpu-8: 8 cpu chips; data=8, model=1" in out
    assert "512 images a step" in out and "no communication" in out
    found = json.loads(file.read_text())
    assert found["format"] == "jaxcbm plan 1"
    assert found["fits"] is None and found["seconds"] is None
    assert found["memory"]["arguments"] > 0 and found["work"]["flops"] > 0
    assert found["work"]["unknown_loops"] == 0


def test_training_counts_one_step_of_the_epoch(capsys, tmp_path):
    results = []
    for images in (2000, 8000):
        file = tmp_path / f"{images}.json"
        flags = (
            f"--image-count={images}",
            "--class-count=10",
            "--batch-size=256",
            f"--output={file}",
        )
        code, _, err = plan(capsys, *SMALL, "--topology=cpu-4", *flags)
        assert code == 0, err
        results.append(json.loads(file.read_text()))
    few, many = results
    assert many["steps_in_program"] > 3 * few["steps_in_program"]
    assert many["work"]["flops"] == few["work"]["flops"] > 0
    # z and W's gradient, and the head both ways; the birds' positives are annotations, so that no
    # step computes the encoder's own scores. Products of [B, E or D] by hand.
    batch, width, concepts, classes = 256 / 4, 128, 64, 10
    by_hand = 2 * batch * concepts * (2 * width + 2 * classes)
    assert few["work"]["flops"] == pytest.approx(by_hand, rel=0.05)


def test_w_is_split_over_model(capsys, tmp_path):
    held = {}
    for model in (1, 8):
        file = tmp_path / f"{model}.json"
        flags = (
            f"--config.mesh.model={model}",
            f"--output={file}",
            "--image-count=1024",
            "--batch-size=64",
            "--class-count=10",
        )
        flags += ("--config.bottleneck.parameterisation=residual", "--concept-count=1024")
        code, _, err = plan(capsys, *SMALL, "--topology=cpu-8", *flags)
        assert code == 0, err
        held[model] = json.loads(file.read_text())["memory"]["aliased"]
    # What the step overwrites: W, its two moments, and little else.
    assert held[1] >= 3 * 1024 * 1024 * 4
    assert held[8] == pytest.approx(held[1] / 8, rel=0.05)


def test_finetuning_with_accumulation_counts_every_part(capsys, tmp_path, tiny_encoder_folder):
    flops = {}
    for parts in (1, 4):
        file = tmp_path / f"{parts}.json"
        code, _, err = plan(
            capsys,
            CONFIG,
            "--topology=cpu-2",
            "--stage=finetune",
            "--search=0",
            "--batch-size=64",
            f"--config.encoder.name={tiny_encoder_folder}",
            "--config.encoder.train=full",
            f"--config.finetune.accumulate={parts}",
            f"--output={file}",
        )
        assert code == 0, err
        flops[parts] = json.loads(file.read_text())["work"]["flops"]
    # Forward twice and back once (two products) instead of three: a third more.
    assert 1.2 * flops[1] < flops[4] < 1.4 * flops[1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--topology=v5e-17",), r"no slice v5e-17 .*there are v5e-1, v5e-4"),
        (("--topology=h100",), r"unknown topology 'h100': give v4-N"),
        (("--topology=cpu-9",), r"started with 8 simulated devices; set JAX_NUM_CPU_DEVICES=9"),
        (
            ("--topology=cpu-8", "--config.mesh.model=3"),
            r"8 devices are no mesh of data=-1 x model=3",
        ),
        (("--topology=cpu-8", "--batch-size=12"), r"does not divide by the 8 devices"),
        (
            ("--topology=cpu-8", "--config.encoder.name=openai/clip-rn50"),
            r"sizes of openai/clip-rn50 are not known here",
        ),
        (
            ("--topology=cpu-8", "--config.data.name=folder"),
            r"does not know the size of folder: give --image-count and --class-count",
        ),
    ],
)
def test_mistakes_are_one_line(capsys, flags, said):
    code, out, err = plan(capsys, *SMALL, *flags)
    assert code == 2 and not out
    assert len(err.strip().splitlines()) == 1
    assert re.search(said, err), err


def test_a_frozen_encoder_has_nothing_to_tune(capsys):
    code, _, err = plan(capsys, CONFIG, "--topology=cpu-8", "--stage=finetune")
    assert code == 2 and "--config.encoder.train=lora or full" in err


def test_without_libtpu_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setattr(
        devices, "find_spec", lambda name: None if name == "libtpu" else find_spec(name)
    )
    code, _, err = plan(capsys, *SMALL, "--topology=v5e-4")
    assert code == 2 and "pip install 'jaxcbm[plan]'" in err
