"""The explorer of a finished run, on its test pictures or on pictures of one's own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxcbm.atomic import write_text
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import FileImages, UnreadableImage
from jaxcbm.data.skipped import tell_skipped
from jaxcbm.data.sources.pictures import find_files
from jaxcbm.errors import UserError
from jaxcbm.evaluation.results.parts import best_and_worst
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import settings_of_run
from jaxcbm.experiment.prepare import prepare
from jaxcbm.explore.maps import maps_part
from jaxcbm.explore.model_part import model_part
from jaxcbm.explore.page import page
from jaxcbm.explore.payload import explorer_payload, payload_of
from jaxcbm.explore.thumbnails import SIDE, thumbnails
from jaxcbm.model.model import Model, load_model

# Activations of a page: 90 MB of text. Browsers take none above half a gigabyte.
_ACTIVATIONS = 2**25


class Explored(NamedTuple):
    """What was written.

    Attributes:
        pictures: how many there are in the page.
        of: how many there were.
        size: of the file, bytes.
    """

    pictures: int
    of: int
    size: int


class _Run(NamedTuple):
    """A finished run: its model, and its test pictures with their features."""

    folder: Path
    model: Model
    test: Features
    images: tuple[ImageSet, ...]


def explore(
    workdir: Path | str,
    output: Path | str,
    *,
    images: str | None = None,
    against: Path | str | None = None,
    maps: int = 0,
    limit: int = 10_000,
    side: int = SIDE,
) -> Explored:
    """Write one self-contained page in which a model's decisions are looked at and corrected.

    Args:
        workdir: of a finished run.
        output: .html.
        images: a folder or a glob of own pictures; None: the test split of the run.
        against: another run on the same data, to compare.
        maps: how many pictures have concept maps: half of them the surest, half the worst mistakes.
        limit: pictures at most; of a larger test split some are drawn, and fewer where there are
            more than 3,355 concepts.
        side: of the small pictures, in pixels.

    Raises:
        UserError: no finished run, no readable picture, or runs of other classes or pictures.
    """
    workdir = Path(workdir)
    if images is not None:
        if against is not None:
            raise UserError("--against compares runs on their test pictures: leave --images out")
        files = find_files(images)
        payload = _own(load_model(workdir), workdir.resolve().name, files[:limit], maps, side)
        count = len(files)
    else:
        runs = [_run(workdir), *([] if against is None else [_run(Path(against))])]
        payload, count = _of_test(runs, maps, limit, side)
    write_text(output, page(payload))
    return Explored(len(payload["names"]), count, Path(output).stat().st_size)


def _own(model: Model, name: str, files: list[Path], maps: int, side: int) -> dict:
    source = FileImages(tuple(files), root=Path())
    place = {known: k for k, known in enumerate(model.classes)}
    skipped: list[tuple[str, str]] = []

    def readable() -> Iterator[tuple[str, Image.Image, int]]:
        for index, file in enumerate(files):
            try:
                picture = source.load(index)
            except UnreadableImage as error:
                skipped.append((source.name(index), str(error)))
                continue
            yield source.name(index), picture, place.get(file.resolve().parent.name, -1)
        tell_skipped(tuple(skipped), len(files))

    return payload_of(model, readable(), title=name, maps=maps, side=side)


def _run(workdir: Path) -> _Run:
    settings = settings_of_run(workdir)
    if settings is None:
        raise UserError(f"no run in {workdir}: start one with `jaxcbm train --workdir={workdir}`")
    model = load_model(workdir)
    prepared = prepare(read_experiment(settings), workdir, finetuned=model.finetuned)
    sets = (prepared.pictures, prepared.train_pictures)
    return _Run(workdir, model, prepared.splits.test, sets)


def _of_test(runs: list[_Run], maps: int, limit: int, side: int) -> tuple[dict, int]:
    first, count = runs[0], len(runs[0].test)
    wide = max(len(run.model.concepts) for run in runs)
    features = [run.test for run in runs]
    features[0] = features[0].sample(min(limit, max(_ACTIVATIONS // wide, 1)), seed=0)
    if len(runs) == 2:
        features = _same_pictures(runs, features[0])
    labels_N = np.asarray(features[0].labels)
    found = _find(features[0], first.images)
    preprocess = first.model.loaded_encoder.preprocess
    seen = (Image.fromarray(preprocess(images[i])) for images, i in found)
    small = list(thumbnails(seen, side))
    names = [images.source.name(i) for images, i in found]
    parts = []
    for run, test in zip(runs, features, strict=True):
        prediction = run.model.predict_embeddings(test.as_array())
        chosen = _mapped(prediction.class_logits, labels_N, maps) if run is first else []
        pictures = ((n, found[n][0][found[n][1]]) for n in chosen)
        parts.append(
            model_part(
                run.model,
                prediction,
                labels_N,
                name=run.folder.resolve().name,
                truth_NxD=test.annotations_of(run.model.concepts.phrases),
                metrics=_test_metrics(run.folder),
                maps=maps_part(run.model, prediction, pictures),
            )
        )
    title = " and ".join(part["name"] for part in parts)
    payload = explorer_payload(title, names, small, labels_N, first.model.classes, parts)
    return payload, count


def _mapped(logits_NxK: np.ndarray, labels_N: np.ndarray, maps: int) -> list[int]:
    best, worst = best_and_worst(logits_NxK, labels_N, (maps + 1) // 2)
    return list(dict.fromkeys([*worst, *best]))[:maps]


def _find(features: Features, sets: tuple[ImageSet, ...]) -> list[tuple[ImageSet, int]]:
    """Where each picture of a split is; several rows may show the same one."""
    places = {}
    for images in reversed(sets):
        places |= {digest: (images, i) for digest, i in images.places().items()}
    return [places[bytes(digest)] for digest in features.digests]


def _same_pictures(runs: list[_Run], first: Features) -> list[Features]:
    """The pictures that both runs have in their test splits, in one order."""
    one, other = runs
    if one.model.classes != other.model.classes:
        raise UserError(f"{one.folder} and {other.folder} have other classes: compare runs on one")
    place = {bytes(digest): i for i, digest in enumerate(other.test.digests)}
    pairs = [(i, place[d]) for i, d in enumerate(map(bytes, first.digests)) if d in place]
    if not pairs:
        raise UserError(f"{one.folder} and {other.folder} have no test picture in common")
    own, theirs = np.array(pairs).T
    return [first.select(own), other.test.select(theirs)]


def _test_metrics(workdir: Path) -> dict:
    file = workdir / "metrics.json"
    return json.loads(file.read_text(encoding="utf-8"))["test"] if file.exists() else {}
