"""Training from cached features: jaxcbm's compiled epoch against two torch loops."""

import functools

import numpy as np

from benchmarks.cbm_problem import Problem, make_arrays
from benchmarks.interleave import Contender, Row, Work, versus

PLAIN, TUNED = "torch, plain loop", "torch, tuned and compiled"
OURS, FACTORED = "jaxcbm", "jaxcbm, factored layer"
TOLERANCE = 1e-4

# Concepts -> what the problem is like, and the least ratio to the plain loop.
FULL_SIZE = {
    128: (Problem(50_000, 512, 128, 10, 512, steps=97), 3.0),
    370: (Problem(50_000, 512, 370, 200, 512, steps=97), 2.5),
    4500: (Problem(50_000, 512, 4500, 1000, 512, steps=5), 2.0),
}
TINY = {12: (Problem(256, 8, 12, 3, 32, steps=4), None)}


def rows(quick: bool) -> list[Row]:
    """One row a number of concepts."""
    return [_row(problem, target) for problem, target in (TINY if quick else FULL_SIZE).values()]


def _row(problem: Problem, target: float | None) -> Row:
    builders = {PLAIN: plain, TUNED: _tuned, OURS: ours, FACTORED: _factored}
    epoch = problem.images // problem.batch
    whole = problem.steps == epoch
    return Row(
        name=f"training_{problem.concepts}",
        title=(
            f"Training from cached features: N = {problem.images:,}, E = {problem.embed_dim}, "
            f"D = {problem.concepts:,}, K = {problem.classes:,}, batch {problem.batch}"
        ),
        unit="steps",
        contenders=[
            Contender(name, functools.partial(build, problem), problem.steps)
            for name, build in builders.items()
        ],
        ratios=[
            versus(OURS, PLAIN, target),
            versus(OURS, TUNED, None if target is None else 1.0),
            versus(TUNED, PLAIN),
            versus(FACTORED, PLAIN),
            versus(FACTORED, TUNED),
        ],
        check=functools.partial(check_agreement, problem),
        notes=[
            "A round is a whole epoch."
            if whole
            else f"A round is {problem.steps} steps; an epoch has {epoch}.",
            "All but the factored layer: full W [D, D] and a dense head, an Adam each, the "
            "released Gumbel objective, gradients of the cross-entropy in both layers, shuffled "
            "batches; loss, objective and top-1 of every step.",
            "The factored layer learns M [E, D] in place of W: another model, not a faster way to "
            "the same one.",
        ],
    )


def plain(problem: Problem) -> Work:
    """The plain torch loop on cached scores."""
    from benchmarks import cbm_torch

    return cbm_torch.plain_loop(problem, make_arrays(problem))


def _tuned(problem: Problem) -> Work:
    from benchmarks import cbm_torch

    return cbm_torch.tuned_loop(problem, make_arrays(problem))


def ours(problem: Problem) -> Work:
    """The compiled epoch of jaxcbm."""
    from benchmarks import cbm_jax

    return cbm_jax.epoch_loop(problem, make_arrays(problem))


def _factored(problem: Problem) -> Work:
    from benchmarks import cbm_jax

    return cbm_jax.epoch_loop(problem, make_arrays(problem), cbm_jax.FACTORED)


def check_agreement(problem: Problem, steps: int = 3) -> str:
    """Steps from equal weights, batches and noise: the losses must be the same.

    Raises:
        AssertionError: they are not.
    """
    from dataclasses import replace

    from benchmarks import cbm_jax, cbm_torch

    problem = replace(problem, images=steps * problem.batch)
    arrays = make_arrays(problem)
    ours, noises = cbm_jax.replay(problem, arrays, steps)
    worst = 0.0
    for name, make_step in (
        (PLAIN, cbm_torch.plain_step),
        (TUNED, functools.partial(cbm_torch.tuned_step, compiled=False)),
    ):
        theirs = cbm_torch.replay(problem, arrays, make_step(arrays), noises)
        error = float(np.max(np.abs(ours - theirs) / np.abs(theirs)))
        assert error < TOLERANCE, f"{name} computes other losses: {theirs} against {ours}"
        worst = max(worst, error)
    return (
        f"Checked before timing: over {steps} steps from equal weights, batches and noise, "
        f"cross-entropy and objective agree to {worst:.0e} (relative)."
    )
