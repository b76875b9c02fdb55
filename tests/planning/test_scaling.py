"""Scaling by counted work, on simulated devices: no seconds, no chance."""

import json
import os
import subprocess
import sys

import jax
import pytest

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.objectives.table import OBJECTIVES
from jaxcbm.encoders.finetune.lora import LoraConfig
from jaxcbm.planning.compiling import compile_stage
from jaxcbm.planning.encoder_structure import encoder_structure
from jaxcbm.planning.job import Job
from jaxcbm.planning.report import STAGES, mesh_of
from jaxcbm.training.config import FitConfig, TrainingConfig
from jaxcbm.training.finetune.config import FinetuneConfig


def job(objective="contrastive"):
    return Job(
        encoder=encoder_structure("jaxcbm/tiny", "bfloat16"),
        config=FitConfig(BottleneckConfig(objective=objective), TrainingConfig(epochs=2)),
        finetune=FinetuneConfig(),
        rules=(),
        lora=LoraConfig(),
        train=4000,
        valid=500,
        test=500,
        concepts=96,
        classes=20,
    )


def work(stage, devices, batch, **changes):
    asked = job(**changes)
    mesh = mesh_of(asked, jax.devices()[:devices])
    counted = compile_stage(STAGES[stage](asked, mesh, batch), devices).work
    assert counted is not None and counted.unknown_loops == 0
    return counted


def test_encoding_shares_its_work_evenly():
    one, eight = work("encode", 1, 64), work("encode", 8, 64)
    assert eight.flops == pytest.approx(one.flops / 8, rel=0.05)
    assert not eight.collectives


@pytest.mark.slow
def test_encoding_shares_its_work_among_more_devices_than_here(tmp_path):
    file = tmp_path / "plan.json"
    flags = ("--topology=cpu-64", "--stage=encode", "--batch-size=64", f"--output={file}")
    flags += ("--config.encoder.dtype=bfloat16",)
    environment = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
    subprocess.run(
        [sys.executable, "-m", "jaxcbm", "plan", "--config=quickstart", *flags],
        env=environment,
        check=True,
        capture_output=True,
    )
    found = json.loads(file.read_text())["work"]
    assert found["flops"] == pytest.approx(work("encode", 1, 64).flops / 64, rel=0.05)
    assert not found["collectives"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_training_sends_does_not_grow_with_the_chips(objective):
    two, eight = (work("train", count, 256, objective=objective) for count in (2, 8))
    payload = {w: sum(c.bytes for c in w.collectives) for w in (two, eight)}
    assert payload[eight] <= 1.02 * payload[two]
    assert eight.flops == pytest.approx(two.flops / 4, rel=0.05)


def test_no_feature_store_crosses_the_chips():
    """A step sends gradients and its own batch: nothing of the size of the train features."""
    counted = work("train", 8, 256)
    width = job().encoder.embed_dim
    gradients = 4 * (96 * width + 96 * 20 + 20)
    # Its rows, their labels and their numbers; and, on a CPU, whose top-k takes whole arrays only,
    # the batch's scores.
    batch = 4 * 256 * (width + 3 + 96)
    payload = sum(c.bytes for c in counted.collectives)
    assert gradients <= payload <= 1.05 * (gradients + batch)
    assert payload < 4 * 4000 * width / 4
