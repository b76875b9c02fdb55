"""Which picture belongs to which split of a work directory, by content, decided once.

A split that is drawn from what lies in a folder moves when the folder changes: pictures that a
model was trained on would become test pictures, and labels would count other classes. So the first
command of a work directory writes the digests and the classes of every split, and all that come
after it read them. Pictures that came later are said, and belong to no split.
"""

import hashlib
import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import numpy as np
from absl import logging

from jaxcbm.data.datasets import DataConfig
from jaxcbm.data.features import Features, Splits
from jaxcbm.described_tensors import load_described, save_described
from jaxcbm.distributed.processes import main_alone
from jaxcbm.errors import UserError
from jaxcbm.experiment.config_file import settings_of_run
from jaxcbm.sealed_json import hash_of


def settle_split(workdir: Path, data: DataConfig, splits: Splits) -> Splits:
    """The splits that a work directory began with; without any yet, these are written.

    Every process of a run must call it.

    Args:
        workdir: of a run.
        data: settings of the data; each has splits of its own.
        splits: as they would be drawn now.

    Returns:
        The pictures of each split, with what is known of them now.

    Raises:
        UserError: a class or a picture is gone, or a picture has another class than before; names
            the first.
    """
    key = hashlib.sha256(json.dumps(asdict(data), sort_keys=True).encode()).hexdigest()[:16]
    file = workdir / "splits" / f"{key}.safetensors"
    main_alone("split", lambda: file.exists() or _write(file, splits))
    classes, digests, labels = _read(file)
    _same_classes(workdir, classes, splits.train.classes)
    rows = [_key_of(part) for part in splits]
    if rows == [_hash(d, y) for d, y in zip(digests, labels, strict=True)]:
        return splits
    return _found_again(workdir, splits, digests, labels)


def _found_again(
    workdir: Path, splits: Splits, digests: list[np.ndarray], labels: list[np.ndarray]
) -> Splits:
    """The stored splits among the pictures that there are now."""
    parts = list(splits)
    # Test may have classes, or copies, of its own: a picture is looked for where it was first.
    places: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for p, part in enumerate(parts):
        for row, digest in enumerate(part.digests):
            places[digest.tobytes()].append((p, row))
    chosen: list[list[tuple[int, int]]] = []
    for p, (kept, names) in enumerate(zip(digests, Splits._fields, strict=True)):
        seen: dict[bytes, int] = defaultdict(int)
        found: list[tuple[int, int]] = []
        for row, digest in enumerate(map(bytes, kept)):
            there = sorted(places.get(digest, ()), key=lambda place: place[0] != p)
            if len(there) <= seen[digest]:
                raise UserError(
                    f"{workdir}: picture {row} of the {names} split that it began with is gone: "
                    "restore it, or choose another --workdir"
                )
            own, at = there[seen[digest]]
            seen[digest] += 1
            now, before = int(parts[own].labels[at]), int(labels[p][row])
            if now != before:
                known = splits.train.classes
                told = [known[k] if k >= 0 else "unknown" for k in (before, now)]
                raise UserError(
                    f"{workdir}: picture {row} of the {names} split was {told[0]!r} when it began, "
                    f"now it is {told[1]!r}: put it back, or choose another --workdir"
                )
            found.append((own, at))
        chosen.append(found)
    used = {place for found in chosen for place in found}
    if new := sum(map(len, parts)) - len(used):
        logging.warning(
            "%d pictures came after %s began and are in none of its splits", new, workdir
        )
    pool = Features.concatenate(parts)
    starts = np.cumsum([0, *map(len, parts[:-1])])
    return Splits(*(pool.select([starts[p] + row for p, row in found]) for found in chosen))


def _same_classes(workdir: Path, before: tuple[str, ...], now: tuple[str, ...]) -> None:
    if before == now:
        return
    gone, new = ([k for k in a if k not in b] for a, b in ((before, now), (now, before)))
    lists = {"gone": gone, "new": new}
    said = [f"{what}: {', '.join(names)}" for what, names in lists.items() if names]
    raise UserError(
        f"{workdir} began with other classes ({'; '.join(said) or 'in another order'}): restore "
        "them, or choose another --workdir"
    )


def _write(file: Path, splits: Splits) -> None:
    tensors = {}
    for name, part in zip(Splits._fields, splits, strict=True):
        tensors[f"{name}.digests"] = np.ascontiguousarray(part.digests)
        tensors[f"{name}.labels"] = np.ascontiguousarray(part.labels)
    said = {"classes": splits.train.classes, "settings": _settings_of(file)}
    save_described(file, tensors, said)


def _settings_of(file: Path) -> str | None:
    """The hash of the settings of the work directory that a split belongs to, where it has any."""
    settings = settings_of_run(file.parents[1])
    return None if settings is None else hash_of(settings)


def _read(file: Path) -> tuple[tuple[str, ...], list[np.ndarray], list[np.ndarray]]:
    try:
        said, tensors = load_described(file)
        classes = tuple(said["classes"])
        digests, labels = (
            [tensors[f"{name}.{what}"] for name in Splits._fields] for what in ("digests", "labels")
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file}: damaged ({error}); restore it, or choose another --workdir"
        ) from error
    if said.get("settings") not in (None, _settings_of(file)):
        raise UserError(
            f"{file.parents[1]}: config.json is not what it began with; restore it, or choose "
            "another --workdir"
        )
    return classes, digests, labels


def _key_of(part: Features) -> str:
    return _hash(part.digests, part.labels)


def _hash(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
