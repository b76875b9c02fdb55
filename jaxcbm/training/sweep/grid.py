"""A grid of settings: named axes of values, and the families of runs that share one program.

An axis is a field of `FitConfig` by its path, such as `training.cbl.learning_rate`. Numbers that
only scale something are `TRACED`: any of their values runs in the same compiled program. Every
other field changes the program's structure, and so each combination of those is a family.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple, get_args, get_type_hints

from jaxcbm.errors import UserError
from jaxcbm.training.config import FitConfig

SEED = "training.seed"
TRACED = (
    "bottleneck.penalty",
    "bottleneck.tau_start",
    "bottleneck.tau_end",
    "training.cbl.learning_rate",
    "training.cbl.weight_decay",
    "training.cbl.momentum",
    "training.head.learning_rate",
    "training.head.weight_decay",
    "training.head.momentum",
    "training.objective_weight",
    "training.kl_weight",
)

# Fields of the loop that matter to some structures only; elsewhere their values would all give one
# run. Those of the bottleneck it knows itself.
USED_IF: dict[str, Callable[[FitConfig], bool]] = {
    "training.kl_weight": lambda c: c.bottleneck.uses("prior"),
    "training.cbl.weight_decay": lambda c: c.training.cbl.name == "adamw",
    "training.head.weight_decay": lambda c: c.training.head.name == "adamw",
    "training.cbl.momentum": lambda c: c.training.cbl.name == "sgd",
    "training.head.momentum": lambda c: c.training.head.name == "sgd",
    "training.head.learning_rate": lambda c: c.training.train_head,
}

Setting = dict[str, Any]
Grid = Mapping[str, Sequence[Any]]


class Family(NamedTuple):
    """The runs of a grid that one compiled program trains.

    Attributes:
        structure: the grid's values of fields that are not traced.
        config: the whole configuration with that structure; its traced numbers are the base's.
        settings: H combinations of traced values.
        seeds: S seeds; the family is every setting with every seed.
    """

    structure: Setting
    config: FitConfig
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]


def parse_axis(path: str, texts: Sequence[str]) -> tuple[Any, ...]:
    """The values of an axis as typed on a command line, converted to the field's type.

    Args:
        path: a field of `FitConfig` under `bottleneck` or `training`.
        texts: its values.

    Raises:
        UserError: no such field, or a value that it cannot take.

    >>> parse_axis("training.cbl.learning_rate", ["1e-4", "1e-3"])
    (0.0001, 0.001)
    >>> parse_axis("bottleneck.objective", ["gumbel", "l2"])
    Traceback (most recent call last):
    ...
    jaxcbm.errors.UserError: bottleneck.objective: 'l2' is not one of gumbel, contrastive, ...
    """
    kind = field_type(path)
    return tuple(dict.fromkeys(_parse(path, kind, text) for text in texts))


def field_type(path: str) -> Any:
    """The type of a field of `FitConfig`.

    Raises:
        UserError: no such field, or one that no sweep can change.
    """
    kind: Any = FitConfig
    section, *_ = names = path.split(".")
    if section not in ("bottleneck", "training"):
        raise UserError(f"{path} cannot be on a grid: name a field of bottleneck or training")
    for depth, name in enumerate(names):
        hints = get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
        if name not in hints:
            where = ".".join(names[:depth])
            raise UserError(f"{path}: unknown field (in {where} there are {', '.join(hints)})")
        kind = hints[name]
    if dataclasses.is_dataclass(kind):
        fields = ", ".join(get_type_hints(kind))
        raise UserError(f"{path} is a section: name one of its fields ({fields})")
    return kind


def families(config: FitConfig, grid: Grid) -> list[Family]:
    """Split a grid into families, in the order of its axes.

    An axis that a structure does not use (a penalty, but no `l1`) is left out of its settings.

    Args:
        config: what the grid does not say.
        grid: path of a field -> its values; the runs are all combinations.

    Raises:
        UserError: an unknown field, or an axis without values.

    >>> grid = {"bottleneck.objective": ("gumbel", "l1"), "bottleneck.penalty": (0.1, 1.0)}
    >>> [(family.structure, len(family.settings)) for family in families(FitConfig(), grid)]
    [({'bottleneck.objective': 'gumbel'}, 1), ({'bottleneck.objective': 'l1'}, 2)]
    """
    for path, values in grid.items():
        field_type(path)
        if not values:
            raise UserError(f"{path}: give the grid at least one value")
    seeds = tuple(grid.get(SEED, (config.training.seed,)))
    fixed = {path: values for path, values in grid.items() if path not in (*TRACED, SEED)}
    found: dict[str, Family] = {}
    for structure in combinations(fixed):
        whole = with_fields(config, structure)
        structure = {path: value for path, value in structure.items() if _used(path, whole)}
        traced = {
            path: values for path, values in grid.items() if path in TRACED and _used(path, whole)
        }
        family = Family(
            structure, with_fields(config, structure), tuple(combinations(traced)), seeds
        )
        found.setdefault(repr(structure), family)
    return list(found.values())


def _used(path: str, config: FitConfig) -> bool:
    section, _, field = path.partition(".")
    if section == "bottleneck":
        return config.bottleneck.uses(field)
    return USED_IF.get(path, lambda _: True)(config)


def runs_of(config: FitConfig, grid: Grid) -> dict[str, Setting]:
    """Key -> setting of every run of a grid.

    >>> runs = runs_of(FitConfig(), {"training.seed": (0, 1)})
    >>> list(runs.values())
    [{'training.seed': 0}, {'training.seed': 1}]
    """
    return {
        key: setting
        for family in families(config, grid)
        for key, setting in keys_of(family).items()
    }


def keys_of(family: Family) -> dict[str, Setting]:
    """Key -> setting of every run of a family."""
    places = range(len(family.seeds)), range(len(family.settings))
    return dict(members(family, *map(list, places)).values())


def members(
    family: Family, seeds_S: list[int], settings_H: list[int]
) -> dict[tuple[int, int], tuple[str, Setting]]:
    """Place in the tile -> key and setting of each run, without those that only fill the tile."""
    places: dict[tuple[int, int], tuple[int, int]] = {}
    for (i, s), (j, h) in product(enumerate(seeds_S), enumerate(settings_H)):
        places.setdefault((s, h), (i, j))
    named = {}
    for (s, h), place in places.items():
        setting = {**family.structure, **family.settings[h], SEED: family.seeds[s]}
        named[place] = identify(with_fields(family.config, setting)), setting
    return named


def identify(config: FitConfig) -> str:
    """A hash of what decides a run's result."""
    parts = {
        "bottleneck": dataclasses.asdict(config.bottleneck),
        "training": dataclasses.asdict(config.training),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def with_fields(config: Any, values: Mapping[str, Any]) -> Any:
    """A configuration with some fields replaced; values are taken as they are, traced or not.

    >>> with_fields(FitConfig(), {"training.head.learning_rate": 0.5}).training.head.learning_rate
    0.5
    """
    sections: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        section, _, field = path.partition(".")
        sections.setdefault(section, {})[field] = value
    # All fields of a section at once: some are right only together.
    changed = {
        name: fields[""] if "" in fields else with_fields(getattr(config, name), fields)
        for name, fields in sections.items()
    }
    return dataclasses.replace(config, **changed)


def get_field(config: Any, path: str) -> Any:
    """The value of a field.

    >>> get_field(FitConfig(), "mesh.model")
    1
    """
    for name in path.split("."):
        config = getattr(config, name)
    return config


def combinations(axes: Grid) -> list[Setting]:
    """Every choice of one value an axis; one empty setting where there are no axes."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _parse(path: str, kind: Any, text: str) -> Any:
    if choices := get_args(kind):
        if text not in choices:
            raise UserError(f"{path}: {text!r} is not one of {', '.join(choices)}")
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"{path}: {text!r} is not one of true, false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{path}: {text!r} is no {kind.__name__}") from None
