"""The elastic net at one penalty, from nothing to a relative gap of 1e-3, against scikit-learn."""

import functools
import time
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.interleave import Contender, Row, Work, versus

GAP, L1_RATIO = 1e-3, 0.99
OURS, SAGA = "jaxcbm", "scikit-learn, SAGA"


@dataclass(frozen=True)
class Problem:
    """Images N, concepts D, classes K, the penalty lambda, and epochs that SAGA is given."""

    images: int
    concepts: int
    classes: int
    penalty: float
    epochs: int


FULL_SIZE = {"sparse_path": (Problem(5_000, 370, 20, 1e-3, 160), 20.0)}
TINY = {"sparse_path": (Problem(200, 12, 3, 1e-2, 5), None)}


class Arrays(NamedTuple):
    """Standardised activations and labels."""

    activations_NxD: np.ndarray
    labels_N: np.ndarray


def rows(quick: bool) -> list[Row]:
    """The row `sparse_path`."""
    return [
        _row(name, problem, target)
        for name, (problem, target) in (TINY if quick else FULL_SIZE).items()
    ]


def _row(name: str, problem: Problem, target: float | None) -> Row:
    return Row(
        name=name,
        title=(
            f"Sparse head: N = {problem.images:,}, D = {problem.concepts}, K = {problem.classes}, "
            f"lambda = {problem.penalty}, to a relative gap of {GAP}"
        ),
        unit="heads",
        contenders=[
            Contender(SAGA, functools.partial(saga, problem), 1),
            Contender(OURS, functools.partial(ours, problem), 1),
        ],
        ratios=[versus(OURS, SAGA, target)],
        check=functools.partial(check_gaps, problem),
        notes=[
            "From a head of zeros to the end. The ratio is a lower bound where SAGA stops before "
            "it reaches the gap; jaxcbm stops when its duality gap is below it, which is later "
            "than needed.",
        ],
    )


def make_arrays(problem: Problem) -> Arrays:
    """Correlated scores: a few directions that classes differ in, seen through many concepts."""
    rng = np.random.default_rng(0)
    latent = 64
    labels_N = rng.integers(0, problem.classes, problem.images)
    centres = rng.standard_normal((problem.classes, latent))
    seen = centres[labels_N] + 1.5 * rng.standard_normal((problem.images, latent))
    scores = seen @ rng.standard_normal((latent, problem.concepts))
    scores += 4.0 * rng.standard_normal(scores.shape)
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    return Arrays(scores.astype(np.float32), labels_N.astype(np.int32))


def solve(problem: Problem, arrays: Arrays, tolerance: float = GAP):
    """Our path with a single penalty."""
    import jax

    from jaxcbm.bottleneck.sparse.path import elastic_net_path

    path = elastic_net_path(
        *(arrays.activations_NxD, arrays.labels_N, problem.classes),
        lambdas=np.array([problem.penalty], np.float32),
        l1_ratio=L1_RATIO,
        tolerance=tolerance,
    )
    return jax.block_until_ready(path)


def ours(problem: Problem) -> Work:
    """The whole solve, compiled before."""
    import jax

    arrays = Arrays(*map(jax.device_put, make_arrays(problem)))

    def work() -> None:
        solve(problem, arrays)

    return work


def saga(problem: Problem) -> Work:
    """The given number of epochs."""
    arrays = make_arrays(problem)

    def work() -> None:
        run_saga(problem, arrays)

    return work


def run_saga(problem: Problem, arrays: Arrays):
    """scikit-learn's solver on the same problem, its epochs limited."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=1 / (problem.penalty * problem.images),
        l1_ratio=L1_RATIO,
        solver="saga",
        tol=1e-12,
        max_iter=problem.epochs,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(arrays.activations_NxD.astype(np.float64), arrays.labels_N)


def objective(problem: Problem, arrays: Arrays, weights: np.ndarray, bias: np.ndarray) -> float:
    """The minimised function in float64."""
    logits = arrays.activations_NxD.astype(np.float64) @ weights.T.astype(np.float64) + bias
    top = logits.max(axis=1)
    log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    loss = np.mean(log_sum - logits[np.arange(len(logits)), arrays.labels_N])
    size = L1_RATIO * np.abs(weights).sum() + 0.5 * (1 - L1_RATIO) * (weights**2).sum()
    return float(loss + problem.penalty * size)


def check_gaps(problem: Problem) -> str:
    """How far either ends from the optimum, which a much longer run gives.

    Raises:
        AssertionError: ours is not within the gap it certifies.
    """
    arrays = make_arrays(problem)
    best = solve(problem, arrays, tolerance=2e-5)
    optimum = objective(problem, arrays, np.asarray(best.weights[0]), np.asarray(best.biases[0]))
    path = solve(problem, arrays)
    value = objective(problem, arrays, np.asarray(path.weights[0]), np.asarray(path.biases[0]))
    gap = (value - optimum) / optimum
    assert gap <= float(path.certificate[0]) + 1e-6 <= GAP + 1e-6, "the certificate does not hold"
    start = time.perf_counter()
    model = run_saga(problem, arrays)
    seconds = time.perf_counter() - start
    theirs = objective(problem, arrays, model.coef_, model.intercept_)
    return (
        f"Checked before timing: jaxcbm ends {gap:.1e} above the optimum after "
        f"{int(path.iterations[0])} iterations (certified {float(path.certificate[0]):.1e}), SAGA "
        f"{(theirs - optimum) / optimum:.1e} after {problem.epochs} epochs ({seconds:.0f} s)."
    )
