"""What an attacker once found, line by line, and what brings it about again."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from jaxcbm.data.features import Features
from jaxcbm.encoders.load import load_encoder
from jaxcbm.experiment.workdir_lock import hold
from jaxcbm.model.model import load_model

TRAIN = (
    *("train", "--config=folder", "--workdir=run", "--config.data.root=pictures"),
    *("--config.concepts=phrases.txt", "--config.encoder.name=encoder"),
    *("--config.training.epochs=3", "--config.training.checkpoint_every=1"),
    *("--config.sparse_head.path_length=4", "--config.mesh.data=1"),
)
EVALUATE = ("evaluate", "--workdir=run", "--no-controls")

_SWEEP = ("sweep", "--config=folder", "--workdir=sweep", "--grid.training.epochs=1,2")
_PLAN = ("plan", "--config=folder", "--topology=v5e-4", "--stage=train")


class Scene(NamedTuple):
    """A folder with a finished run, its pictures, phrases and encoder, which a case may spoil.

    Attributes:
        folder: the working directory.
        command: what `jaxcbm WORDS` says at last: its error, or its warnings.
        python: what a call says: its error, or what came of it.
    """

    folder: Path
    command: Callable[..., str]
    python: Callable[[Callable[[], Any]], str]


class Case(NamedTuple):
    """One line of a table.

    Attributes:
        what: is done.
        now: does it, and returns what is said.
    """

    what: str
    now: Callable[[Scene], str]


def _train(*more: str) -> Callable[[Scene], str]:
    return lambda scene: scene.command(*TRAIN, *more)


def _unfinished(scene: Scene) -> None:
    shutil.rmtree("run/model")
    Path("run/metrics.json").unlink()


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(bytes(content))


def _predicts(name: str, make: Callable[[Path], object]) -> Callable[[Scene], str]:
    """`predict` on a folder of one good picture and one that is made here."""

    def now(scene: Scene) -> str:
        Path("mine").mkdir()
        shutil.copy("pictures/blue/00.png", "mine/good.png")
        make(Path("mine") / name)
        return scene.command("predict", "--workdir=run", "--images=mine", "--output=labels.csv")

    return now


def _postscript(path: Path) -> None:
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(MARK) (w) file closefile\n"
    )


def _float_tiff(path: Path) -> None:
    Image.fromarray(np.full((6, 6), 300.0, np.float32)).save(path)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(40 * 2**30)


def _damaged_model(scene: Scene) -> str:
    _flip(Path("run/model/model.safetensors"))
    return scene.command("predict", "--workdir=run", "--images=pictures", "--output=labels.csv")


def _flipped_checkpoint(scene: Scene) -> str:
    _unfinished(scene)
    newest = max(Path("run/checkpoints").iterdir(), key=lambda step: int(step.name))
    _flip(max(newest.rglob("d/*"), key=lambda file: file.stat().st_size))
    return scene.command(*TRAIN)


def _config_file(scene: Scene) -> str:
    Path("run/config.json").write_text("{")
    return scene.command(*TRAIN)


def _encoder_field(file: str, name: str, value: Any) -> Callable[[Scene], str]:
    def now(scene: Scene) -> str:
        path = Path("encoder") / file
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
        return scene.python(lambda: load_encoder("encoder"))

    return now


def _nan_weights(scene: Scene) -> str:
    path = Path("encoder/model.safetensors")
    tensors = load_file(path)
    tensors["text_model.final_layer_norm.weight"][3] = np.nan
    save_file(tensors, path)
    return scene.python(lambda: load_encoder("encoder"))


def _markup(scene: Scene) -> str:
    from jaxcbm.pages import render
    from jaxcbm.report.tables import Cell, Group, Table

    row = (Cell("]](javascript:alert(1))"),)
    table = Table("Methods", ("name",), (Group("", (row,)),))
    text = render("table.md", table=table)
    return next(line for line in text.splitlines() if "javascript" in line).replace("|", "").strip()


def _second_run(scene: Scene) -> str:
    _unfinished(scene)
    with hold(Path("run")):
        return scene.command(*TRAIN)


def _features(rows: Any, labels: Any, classes: Any) -> Callable[[Scene], str]:
    return lambda scene: scene.python(
        lambda: Features.from_arrays(np.asarray(rows, np.float32), labels, classes)
    )


def _model(call: Callable[[Any], Any]) -> Callable[[Scene], str]:
    return lambda scene: scene.python(lambda: call(load_model("run", "encoder")))


def _width(model: Any) -> int:
    return model.concept_embeddings.shape[1]


def _one_class(scene: Scene) -> str:
    for name in ("blue", "coral"):
        shutil.rmtree(f"pictures/{name}")
    return scene.command(*TRAIN, "--workdir=other")


def _written(name: bytes) -> Callable[[Scene], str]:
    """The cell in which a picture of that name stands."""

    def now(scene: Scene) -> str:
        shutil.copy("pictures/blue/00.png", name)
        image = f"--images={os.fsdecode(name)}"
        said = scene.command("predict", "--workdir=run", image, "--output=one.csv")
        return said or Path("one.csv").read_text().splitlines()[1].split(",")[0]

    return now


def _phrases(text: str, *, finished: bool) -> Callable[[Scene], str]:
    def now(scene: Scene) -> str:
        Path("phrases.txt").write_text(text)
        if not finished:
            _unfinished(scene)
        return scene.command(*TRAIN)

    return now


def _classes_swapped(scene: Scene) -> str:
    _unfinished(scene)
    Path("pictures/blue").rename("aside")
    Path("pictures/coral").rename("pictures/blue")
    Path("aside").rename("pictures/coral")
    return scene.command(*TRAIN)


def _class_added(scene: Scene) -> str:
    _unfinished(scene)
    shutil.copytree("pictures/blue", "pictures/green")
    return scene.command(*TRAIN)


def _other_encoder(scene: Scene) -> str:
    _unfinished(scene)
    path = Path("encoder/model.safetensors")
    tensors = load_file(path)
    tensors["text_model.final_layer_norm.weight"][3] += 0.5
    save_file(tensors, path)
    return scene.command(*TRAIN)


def _class_renamed(*command: str) -> Callable[[Scene], str]:
    def now(scene: Scene) -> str:
        Path("pictures/blue").rename("pictures/zebra")
        return scene.command(*command)

    return now


def _pictures_added(scene: Scene) -> str:
    for n in range(3):
        Image.new("RGB", (9, 9), (n * 40, 90, 7)).save(f"pictures/blue/new{n}.png")
    return scene.command(*EVALUATE)


def _brackets(scene: Scene) -> str:
    shutil.copy("pictures/blue/00.png", "photo[1].png")
    shutil.copy("pictures/coral/00.png", "photo1.png")
    said = scene.command("predict", "--workdir=run", "--images=photo[1].png", "--output=one.csv")
    return said or Path("one.csv").read_text().splitlines()[1].split(",")[0]


FOUND = (
    Case("a PostScript file named holiday.png", _predicts("holiday.png", _postscript)),
    Case("a bit of a saved model flipped", _damaged_model),
    Case("a bit of the newest checkpoint's arrays flipped", _flipped_checkpoint),
    Case("`config.json` of a work directory damaged", _config_file),
    Case("`batch_size=0`", _train("--config.training.batch_size=0")),
    Case("`checkpoint_every=-1`", _train("--config.training.checkpoint_every=-1")),
    Case("`epochs=0`", _train("--config.training.epochs=0")),
    Case("`path_length=0`", _train("--config.sparse_head.path_length=0")),
    Case("`test_fraction=0`", _train("--config.data.test_fraction=0.0")),
    Case("`seed=-1`", _train("--config.data.seed=-1")),
    Case("`tau_end=nan`", _train("--config.bottleneck.tau_end=nan")),
    Case("a number beyond 64 bits", _train(f"--config.sparse_head.max_iterations={2**70}")),
    Case("a root of 300 characters", _train("--workdir=other", f"--config.data.root={'x' * 300}")),
    Case("`--memory=nan`", lambda scene: scene.command(*_SWEEP, "--memory=nan")),
    Case("`image_size=1000000000`", _train("--config.encoder.image_size=1000000000")),
    Case("`vision_config` is 1", _encoder_field("config.json", "vision_config", 1)),
    Case(
        "`image_mean` of two numbers",
        _encoder_field("preprocessor_config.json", "image_mean", [1, 2]),
    ),
    Case(
        "`model_max_length` is false",
        _encoder_field("tokenizer_config.json", "model_max_length", False),
    ),
    Case("`model_type` is a list", _encoder_field("config.json", "model_type", [1, 2])),
    Case("weights with NaN", _nan_weights),
    Case("a class called `]](javascript:alert(1))`, in Markdown", _markup),
    Case("a second run in one work directory", _second_run),
    Case("features with NaN", _features([[1, 0], [np.nan, 0]], [0, 1], ["a", "b"])),
    Case("features of norm 50", _features([[1, 0], [50, 0]], [0, 1], ["a", "b"])),
    Case("labels of 0.5", _features([[1, 0], [0, 1]], [0.5, 1.5], ["a", "b"])),
    Case("two classes of one name", _features([[1, 0], [0, 1]], [0, 1], ["a", "a"])),
    Case(
        "`predict_embeddings` with NaN",
        _model(lambda m: m.predict_embeddings(np.full((1, _width(m)), np.nan))),
    ),
    Case(
        "`predict_embeddings` of another width",
        _model(lambda m: m.predict_embeddings(np.zeros((1, _width(m) + 1)))),
    ),
    Case(
        "`intervene` with NaN",
        _model(lambda m: m.intervene("pictures/blue/00.png", {"a blue tint": np.nan})),
    ),
    Case(
        '`embed_texts("red crown")`',
        lambda scene: scene.python(lambda: load_encoder("encoder").embed_texts("red crown").shape),
    ),
    Case("one class", _one_class),
    Case("`explain` with k = 0", _model(lambda m: m.explain("pictures/blue/00.png", k=0))),
    Case("`None` for a picture", _model(lambda m: m.predict([None]))),
    Case(
        "a single picture for `predict`",
        _model(lambda m: m.predict("pictures/blue/00.png").class_logits.shape),
    ),
    Case("a picture named `=SUM(A1).png`, in CSV", _written(b"=SUM(A1).png")),
    Case(
        "an output in a folder that cannot be made",
        lambda scene: scene.command(
            "predict", "--workdir=run", "--images=pictures", "--output=phrases.txt/labels.csv"
        ),
    ),
    Case(
        "`--concept-count=-1` of a plan",
        lambda scene: scene.command(*_PLAN, "--concept-count=-1"),
    ),
    Case("a TIFF of floats", _predicts("deep.tiff", _float_tiff)),
    Case(
        "a PNG of 1 x 1,000,000 pixels",
        _predicts("strip.png", lambda path: Image.new("L", (1, 1_000_000)).save(path)),
    ),
    Case("a file name that is no UTF-8, in CSV", _written(b"caf\xe9.png")),
    Case("a pipe", _predicts("pipe.png", os.mkfifo)),
    Case("a link to an endless device", _predicts("z.png", lambda p: p.symlink_to("/dev/zero"))),
    Case("an empty file of 40 GiB", _predicts("big.png", _sparse)),
)

_LINES = ("an amber glow", "a blue tint", "a coral hue", "a tail")
CHANGED = (
    Case(
        "other phrases, as many as before, between a kill and the resume",
        _phrases("\n".join([*_LINES[:3], "something else"]), finished=False),
    ),
    Case("a phrase more", _phrases("\n".join([*_LINES, "one more"]), finished=False)),
    Case("a class folder more", _class_added),
    Case("two class folders change names with each other", _classes_swapped),
    Case("the encoder's weights, under the same name", _other_encoder),
    Case("a class folder renamed before `evaluate`", _class_renamed(*EVALUATE)),
    Case("pictures added before `evaluate`", _pictures_added),
    Case(
        "a finished run, other phrases, the same command",
        _phrases("\n".join([*_LINES[:3], "something else"]), finished=True),
    ),
    Case("a file named `photo[1].png` beside `photo1.png`", _brackets),
)
