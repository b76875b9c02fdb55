"""Linear probe: multinomial logistic regression on image embeddings, the yardstick of a bottleneck.

Solved by L-BFGS to convergence; the l2 penalty is chosen on validation (Radford et al. 2021,
arXiv 2103.00020, appendix A.3).

What departs from the published protocol, and why:

* Embeddings are those of the shared space, as every other row reads; the published probe takes the
  features before the projection.
* Columns are standardised for the solver, so that one range of penalties suits any encoder.
* It is not the "linear probing" of the Sparse-CBM code, which is a layer on class-name logits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcbm.bottleneck.minimise import minimise_by_lbfgs

PENALTIES = tuple(10.0**exponent for exponent in np.arange(-7.0, -0.9, 0.5))


class LinearProbe(NamedTuple):
    """logits = e @ kernel + bias.

    Attributes:
        kernel: float32 [E, K].
        bias: float32 [K].
        penalty: the chosen l2 penalty.
        valid_top1: its validation accuracy, 0 to 1.
    """

    kernel: np.ndarray
    bias: np.ndarray
    penalty: float
    valid_top1: float

    def logits(self, embeddings_NxE: np.ndarray) -> np.ndarray:
        """Class logits, float32 [N, K]."""
        return embeddings_NxE.astype(np.float32) @ self.kernel + self.bias


def logistic_loss(params: dict, data: tuple) -> jax.Array:
    """Mean cross-entropy and the l2 penalty on the kernel, for `minimise_by_lbfgs`.

    Args:
        params: `kernel` [E, K] and `bias` [K].
        data: inputs [N, E]; int labels [N]; the penalty; logits [N, K] that the solution adds to,
            such as another model's, or None.
    """
    inputs_NxE, labels_N, penalty, offsets_NxK = data
    logits_NxK = jnp.matmul(inputs_NxE, params["kernel"]) + params["bias"][None, :]
    if offsets_NxK is not None:
        logits_NxK = logits_NxK + offsets_NxK
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits_NxK, labels_N)
    return losses.mean() + 0.5 * penalty * jnp.sum(params["kernel"] ** 2)


def linear_probe(
    train_NxE: np.ndarray,
    train_labels: np.ndarray,
    valid_NxE: np.ndarray,
    valid_labels: np.ndarray,
    classes: int,
    penalties: Sequence[float] = PENALTIES,
) -> LinearProbe:
    """Fit along a path of penalties, warm started, and keep the best on validation.

    Args:
        train_NxE: embeddings; they are standardised for the solver, and the scale folded back.
        train_labels: int [N].
        valid_NxE: embeddings.
        valid_labels: int [M].
        classes: K.
        penalties: l2 penalties to try.
    """
    train = np.asarray(train_NxE, np.float32)
    mean_E, std_E = train.mean(axis=0), train.std(axis=0) + 1e-6
    inputs = jnp.asarray((train - mean_E) / std_E)
    labels = jnp.asarray(train_labels, jnp.int32)
    params = {"kernel": jnp.zeros((train.shape[1], classes)), "bias": jnp.zeros(classes)}
    best = None
    for penalty in sorted(penalties, reverse=True):
        data = inputs, labels, jnp.float32(penalty), None
        params = minimise_by_lbfgs(logistic_loss, params, data)
        kernel = np.asarray(params["kernel"]) / std_E[:, None]
        bias = np.asarray(params["bias"]) - mean_E @ kernel
        logits = np.asarray(valid_NxE, np.float32) @ kernel + bias
        top1 = float(np.mean(np.argmax(logits, axis=1) == valid_labels))
        if best is None or top1 > best.valid_top1:
            best = LinearProbe(kernel, bias, float(penalty), top1)
    assert best is not None
    return best
