"""Heads of given sizes: l1 says which weights, a ridge says how large they are.

A penalty that leaves few weights shrinks them too. So the two are parted, as in the relaxed lasso:
of a head of the path the largest weights are kept, as many as the size allows, and those are solved
for again without l1,

    minimise  sum_i w_i CE(W a_i + b, y_i) + strength / 2 |W|_2^2  over W that are 0 elsewhere,

from where the head had them. The certificate is that of this problem: weights that are held at 0
put no constraint on a dual point (`jaxcbm.bottleneck.sparse.duality_gap`). It says nothing of
whether another choice of weights would be better; validation says that.

Reference: Meinshausen 2007, "Relaxed Lasso" (Computational Statistics & Data Analysis 52).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.bottleneck.sparse.continued_path import continue_path
from jaxcbm.bottleneck.sparse.nec_curve import measure_heads, truncate_to_nec
from jaxcbm.bottleneck.sparse.packed import PackedPath, join, pack
from jaxcbm.bottleneck.sparse.path import SparsePath

# Numbers of effective concepts that methods are compared at.
NEC_TARGETS = (5, 10, 15, 20, 25, 30)
# A size takes its weights from the first heads of the path that are so many times as large.
_TIMES = (1.0, 1.5)
# Of the ridge, on activations of unit deviation; the best of them hardly depends on the size, and
# is chosen at one in the middle.
_STRENGTHS = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
_MIDDLE = 15
# Larger heads than this play no part.
LARGEST_NEC = NEC_TARGETS[-1] * _TIMES[-1]


class Images(NamedTuple):
    """What heads are solved on, or measured on.

    Attributes:
        rows: activations of unit deviation, float32 [N, D].
        labels: int32 [N].
        weights: of the images, float32 [N]; None: all equal.
    """

    rows: jax.Array
    labels: jax.Array
    weights: jax.Array | None = None


class SizedHeads(NamedTuple):
    """A head for each size.

    Attributes:
        sizes: most effective concepts of each, int32 [T].
        heads: T of them; their `lambdas` are the ridge's.
    """

    sizes: np.ndarray
    heads: PackedPath


def solve_sizes(
    path: PackedPath,
    train: Images,
    valid: Images,
    *,
    tolerance: float,
    max_iterations: int,
    held_KxD: np.ndarray | None = None,
) -> SizedHeads:
    """Solve a head for each of `NEC_TARGETS`; validation's cross-entropy chooses ridge and weights.

    Args:
        path: solved on `train`; where none of its heads reaches a size, the last one serves, whole.
        train: what the heads are solved on.
        valid: other images.
        tolerance: relative duality gap at which a head counts as solved.
        max_iterations: for each.
        held_KxD: weights that stay as they are on the path, bool; None: none.

    >>> from jaxcbm.bottleneck.sparse.path import elastic_net_path
    >>> rows = jnp.array([[1.0, 0.3], [0.8, -0.3], [-1.0, 0.2], [-0.9, -0.2]])
    >>> images = Images(rows, jnp.array([0, 0, 1, 1]))
    >>> path = pack(elastic_net_path(*images[:2], 2, path_length=3))
    >>> found = solve_sizes(path, images, images, tolerance=1e-3, max_iterations=99)
    >>> found.sizes.tolist(), bool((found.heads.certificate <= 1e-3).all())
    ([5, 10, 15, 20, 25, 30], True)
    """
    width = train.rows.shape[1]

    def cuts(size: int) -> list[tuple[jax.Array, jax.Array]]:
        reached = [np.append(np.flatnonzero(path.nec >= size * by), -1)[0] for by in _TIMES]
        positions = dict.fromkeys(int(place) % len(path.nec) for place in reached)
        return [(truncate_to_nec(path.head(p, width), size), path.biases[p]) for p in positions]

    def solve(head_KxD: jax.Array, bias_K: jax.Array, strength: float) -> SparsePath:
        fixed_KxD = head_KxD == 0
        return continue_path(
            *(train.rows, train.labels, jnp.full(1, strength)),
            *(head_KxD[None], jnp.asarray(bias_K)[None]),
            l1_ratio=0.0,
            tolerance=tolerance,
            max_iterations=max_iterations,
            sample_weights=train.weights,
            held_KxD=fixed_KxD if held_KxD is None else fixed_KxD | held_KxD,
        )

    def loss(head: SparsePath) -> float:
        return float(measure_heads(head.weights, head.biases, valid.rows, valid.labels)[1][0])

    # Cross-entropy has one valley over strengths: what comes after a rise is not solved.
    first, strength, least = cuts(_MIDDLE)[0], _STRENGTHS[0], np.inf
    for weaker in _STRENGTHS:
        head = solve(*first, weaker)
        if loss(head) >= least:
            break
        first, strength, least = (head.weights[0], head.biases[0]), weaker, loss(head)
    found = [
        pack(min((solve(*cut, strength) for cut in cuts(size)), key=loss)) for size in NEC_TARGETS
    ]
    return SizedHeads(np.array(NEC_TARGETS, np.int32), join(found))
