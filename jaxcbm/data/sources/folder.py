"""Pictures sorted into one folder a class, with or without folders for splits above them."""

import os
from pathlib import Path

import numpy as np
from absl import logging

from jaxcbm.data.image_source import as_utf8
from jaxcbm.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif"}
    | {".tiff", ".webp"}
)
# Folder names that mean a split, and the name each split goes by here.
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


def labelled_files(
    root: Path, split: str | None
) -> tuple[tuple[Path, ...], np.ndarray, tuple[str, ...]]:
    """The pictures of one split, or of a folder without splits; see `ImageSet.from_folder`.

    Returns:
        N files, their labels int32 [N], and the K names of class folders.

    Raises:
        UserError: no such folder or split, no images, or fewer than two classes.
    """
    splits = folder_splits(root)
    homes = list(splits.values()) or [root]
    if split is None:
        if splits:
            raise UserError(f"{root} has splits ({', '.join(splits)}): say which one to read")
        home = root
    else:
        wanted = _SPLITS.get(split, split)
        if wanted not in splits:
            there = f"splits {', '.join(splits)}" if splits else "class folders and no splits"
            raise UserError(f"no split {split!r} in {root}: it has {there}")
        home = splits[wanted]
    files = {folder: _pictures_by_class(folder) for folder in homes}
    classes = sorted({name for by_class in files.values() for name in by_class})
    _refuse_unusable(root, home, classes, files[home])
    counts = [len(files[home].get(name, ())) for name in classes]
    paths = tuple(path for paths in files[home].values() for path in paths)
    return paths, np.repeat(np.arange(len(classes), dtype=np.int32), counts), tuple(classes)


def folder_splits(root: Path | str) -> dict[str, Path]:
    """The splits that a folder is divided into, and where each lies; empty if it is not.

    Names like "training" and "val" are understood; the keys are "train", "valid" and "test".

    Raises:
      UserError: no such folder, or two folders for one split.
    """
    root = Path(root)
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise UserError(f"{what}: {root} (give a folder that holds one folder of pictures a class)")
    folders = _subfolders(root)
    # A class may be called "test": only a folder divided into nothing but splits counts.
    if not folders or not all(f.name.lower() in _SPLITS and _subfolders(f) for f in folders):
        return {}
    splits: dict[str, Path] = {}
    for folder in folders:
        name = _SPLITS[folder.name.lower()]
        if name in splits:
            raise UserError(f"{splits[name]} and {folder} are both the {name} split: keep one")
        splits[name] = folder
    return {name: splits[name] for name in ("train", "valid", "test") if name in splits}


def find_pictures(folder: Path) -> list[Path]:
    """All pictures below a folder by their suffix, in alphabetical order of their paths.

    Folders that may not be read are counted in a warning, which names the first.
    """
    found, closed = [], []
    for place, inner, names in os.walk(folder, onerror=closed.append):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [
            Path(place, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    if closed:
        logging.warning(
            "%d folders in %s cannot be read and are left out (first: %s: %s)",
            *(len(closed), folder, closed[0].filename, closed[0].strerror),
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _subfolders(folder: Path) -> list[Path]:
    found = [f for f in folder.iterdir() if f.is_dir() and not f.name.startswith(".")]
    return sorted(found, key=lambda f: f.name)


def _pictures_by_class(home: Path) -> dict[str, list[Path]]:
    by_class = {as_utf8(folder.name): find_pictures(folder) for folder in _subfolders(home)}
    empty = [name for name, paths in by_class.items() if not paths]
    if empty:
        logging.warning(
            "%d of %d folders in %s hold no pictures and are no classes (first: %s)",
            *(len(empty), len(by_class), home, empty[0]),
        )
    return {name: paths for name, paths in by_class.items() if paths}


def _refuse_unusable(
    root: Path, home: Path, classes: list[str], by_class: dict[str, list[Path]]
) -> None:
    if not by_class:
        loose = [path for path in home.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
        hint = (
            f"{len(loose)} pictures lie in it directly; put each class into a folder of its own"
            if loose
            else f"looked for {', '.join(sorted(IMAGE_SUFFIXES))} in one folder a class"
        )
        raise UserError(f"no images in {home}: {hint}")
    if len(classes) == 1:
        raise UserError(f"{root} has only one class ({classes[0]}): a classifier needs two or more")
