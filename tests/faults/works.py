"""Small works, one for each command that writes: what starts them, what they leave, and where."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from forked import Blow, Ended, run

ROOT = Path(__file__).parents[2]
PHRASES = ("an amber glow", "a blue tint", "a coral hue", "something else")
# Seconds, and what the machine did meanwhile, are all that two undisturbed runs differ in.
_TIMES = ("seconds", "load", "fit_seconds", "time")
_TIMED_LINES = re.compile(rb"[^\n]*\d(\.\d+)? ?(s|min)\b[^\n]*|[^\n]*[Ll]oad[^\n]*")


class Work(NamedTuple):
    """One command on small inputs.

    Attributes:
        argv: after `jaxcbm`; run in a folder that has `inputs`.
        start: the work whose folder it begins in; "" for a folder with inputs alone.
    """

    argv: tuple[str, ...]
    start: str = ""


def _configured(command: str, *more: str) -> tuple[str, ...]:
    return (
        command,
        f"--config={ROOT / 'configs' / 'folder.py'}",
        "--config.features=features",
        "--config.data.root=inputs/pictures",
        "--config.concepts=inputs/phrases.txt",
        "--config.encoder.name=inputs/encoder",
        "--config.training.epochs=12",
        "--config.training.batch_size=8",
        "--config.training.patience=0",
        "--config.training.checkpoint_every=7",
        "--config.sparse_head.path_length=4",
        "--config.mesh.data=1",
        "--config.evaluation.controls=False",
        *more,
    )


WORKS = {
    "train": Work(_configured("train", "--workdir=run")),
    "finetune": Work(
        _configured(
            "train",
            "--workdir=run",
            "--config.data.valid_fraction=0.3",
            "--config.encoder.train=lora",
            "--config.encoder.lora.rank=2",
            r"--config.encoder.lora.where=^vision\.projection",
            "--config.finetune.epochs=4",
            "--config.finetune.batch_size=8",
            "--config.finetune.checkpoint_every=3",
        )
    ),
    "encode": Work(_configured("encode", "--output=store")),
    "pretrain": Work(
        (
            "pretrain",
            f"--config={ROOT / 'configs' / 'pretrain_tiny.py'}",
            "--workdir=run",
            "--config.pairs.birds=24",
            "--config.pairs.workers=1",
            "--config.pairs.fashion_mnist=0",
            "--config.architecture.image_size=16",
            "--config.architecture.width=32",
            "--config.architecture.layers=1",
            "--config.architecture.text_layers=1",
            "--config.architecture.embed_dim=16",
            "--config.training.steps=18",
            "--config.training.batch_size=8",
            "--config.training.warmup_steps=2",
            "--config.training.captions_per_step=1",
            "--config.training.checkpoint_every=4",
            "--config.mesh.data=1",
        )
    ),
    "sweep": Work(
        _configured(
            "sweep",
            "--workdir=run",
            "--grid.bottleneck.objective=l1,contrastive",
            "--grid.training.cbl.learning_rate=1e-4,1e-2",
            "--grid.training.seed=0,1",
        )
    ),
    "reproduce": Work(
        _configured(
            "reproduce",
            "--workdir=run",
            "--seeds=2",
            "--method=Post-hoc CBM, text vectors",
            "--method=linear probe",
            "--method=zero-shot, templates",
        )
    ),
    "concepts generate": Work(
        (
            *("concepts", "generate", "--classes=inputs/classes.txt", "--source=llm"),
            *("--base-url={url}/v1", "--model=tiny-1", "--cache=cache", "--output=phrases.json"),
            *("--concurrency=1", "--count=3"),
        )
    ),
    "concepts filter": Work(
        (
            *("concepts", "filter", "--concepts=inputs/phrases.txt", "--output=phrases.json"),
            *("--classes=inputs/classes.txt", "--encoder=inputs/encoder"),
        )
    ),
    "evaluate": Work(("evaluate", "--workdir=run", "--no-controls"), "train"),
    "predict": Work(
        ("predict", "--workdir=run", "--images=inputs/pictures", "--output=labels.csv"), "train"
    ),
    "explain": Work(
        (
            *("explain", "--workdir=run", "--images=inputs/pictures/blue/00.png"),
            "--output=why.html",
        ),
        "train",
    ),
    "edit": Work(("edit", "--workdir=run", "--output=edited", "--delete=a blue tint"), "train"),
    "export": Work(("export", "--workdir=run", "--output=exported"), "train"),
}


def make_inputs(folder: Path, pictures: Path, encoder: Path) -> None:
    """All that the works read, in `folder / "inputs"`."""
    shutil.copytree(pictures, folder / "inputs" / "pictures")
    shutil.copytree(encoder, folder / "inputs" / "encoder")
    (folder / "inputs" / "phrases.txt").write_text("\n".join(PHRASES) + "\n")
    (folder / "inputs" / "classes.txt").write_text("amber\nblue\ncoral\n")


class Undisturbed:
    """Runs works, each once without a fault, and with faults as often as one likes."""

    def __init__(self, root: Path, url: str):
        self.root, self.url = root, url
        self._done: dict[str, tuple[Path, Ended]] = {}

    def argv(self, name: str) -> list[str]:
        """The words of a work; all ask the same server."""
        return [word.format(url=self.url) for word in WORKS[name].argv]

    def start(self, name: str, folder: Path, blow: Blow | None = None) -> Ended:
        """Run a work in a folder."""
        return run(self.argv(name), folder, blow)

    def begin(self, name: str, folder: Path) -> Path:
        """A folder in which a work may start."""
        if before := WORKS[name].start:
            shutil.copytree(self.whole(before)[0], folder, symlinks=True)
        else:
            folder.mkdir(parents=True)
            (folder / "inputs").symlink_to(self.root / "inputs")
        return folder

    def whole(self, name: str) -> tuple[Path, Ended]:
        """What a work left that nothing happened to, and how it ended."""
        if name not in self._done:
            folder = self.begin(name, self.root / name.replace(" ", "-"))
            ended = self.start(name, folder)
            assert ended.code == 0, (name, ended)
            self._done[name] = folder, ended
        return self._done[name]

    def other(self) -> Path:
        """A run of another seed, of which files may get into the place of those of `train`."""
        folder = self.root / "other"
        if not folder.exists():
            self.begin("train", folder)
            ended = run([*self.argv("train"), "--config.training.seed=7"], folder)
            assert ended.code == 0, ended
        return folder


def left_by(folder: Path, wanted: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Every file that a work has left but for its times, and what it had not come to put away.

    Args:
        folder: of the work.
        wanted: glob patterns of the only files that count; () for all, and the last checkpoint.
    """
    files = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    found = {}
    for file in files:
        if file.parts[0] == "inputs" or any(part.startswith(".") for part in file.parts):
            continue
        # A report shows seconds in its table; what else it shows is in the result file beside it.
        if wanted and not any(file.match(pattern) for pattern in wanted):
            continue
        if file.name == "timing.jsonl" or file.stem == "report" or "checkpoints" in file.parts:
            continue
        found[str(file)] = _without_times(folder / file).replace(bytes(folder), b"HERE")
    for kept in () if wanted else folder.rglob("checkpoints"):
        # An older one that a kill kept from being removed stays there, and nobody reads it.
        step = max(kept.iterdir(), key=lambda step: int(step.name) if step.name.isdecimal() else -1)
        # Orbax gives its files names of their own each time; the record has the arrays' checksums.
        record = json.loads((step / "_CHECKPOINT_METADATA").read_text())
        found[str(step.relative_to(folder))] = record["custom_metadata"]["content"].encode()
    return found


def _without_times(file: Path) -> bytes:
    content = file.read_bytes()
    if file.suffix == ".json":
        try:
            plain = _untimed(json.loads(content))
        except ValueError:  # damaged, and nobody has written it anew
            return content
        # Of all of it, the times among them.
        plain.pop("sha256", None)
        # A line for each value, so that a difference shows as the lines that differ.
        return json.dumps(plain, indent=0).encode()
    return _TIMED_LINES.sub(b"", content) if file.suffix in (".md", ".html") else content


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(each) for name, each in value.items() if name not in _TIMES}
    return [_untimed(each) for each in value] if isinstance(value, list) else value
