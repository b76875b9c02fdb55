"""Pictures to predict, wherever they are: files, lists, tar shards, array_record, TFDS."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jaxcbm.data.image_source import FileImages, SequenceImages
from jaxcbm.data.sources.folder import IMAGE_SUFFIXES, find_pictures
from jaxcbm.data.sources.path_pattern import matching
from jaxcbm.data.sources.tar_shards import NamedPicture, read_tar
from jaxcbm.encoders.image.file import UnreadableImage, open_ordinary
from jaxcbm.errors import UserError
from jaxcbm.storage import as_path, is_remote

TFDS = "tfds:"
_TAR, _RECORDS = ".tar", (".array_record", ".arrayrecord")


class Part(NamedTuple):
    """A run of pictures that is read by itself.

    Attributes:
        read: their names and what opens each, in order; can be called again.
        count: how many there are; None where only reading tells.
    """

    read: Callable[[], Iterator[NamedPicture]]
    count: int | None


class PictureSource(NamedTuple):
    """Pictures in a fixed order, in parts.

    Attributes:
        parts: a run of so many pictures each, or a tar file each.
        files: of the pictures, or those that hold them; empty for a dataset of TFDS.
        dataset: of TFDS, with version and number of pictures; "" for files.
    """

    parts: tuple[Part, ...]
    files: tuple[Any, ...]
    dataset: str = ""

    @property
    def count(self) -> int | None:
        """How many pictures there are; None where only reading tells."""
        counts = [part.count for part in self.parts if part.count is not None]
        return sum(counts) if len(counts) == len(self.parts) else None


def open_pictures(pattern: str, part_size: int) -> PictureSource:
    """Find pictures; none is opened yet.

    Args:
        pattern: a folder, searched recursively; a file; a glob, also with braces; `@FILE`, a list
            with one path a line; or `tfds:NAME/SPLIT`. Files whose names end in `.tar` are read
            as webdataset's shards, those with `.array_record` as such. All but TFDS and
            array_record may be on gs://.
        part_size: pictures a part; a tar file is a part always.

    Raises:
        UserError: nothing there, or pictures beside files that hold pictures.
    """
    if pattern.startswith(TFDS) and not os.path.lexists(pattern):
        return _tfds(pattern, part_size)
    files = find_files(pattern)
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        both = " and ".join(sorted(kinds))
        raise UserError(f"--images={pattern}: {both} together; name one kind, as by a glob")
    if kinds == {"tar files"}:
        return PictureSource(tuple(Part(partial(read_tar, f), None) for f in files), tuple(files))
    if kinds == {"array_record files"}:
        from jaxcbm.data.sources.array_records import open_array_records

        source = open_array_records(files)
    else:
        source = FileImages(tuple(files), root=Path())
    return PictureSource(_in_parts(source, part_size), tuple(files))


def find_files(pattern: str) -> list[Any]:
    """Files of pictures, or those that hold pictures, in a fixed order; see `open_pictures`.

    What is there by that very name is meant, whatever brackets or stars it has. Of a folder, or of
    what matches a glob, those are taken that have the suffix of a picture; of a folder without any,
    those that hold pictures.
    """
    path = as_path(pattern)
    if path.is_dir():
        files = _in_folder(path)
    elif path.exists() if is_remote(path) else os.path.lexists(path):
        files = [path]
    elif pattern.startswith("@"):
        files = _listed(as_path(pattern[1:]))
    else:
        files = [file for file in matching(pattern) if _is_known(file)]
    if not files and not (is_remote(path) or path.is_dir() or set("*?[{@") & set(pattern)):
        raise UserError(f"--images={pattern}: no such file or folder")
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"--images={pattern}: no pictures there ({kinds}, .tar or .array_record)")
    return files


def _in_folder(folder: Any) -> list[Any]:
    if is_remote(folder):
        found = sorted(_objects(folder), key=os.fspath)
        return [path for path in found if _kind(path) == "pictures"] or found
    return find_pictures(folder) or sorted(filter(_is_known, folder.rglob("*")))


def _objects(folder: Any) -> Iterator[Any]:
    """What holds pictures in an object store; only what does not look like it is asked further."""
    for path in folder.iterdir():
        if _is_known(path):
            yield path
        elif path.is_dir():
            yield from _objects(path)


def _listed(path: Any) -> list[Any]:
    """The paths in a file, one a line; a path need not be UTF-8."""
    try:
        with open_ordinary(path)[0] as file:
            content = file.read()
    except UnreadableImage as error:
        raise UserError(f"--images=@{path}: {error}") from error
    lines = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n")
    return [as_path(name) for line in lines if (name := line.removesuffix("\r"))]


def _kind(path: Any) -> str:
    if path.suffix == _TAR:
        return "tar files"
    # TFDS writes names such as birds-test.array_record-00000-of-00004.
    return "array_record files" if any(end in path.name for end in _RECORDS) else "pictures"


def _is_known(path: Any) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES or _kind(path) != "pictures"


def _tfds(pattern: str, part_size: int) -> PictureSource:
    from jaxcbm.data.sources.tfds import open_tfds_pictures

    name, slash, split = pattern.removeprefix(TFDS).rpartition("/")
    if not slash or not name or not split:
        raise UserError(f"--images={pattern}: write tfds:NAME/SPLIT, such as tfds:cifar10/test")
    source, dataset = open_tfds_pictures(name, split)
    return PictureSource(_in_parts(source, part_size), (), f"{dataset}, {len(source)} pictures")


def _in_parts(source: FileImages | SequenceImages, size: int) -> tuple[Part, ...]:
    def read(positions: range) -> Iterator[NamedPicture]:
        return ((source.name(i), partial(source.load, i)) for i in positions)

    starts: Sequence[int] = range(0, len(source), size)
    runs = [range(start, min(start + size, len(source))) for start in starts]
    return tuple(Part(partial(read, run), len(run)) for run in runs)
