"""Metrics in TensorBoard's event files and at Weights & Biases, and nothing else that changes."""

import struct
import sys
import types
from pathlib import Path

import pytest
from problem import train

from jaxcbm.cli import main
from jaxcbm.training.config import TrainingConfig
from jaxcbm.training.metrics_log import read_metrics
from jaxcbm.training.trackers import tracking

TRAINING = TrainingConfig(epochs=3, batch_size=32, checkpoint_every=1)


def events(folder: Path) -> list:
    """The events of a folder's files, oldest first, by TensorBoard's own message."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    files = folder.glob("events.out.tfevents.*")
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
        content, at = file.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            found.append(Event.FromString(content[at + 12 : at + 12 + size]))
            at += 16 + size
    return found


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    return [
        (event.step, value.tag, value.simple_value)
        for event in events(folder)
        for value in event.summary.value
    ]


def test_event_files_say_what_metrics_jsonl_says(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCBM_TRACK", "tensorboard")
    train(training=TRAINING, workdir=tmp_path)
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == sorted([1, 2, 3] * (len(lines) // 3))
    found = scalars(tmp_path / "tensorboard")
    timed = {"train/seconds_a_step", "train/images_a_second", "train/time"}
    assert timed < {tag for _, tag, _ in found}
    told = [(step, tag, pytest.approx(value)) for step, tag, value in found if tag not in timed]
    assert [(x["step"], f"{x['split']}/{x['name']}", x["value"]) for x in lines] == told


def test_what_was_tracked_past_the_checkpoint_is_void(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCBM_TRACK", "tensorboard")
    with tracking(tmp_path) as track:
        track(5, "train", {"loss": 1.0})
    with tracking(tmp_path, begin=3) as track:
        track(4, "train", {"loss": 0.5})
    assert scalars(tmp_path / "tensorboard") == [(5, "train/loss", 1.0), (4, "train/loss", 0.5)]
    starts = [e.step for e in events(tmp_path / "tensorboard") if e.HasField("session_log")]
    assert starts == [4]  # TensorBoard forgets what the first file says of this step and later


class FakeWandb(types.ModuleType):
    """What of wandb is used, writing down what it is asked."""

    def __init__(self):
        super().__init__("wandb")
        self.opened: list[dict] = []
        self.logged: list[tuple[int, dict]] = []
        self.finished: list[int] = []

    def init(self, **settings):
        self.opened.append(settings)
        return self

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self, exit_code=0):
        self.finished.append(exit_code)


def test_weights_and_biases(tmp_path, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("JAXCBM_TRACK", "wandb,tensorboard")
    monkeypatch.setenv("WANDB_PROJECT", "colours")
    with tracking(tmp_path / "run") as track:
        track(2, "valid", {"top1": 0.5})
    with pytest.raises(KeyboardInterrupt), tracking(tmp_path / "run", begin=2) as track:
        raise KeyboardInterrupt
    first, again = fake.opened
    assert (first["project"], first["name"]) == ("colours", "run")
    # The same run goes on.
    assert first["id"] == again["id"] and again["resume"] == "allow"
    assert (fake.logged, fake.finished) == ([(2, {"valid/top1": 0.5})], [0, 1])
    assert (2, "valid/top1", 0.5) in scalars(tmp_path / "run" / "tensorboard")


def test_nothing_is_tracked_without_a_work_directory(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    monkeypatch.setenv("JAXCBM_TRACK", "wandb")
    with tracking(None) as track:
        track(1, "train", {"loss": 1.0})
    assert not sys.modules["wandb"].opened


@pytest.mark.parametrize(
    ("name", "said"), [("wandb", "pip install 'jaxcbm[wandb]'"), ("paper", "give tensorboard")]
)
def test_what_cannot_be_tracked_is_said_before_the_run(tmp_path, monkeypatch, capsys, name, said):
    monkeypatch.setenv("JAXCBM_TRACK", "")  # restored afterwards
    monkeypatch.setitem(sys.modules, "wandb", None)
    command = ["train", "--config=quickstart", f"--workdir={tmp_path / 'run'}", f"--track={name}"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert f"--track={name}" in error and said in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
