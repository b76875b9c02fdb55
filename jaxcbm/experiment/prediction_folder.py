"""A folder of predictions: files that are each whole or not there, so that a stopped run goes on.

Beside them `.manifest` holds what all were made from, and a record of each file with its size,
hash and number of rows. Readers of Parquet and of `datasets` pass such names over.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jaxcbm.atomic import atomic_file
from jaxcbm.data.sources.pictures import PictureSource
from jaxcbm.distributed import processes
from jaxcbm.errors import UserError
from jaxcbm.experiment.workdir_lock import hold
from jaxcbm.model.model import Model
from jaxcbm.storage import is_remote, read_whole, write_whole
from jaxcbm.typed_json import from_json, to_json

MANIFEST = ".manifest"
_LAYOUT = 1


@dataclass(frozen=True)
class Settings:
    """What every file of a folder depends on, and how its rows are cut into files.

    Attributes:
        model: SHA-256 of its weights and words, hex.
        names: SHA-256 of the names of the pictures or of the files that hold them, in their order.
        contents: SHA-256 of their sizes and times of change, or of a dataset's version.
        parts: how many files.
        format: of the files.
        top: strongest contributions in a row.
        arrays: what else a row has.
        shard_rows: pictures a file.
        batch_size: pictures a step, over all devices.
        dtype: of the encoder's matrix products.
        layout: of this folder.
    """

    model: str = field(metadata={"said": "another model"})
    names: str = field(metadata={"said": "other pictures, or in another order"})
    contents: str = field(metadata={"said": "pictures that have changed since"})
    parts: int = field(metadata={"said": "another number of files"})
    format: Literal["parquet", "csv", "jsonl"] = field(metadata={"said": "--format"})
    top: int = field(metadata={"said": "--top"})
    arrays: tuple[str, ...] = field(metadata={"said": "--with"})
    shard_rows: int = field(metadata={"said": "--shard-rows"})
    batch_size: int = field(metadata={"said": "--batch-size"})
    dtype: str = field(metadata={"said": "--dtype"})
    layout: int = field(default=_LAYOUT, metadata={"said": "another version of jaxcbm"})


@dataclass(frozen=True)
class FileRecord:
    """One finished file.

    Attributes:
        bytes: its size.
        sha256: of its content, hex.
        rows: pictures that were predicted.
        skipped: name and reason of those that could not be read.
    """

    bytes: int
    sha256: str
    rows: int
    skipped: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class PredictionFolder:
    """Where the files lie, here or remote.

    Attributes:
        place: the folder.
        settings: what they are made from.
    """

    place: Any
    settings: Settings

    def file(self, number: int) -> Any:
        """One of the files; `datasets` and pandas read them in the order of their names."""
        return self.place / f"{self._name(number)}.{self.settings.format}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, or see that the one there was begun with the same settings; within,
        no other run writes into it.

        Raises:
            UserError: it was begun with others, holds something else, cannot be written, or another
                run holds it.
        """
        if is_remote(self.place):
            self._begin()
            yield
            return
        with hold(self.place, "--output"):
            self._begin()
            yield

    def _begin(self) -> None:
        file = self.place / MANIFEST / "settings.json"
        if processes.is_main():
            if not file.exists():
                self._refuse_others()
                write_whole(file, (json.dumps(to_json(self.settings), indent=2) + "\n").encode())
            for left in [] if is_remote(self.place) else self.place.glob(".part-*.tmp*"):
                left.unlink()  # of a run that was killed
        processes.barrier("predictions begun")
        if (found := _read(Settings, file)) is None:
            raise UserError(
                f"{file} is not seen by all processes: they need a folder that all share"
            )
        for each in dataclasses.fields(Settings):
            now, then = (getattr(settings, each.name) for settings in (self.settings, found))
            if now != then:
                raise UserError(f"{self.place} {_difference(each, now, then)}")

    def finished(self, number: int, verify: bool = True) -> FileRecord | None:
        """The record of a file that is there with every byte, or None.

        Args:
            number: which file.
            verify: False reads no more than its record.
        """
        with suppress(UserError):
            record = _read(FileRecord, self._record(number))
            if record is None or not verify or _digest(self.file(number)) == record.sha256:
                return record
        return None

    @contextmanager
    def writing(self, number: int) -> Iterator[tuple[Path, list[Any]]]:
        """Give a temporary file, and a list for what else the record says: rows and skipped ones.

        Raises:
            UserError: the disk is full or the place is not writable. Nothing is left behind.
        """
        place, told = self.file(number), []
        if is_remote(place):
            with tempfile.TemporaryDirectory() as folder:
                temporary = Path(folder) / place.name
                yield temporary, told
                record = FileRecord(temporary.stat().st_size, _digest(temporary), *told)
                write_whole(place, temporary.read_bytes())
        else:
            with atomic_file(place) as temporary:
                yield temporary, told
                record = FileRecord(temporary.stat().st_size, _digest(temporary), *told)
        write_whole(self._record(number), (json.dumps(to_json(record)) + "\n").encode())

    def _name(self, number: int) -> str:
        return f"part-{number:05d}-of-{self.settings.parts:05d}"

    def _record(self, number: int) -> Any:
        return self.place / MANIFEST / f"{self._name(number)}.json"

    def _refuse_others(self) -> None:
        there = sorted(path.name for path in self.place.iterdir()) if self.place.exists() else []
        for name in there:
            if not name.startswith("."):
                raise UserError(
                    f"--output={self.place} holds {name}, which `jaxcbm predict` has not written: "
                    "name a folder that is new or empty"
                )


def begun_batch_size(place: Any) -> int | None:
    """What a folder was begun with; None for one that was not."""
    found = _read(Settings, place / MANIFEST / "settings.json")
    return None if found is None else found.batch_size


def model_hash(model: Model) -> str:
    """SHA-256, hex, of everything that a model's predictions depend on."""
    words = [model.classes, model.concepts.phrases, model.encoder_hash, to_json(model.config)]
    words += [model.encoder_image_size, model.logit_scale, model.logit_bias]
    digest = hashlib.sha256(json.dumps(words).encode())
    read = (model.params, tuple(model.input_map), model.concept_embeddings)
    for part in (*read, _fields(model.calibration), _fields(model.familiarity)):
        for array in jax.tree.leaves(part):
            digest.update(f"{np.shape(array)} {np.asarray(array).dtype}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def picture_hashes(source: PictureSource) -> tuple[str, str]:
    """`Settings.names` and `Settings.contents` of pictures."""
    names, contents = hashlib.sha256(), hashlib.sha256(source.dataset.encode())
    for file in source.files:
        names.update(os.fsencode(os.fspath(file)) + b"\0")
        with suppress(OSError, ValueError):
            if not is_remote(file):
                told = os.stat(file)
                contents.update(f"{told.st_size} {told.st_mtime_ns}".encode())
            # One question for each of a million objects would take longer than they do.
            elif len(source.files) == len(source.parts):
                contents.update(str(file.stat().length).encode())
        contents.update(b"\0")
    return names.hexdigest(), contents.hexdigest()


def _fields(record: Any) -> Any:
    return None if record is None else vars(record)


def _difference(each: dataclasses.Field, now: Any, then: Any) -> str:
    said = each.metadata["said"]
    if said.startswith("--"):
        then, now = (",".join(x) if isinstance(x, tuple) else x for x in (then, now))
        return f"was begun with {said}={then}, and not {now}: give that, or another --output"
    return f"was begun with {said}: give another --output, or remove that folder"


def _read(kind: Any, file: Any) -> Any:
    try:
        content = json.loads(read_whole(file))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file}: damaged, or not to be read: remove {file.parent.parent}"
        ) from error
    return from_json(kind, content, str(file))


def _digest(file: Any) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""
