"""Which setting of a grid is best: validation accuracy, averaged over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxcbm.training.sweep.grid import SEED, Setting
from jaxcbm.training.sweep.sweep import Outcome


class Ranked(NamedTuple):
    """A setting and what its seeds reached on validation.

    Attributes:
        setting: the grid's fields with their values, the seed left out.
        runs: one outcome a seed.
        top1: mean accuracy over seeds, 0 to 1; NaN if a seed never had a finite loss.
        top1_deviation: its sample deviation; NaN with one seed.
        loss: mean of the lowest losses.
        loss_deviation: its sample deviation; NaN with one seed.
    """

    setting: Setting
    runs: tuple[Outcome, ...]
    top1: float
    top1_deviation: float
    loss: float
    loss_deviation: float


def rank(outcomes: Sequence[Outcome]) -> list[Ranked]:
    """Settings from best to worst: by mean accuracy, then by mean loss; diverged ones last.

    >>> runs = [Outcome(str(s), {"a.b": a, SEED: s}, 1.0, a + s / 10, 1, 1.0)
    ...         for a in (0.2, 0.4) for s in (0, 1)]
    >>> [(ranked.setting, round(ranked.top1, 2)) for ranked in rank(runs)]
    [({'a.b': 0.4}, 0.45), ({'a.b': 0.2}, 0.25)]
    """
    groups: dict[str, list[Outcome]] = {}
    for run in outcomes:
        groups.setdefault(repr(_without_seed(run.setting)), []).append(run)
    ranked = [
        Ranked(
            _without_seed(runs[0].setting),
            tuple(runs),
            *_mean_and_deviation([run.valid_top1 for run in runs]),
            *_mean_and_deviation([run.valid_loss for run in runs]),
        )
        for runs in groups.values()
    ]
    return sorted(ranked, key=lambda own: (np.isnan(own.top1), -own.top1, own.loss))


def _without_seed(setting: Setting) -> Setting:
    return {path: value for path, value in setting.items() if path != SEED}


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    if not np.isfinite(values).all():
        return float("nan"), float("nan")
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
