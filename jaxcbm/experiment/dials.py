"""`jaxcbm dials`: the table of methods on the birds, one dial turned at a time."""

from collections.abc import Sequence
from pathlib import Path

from jaxcbm.data.birds.dials import DIALS
from jaxcbm.errors import UserError
from jaxcbm.experiment import reproduce
from jaxcbm.experiment.config import Changes, Experiment, Named, read_experiment

# Where each dial is measured beside zero, which all share.
LEVELS = {
    "annotation_noise": (0.1, 0.2, 0.4),
    "missing_concepts": (0.25, 0.5, 0.75),
    "shortcut": (0.3, 0.6, 0.9),
    "nuisances": (0.33, 0.67, 1.0),
    "atypical": (0.33, 0.67, 1.0),
}


def run(
    config: Experiment | Named,
    workdir: Path | str,
    *,
    changes: Changes | None = None,
    dials: Sequence[str] = (),
    seeds: int = 1,
    methods: Sequence[str] = (),
    command: str = "",
) -> list[Path]:
    """Run every method at every level of every dial; what is done already is not run again.

    Pictures are painted and encoded anew where a dial changes them; the rest is shared.

    Args:
        config: of the birds: the name or path of a config file, nested dicts, or an `Experiment`.
        workdir: keeps features, one file for each finished part, and the results; several processes
            may fill it, each with dials of its own.
        changes: path of a field -> its new value.
        dials: names among `DIALS`; empty: all of them.
        seeds: 0 to `seeds - 1`.
        methods: names of rows; empty: all of them.
        command: what to say the files were written by.

    Returns:
        The result files, `results/dials/*.json`: level by level, then that of all dials at zero.

    Raises:
        UserError: an unknown dial or method, no seed, or another dataset.
    """
    if unknown := [name for name in dials if name not in DIALS]:
        raise UserError(f"no dial {unknown[0]!r}: choose among {', '.join(DIALS)}")
    experiment = read_experiment(config, changes)
    if experiment.data.name != "birds":
        raise UserError(f"config.data.name={experiment.data.name} has no dials: name the birds")
    if turned := experiment.data.dials.turned:
        raise UserError(f"config.data.dials.{next(iter(turned))} is set: `jaxcbm dials` sets it")
    # Zero comes last: of several processes, the first that is through with its own dials does it.
    levels = {
        f"{dial}-{level:g}": {f"data.dials.{dial}": level}
        for dial in dials or DIALS
        for level in LEVELS[dial]
    } | {"zero": {}}
    return [
        reproduce.run(
            experiment,
            workdir,
            changes=level,
            seeds=seeds,
            methods=methods,
            command=command,
            rows_only=True,
            name=f"results/dials/{name}.json",
        )
        for name, level in levels.items()
    ]
