"""What disks, copies and people do to files, by a seed; how often is asked for by JAXCBM_FAULTS."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Damage = Callable[[Path, np.random.Generator], None]


def tries(default: int) -> int:
    """How many inputs a test makes: its own number, or what the environment asks for."""
    return int(os.environ.get("JAXCBM_FAULTS", default))


def cut(file: Path, rng: np.random.Generator) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.integers(len(content))])


def flip(file: Path, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    for place in rng.integers(len(content), size=rng.integers(1, 9)):
        content[place] ^= 1 << int(rng.integers(8))
    if content == file.read_bytes():  # two flips of one bit
        content[0] ^= 1
    file.write_bytes(bytes(content))


def grow(file: Path, rng: np.random.Generator) -> None:
    file.write_bytes(file.read_bytes() + rng.bytes(int(rng.integers(1, 100))))


def scramble(file: Path, rng: np.random.Generator) -> None:
    file.write_bytes(rng.bytes(int(rng.integers(1, 2000))))


def remove(file: Path, rng: np.random.Generator) -> None:
    file.unlink()


def make_folder(file: Path, rng: np.random.Generator) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: tuple[Damage, ...] = (cut, flip, grow, scramble, remove, make_folder)
# What stands in JSON where something else belongs.
STRANGE = (None, True, -1, 0, 1e308, 2**70, "", "x", [], [1, [2]], {}, {"a": 1})


def swap_value(file: Path, rng: np.random.Generator) -> None:
    """Put something strange in the place of one value of a JSON file, or take it away."""
    content = json.loads(file.read_text(encoding="utf-8"))
    places = list(_places(content))
    inside, key = places[rng.integers(len(places))]
    if rng.random() < 0.2:
        del inside[key]
    else:
        old = inside[key]
        strange = [value for value in STRANGE if value != old or type(value) is not type(old)]
        inside[key] = strange[rng.integers(len(strange))]
    file.write_text(json.dumps(content), encoding="utf-8")


def _places(content: Any):
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(pairs):
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)


def restore(folder: Path, whole: Path) -> None:
    """A folder as it was before the damage."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
