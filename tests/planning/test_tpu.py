"""Plans for TPU slices by libtpu's ahead-of-time compiler, on a machine without a TPU."""

import json
from importlib.util import find_spec

import pytest

from jaxcbm.cli import main

pytestmark = pytest.mark.skipif(
    find_spec("libtpu") is None, reason="libtpu is not installed: pip install 'jaxcbm[plan]'"
)
CONFIG = "--config=quickstart"


def planned(tmp_path, *flags):
    file = tmp_path / "plan.json"
    assert main(["--quiet", "plan", CONFIG, f"--output={file}", *flags]) == 0
    return json.loads(file.read_text())


def test_encoding_on_a_v5e_slice(tmp_path, capsys, tiny_encoder_folder):
    flags = ("--topology=v5e-16", "--stage=encode", "--search=1", "--config.encoder.dtype=bfloat16")
    found = planned(tmp_path, *flags, f"--config.encoder.name={tiny_encoder_folder}")
    assert found["fits"] and found["chips"] == 16
    assert 0 < found["seconds"]["overlapped"] <= found["seconds"]["serial"]
    # The compiler counts what is no product too.
    assert found["work"]["flops"] == pytest.approx(found["xla_flops_loops_once"], rel=0.2)
    assert found["largest"]["batch"] >= found["batch_size"]
    assert "FITS" in capsys.readouterr().out


def test_predicting_on_a_v5e_slice_costs_something(tmp_path, capsys, tiny_encoder_folder):
    flags = ("--topology=v5e-16", "--stage=predict", "--search=0", "--concept-count=64")
    found = planned(tmp_path, *flags, f"--config.encoder.name={tiny_encoder_folder}")
    assert found["fits"] and found["dollars_per_million_images"][0] > 0
    out = capsys.readouterr().out
    assert "images a second" in out and "a million images" in out


@pytest.mark.parametrize("topology", ["v4-8", "v5p-8", "v6e-8"])
def test_training_on_other_slices(tmp_path, topology):
    found = planned(
        tmp_path, f"--topology={topology}", "--stage=train", "--search=0", "--concept-count=64"
    )
    chips = 8 if topology.startswith("v6e") else 4
    assert found["chips"] == found["data"] == chips and found["fits"]
    gradients = 4 * (64 * 128 + 64 * found["model"])
    reduced = sum(c["bytes"] for c in found["work"]["collectives"] if c["kind"] == "all-reduce")
    assert reduced >= gradients


def test_what_does_not_fit_says_by_how_much_and_what_would(tmp_path, capsys):
    found = planned(
        tmp_path,
        "--topology=v5e-4",
        "--stage=train",
        "--concept-count=32768",
        "--batch-size=64",
        "--search=2",
        "--config.bottleneck.parameterisation=residual",
        "--image-count=1024",
    )
    # W, its moments and its gradient: four times 4 GiB on each chip of 16.
    assert found["fits"] is False and found["needed_bytes"] > 16 * 2**30
    assert found["memory"] is None
    flags = [entry["flags"] for entry in found["advice"]]
    assert flags in (["--config.mesh.model=2"], ["--config.mesh.model=4"])
    assert "DOES NOT FIT" in capsys.readouterr().out
