"""Pictures with captions, for contrastive pre-training."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from absl import logging

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import FileImages
from jaxcbm.data.sources.folder import find_pictures
from jaxcbm.errors import UserError
from jaxcbm.json_text import parse_json
from jaxcbm.ordinary_file import is_ordinary
from jaxcbm.text_file import is_utf8, read_text

_CSV, _JSONL = "captions.csv", "captions.jsonl"


def load_captioned_folder(root: Path | str) -> ImageSet:
    """Read pictures and what is written about them.

    One of three forms, looked for in this order:

    * `captions.jsonl`, an object a line: `{"file": "a/1.jpg", "caption": "a red bird"}`;
    * `captions.csv` with the columns `file` and `caption`;
    * beside each picture a text file of the same stem (`1.jpg`, `1.txt`) with a caption a line.

    A picture may have several captions. Files are relative to `root`. Pictures without a caption
    are left out, with a warning.

    Args:
        root: the folder.

    Returns:
        An `ImageSet` in alphabetical order of the paths, with captions, no classes, and labels -1.

    Raises:
        UserError: no such folder, no captioned pictures, or a line that cannot be used.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"no such folder: {root} (give a folder of pictures with captions)")
    lists = [root / name for name in (_JSONL, _CSV) if (root / name).is_file()]
    if len(lists) == 2:
        raise UserError(f"{root} has both {_JSONL} and {_CSV}: keep one of them")
    captions = _listed(root, lists[0]) if lists else _beside(root)
    if not captions:
        raise UserError(
            f"no captioned pictures in {root}: add {_JSONL}, {_CSV}, or a .txt beside each picture"
        )
    paths = sorted(captions, key=lambda path: path.as_posix())
    return ImageSet(
        source=FileImages(tuple(paths), root),
        labels=np.full(len(paths), -1, np.int32),
        classes=(),
        captions=tuple(tuple(captions[path]) for path in paths),
    )


def _beside(root: Path) -> dict[Path, list[str]]:
    captions: dict[Path, list[str]] = {}
    without = []
    for path in find_pictures(root):
        text = path.with_suffix(".txt")
        if text.is_file():
            lines = (line.strip() for line in read_text(text).splitlines())
            captions[path] = [line for line in lines if line]
            if not captions[path]:
                raise UserError(f"{text}: no caption in it; write one a line or remove the file")
        else:
            without.append(path)
    if without and captions:
        logging.warning(
            "left out %d of %d pictures in %s that have no caption (first: %s)",
            *(len(without), len(without) + len(captions), root, without[0]),
        )
    return captions


def _listed(root: Path, listing: Path) -> dict[Path, list[str]]:
    rows = _jsonl_rows if listing.name == _JSONL else _csv_rows
    captions: dict[Path, list[str]] = {}
    for line, file, caption in rows(listing):
        path = root / file
        # A list is handed in with its pictures: it names those, and nothing else of this machine.
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise UserError(f"{listing}, line {line}: {file} does not lie in {root}")
        if not is_ordinary(path):
            raise UserError(f"{listing}, line {line}: no such picture: {file}")
        if not caption:
            raise UserError(f"{listing}, line {line}: the caption of {file} is empty")
        captions.setdefault(path, []).append(caption)
    return captions


def _jsonl_rows(listing: Path) -> Iterator[tuple[int, str, str]]:
    for line, text in enumerate(read_text(listing).split("\n"), 1):
        if not text.strip():
            continue
        try:
            row = parse_json(text)
            file, caption = row["file"], row["caption"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f'{listing}, line {line}: not an object like {{"file": ..., "caption": ...}}'
            ) from error
        yield line, *_strings(listing, line, (file, caption))


def _csv_rows(listing: Path) -> Iterator[tuple[int, str, str]]:
    reader = csv.DictReader(io.StringIO(read_text(listing), newline=""), strict=True)
    try:
        if not {"file", "caption"} <= set(reader.fieldnames or ()):
            raise UserError(f"{listing}, line 1: the columns must be named file and caption")
        for row in reader:
            line = reader.line_num
            yield line, *_strings(listing, line, (row["file"], row["caption"]))
    except csv.Error as error:
        raise UserError(f"{listing}, line {reader.reader.line_num}: {error}") from error


def _strings(listing: Path, line: int, values: Iterable[object]) -> tuple[str, str]:
    file, caption = values
    if not isinstance(file, str) or not isinstance(caption, str) or not file.strip():
        raise UserError(f"{listing}, line {line}: file and caption must both be text")
    # JSON can spell halves of characters, which are no text to a tokenizer or a file system.
    if not (is_utf8(file) and is_utf8(caption)):
        raise UserError(f"{listing}, line {line}: half a character (a lone surrogate); remove it")
    return file.strip(), caption.strip()
