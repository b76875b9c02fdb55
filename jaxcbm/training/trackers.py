"""Metrics to TensorBoard or Weights & Biases while a run goes on, beside metrics.jsonl.

Asked for by `--track`, or by `JAXCBM_TRACK` for a script; it is no setting of an experiment, and
changes nothing that is computed.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from jaxcbm.errors import UserError
from jaxcbm.extras import import_extra

VARIABLE = "JAXCBM_TRACK"
# Called with step, split and values by name.
Track = Callable[[int, str, Mapping[str, float]], None]


def asked_for() -> tuple[str, ...]:
    """The trackers that were asked for, of `tensorboard` and `wandb`, each of them installed.

    Raises:
        UserError: an unknown one, or a package is missing.

    >>> os.environ["JAXCBM_TRACK"] = "paper"
    >>> asked_for()
    Traceback (most recent call last):
    ...
    jaxcbm.errors.UserError: --track=paper: give tensorboard, wandb, or both with a comma between
    >>> del os.environ["JAXCBM_TRACK"]
    """
    names = tuple(filter(None, os.environ.get(VARIABLE, "").split(",")))
    for name in names:
        if name not in _TRACKERS:
            raise UserError(
                f"--track={name}: give tensorboard, wandb, or both with a comma between"
            )
        module, extra, _ = _TRACKERS[name]
        import_extra(module, f"jaxcbm[{extra}]", f"--track={name}")
    return names


@contextmanager
def tracking(workdir: Path | None, begin: int = 0) -> Iterator[Track]:
    """Open the trackers that were asked for.

    Args:
        workdir: of a run, after which it is called; None tracks nothing.
        begin: the step that a resumed run goes on from; what was tracked of later ones is void.

    Yields:
        A function of step, split and values.
    """
    with ExitStack() as stack:
        open_ones: list[Track] = []
        if workdir is not None:
            for name in asked_for():
                open_ones.append(stack.enter_context(_TRACKERS[name][2](workdir, begin)))

        def track(step: int, split: str, values: Mapping[str, float]) -> None:
            for each in open_ones:
                each(step, split, values)

        yield track


@contextmanager
def _tensorboard(workdir: Path, begin: int) -> Iterator[Track]:
    """Event files in WORKDIR/tensorboard, by tensorboardX, which needs no TensorFlow."""
    from tensorboardX import SummaryWriter

    folder = workdir / "tensorboard"
    purge = begin + 1 if begin else None
    # Its file names are times to the second: a second writer would overwrite the first.
    own = f".{secrets.token_hex(4)}"
    try:
        writer = SummaryWriter(str(folder), purge_step=purge, filename_suffix=own)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from error
    with writer:

        def track(step: int, split: str, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(f"{split}/{name}", value, step)

        yield track


@contextmanager
def _wandb(workdir: Path, begin: int) -> Iterator[Track]:
    """A run of Weights & Biases, the same one when it is resumed; its settings are WANDB_...."""
    import wandb  # pyright: ignore[reportMissingImports]

    place = str(workdir.resolve())
    run: Any = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "jaxcbm"),
        name=workdir.name,
        id=hashlib.sha256(place.encode()).hexdigest()[:16],
        dir=place,
        resume="allow",
    )
    try:
        yield lambda step, split, values: run.log(
            {f"{split}/{name}": value for name, value in values.items()}, step=step
        )
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


# Module, extra, and what opens it.
_TRACKERS = {
    "tensorboard": ("tensorboardX", "tensorboard", _tensorboard),
    "wandb": ("wandb", "wandb", _wandb),
}
