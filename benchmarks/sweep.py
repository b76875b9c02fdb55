"""A grid of fits from cached features: one program an objective against one run after another."""

import functools

import numpy as np

from benchmarks.interleave import Contender, Row, Work, versus
from benchmarks.sweep_problem import OBJECTIVES, Run, SweepProblem, make_arrays

PLAIN, OURS = "torch, plain loop", "jaxcbm sweep"
TOLERANCE = 1e-4
TARGET = 3.0
FULL_SIZE = SweepProblem(10_000, 1_000, 128, 20, 512, epochs=2)
TINY = SweepProblem(128, 32, 12, 3, 32, epochs=1, rates=2, seeds=2)


def rows(quick: bool) -> list[Row]:
    """The row `sweep`."""
    problem = TINY if quick else FULL_SIZE
    runs = len(problem.runs())
    return [
        Row(
            name="sweep",
            title=(
                f"A sweep of {len(OBJECTIVES)} objectives x {problem.rates} learning rates x "
                f"{problem.seeds} seeds: N = {problem.images:,}, D = {problem.concepts}, "
                f"K = {problem.classes}, batch {problem.batch}, {problem.epochs} epochs"
            ),
            unit="runs",
            contenders=[
                Contender(PLAIN, functools.partial(_plain, problem), runs),
                Contender(OURS, functools.partial(_ours, problem), runs),
            ],
            ratios=[versus(OURS, PLAIN, None if quick else TARGET)],
            check=functools.partial(check_agreement, problem),
            notes=[
                f"A round is the whole sweep of {runs} runs, a validation after every epoch "
                "included.",
                "Both: full W [D, D] and a dense head with a bias, an Adam each, the released "
                "objectives, gradients of the cross-entropy in both layers, shuffled batches; "
                "loss, objective and top-1 of every step. jaxcbm also keeps the parameters of "
                "each run's best epoch.",
                "The contenders' two unmeasured rounds hold jaxcbm's compilation: one program an "
                "objective, a few seconds each.",
            ],
        )
    ]


def _plain(problem: SweepProblem) -> Work:
    from benchmarks import sweep_torch

    return sweep_torch.one_after_another(problem, make_arrays(problem))


def _ours(problem: SweepProblem) -> Work:
    from benchmarks import sweep_jax

    return sweep_jax.at_once(problem, make_arrays(problem))


def check_agreement(problem: SweepProblem, steps: int = 3) -> str:
    """Steps from equal weights, batches and noise: every objective's losses must be the same.

    Raises:
        AssertionError: they are not.
    """
    from benchmarks import sweep_jax, sweep_torch

    arrays, worst = make_arrays(problem), 0.0
    for objective in OBJECTIVES:
        run = Run(objective, cbl_rate=1e-3, seed=0)
        ours, noises = sweep_jax.replay(problem, arrays, run, steps)
        theirs = sweep_torch.replay(arrays, run, problem.batch, noises)
        error = float(np.max(np.abs(ours - theirs) / np.abs(theirs)))
        assert error < TOLERANCE, f"{objective}: other losses: {theirs} against {ours}"
        worst = max(worst, error)
    return (
        f"Checked before timing: over {steps} steps from equal weights, batches and noise, "
        f"cross-entropy and each objective agree to {worst:.0e} (relative)."
    )
