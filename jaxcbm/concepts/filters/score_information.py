"""How much each phrase's scores say about the label, over the images of a train split."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.errors import UserError

_BLOCK = 256


def mutual_information(
    texts_DxE: np.ndarray, images_NxE: np.ndarray, labels_N: np.ndarray, *, bins: int = 8
) -> np.ndarray:
    """Between the score of each phrase, cut into bins of equally many images, and the label.

    What chance alone would give, (bins - 1) (K - 1) / 2N to first order, is taken off, so that
    many classes and few images do not make every phrase look informative.

    Args:
        texts_DxE: unit-norm embeddings.
        images_NxE: unit-norm embeddings.
        labels_N: int [N]; images below 0 are left out.
        bins: from 2. The information is at most log(bins) nats, so that few bins say little of
            many classes: but phrases are compared with each other and not with K.

    Returns:
        float64 [D] in nats, not below 0.

    Raises:
        UserError: fewer than two classes with images, or bins below 2.

    Reference: Miller 1955, "Note on the bias of information estimates".

    >>> rows, labels = np.repeat([[1.0, 0.0], [0.0, 1.0]], 500, axis=0), np.repeat([0, 1], 500)
    >>> np.round(mutual_information(np.array([[1.0, 0.0], [1, 1]]), rows, labels), 2).tolist()
    [0.69, 0.0]
    """
    labels_N = np.asarray(labels_N)
    known_N = labels_N >= 0
    present, ids_N = np.unique(labels_N[known_N], return_inverse=True)
    if len(present) < 2 or bins < 2:
        raise UserError(
            f"filter informative: {len(present)} classes with train images and {bins} bins; it "
            "needs two of both"
        )
    images = jnp.asarray(np.asarray(images_NxE, np.float32)[known_N])
    onehot_KxN = jnp.asarray((np.arange(len(present))[:, None] == ids_N).astype(np.float32))
    count = len(texts_DxE)
    size = min(_BLOCK, 1 << max(count - 1, 0).bit_length())
    texts = np.zeros((-(-count // size) * size, np.shape(texts_DxE)[1]), np.float32)
    texts[:count] = texts_DxE
    counts = [
        np.asarray(_counts(jnp.asarray(texts[i : i + size]), images, onehot_KxN, bins=bins))
        for i in range(0, count, size)
    ]
    return _corrected(np.concatenate(counts, axis=2)[..., :count].astype(np.float64))


@partial(jax.jit, static_argnames="bins")
def _counts(
    texts_BxE: jax.Array, images_NxE: jax.Array, onehot_KxN: jax.Array, *, bins: int
) -> jax.Array:
    """Images of each class in each bin, float32 [bins, K, B]; a tie never lies in two bins."""
    scores_NxB = jnp.matmul(images_NxE, texts_BxE.T, precision=jax.lax.Precision.HIGHEST)
    # Rounding must not tell apart what a phrase scores alike.
    scores_NxB = jnp.round(scores_NxB, 5)
    count = scores_NxB.shape[0]
    ordered_NxB = jnp.sort(scores_NxB, axis=0)
    above = [jnp.ones_like(scores_NxB)]
    above += [
        (scores_NxB >= ordered_NxB[count * q // bins][None, :]).astype(jnp.float32)
        for q in range(1, bins)
    ]
    above_QxKxB = jnp.stack([jnp.matmul(onehot_KxN, part) for part in above])
    return above_QxKxB - jnp.concatenate([above_QxKxB[1:], jnp.zeros_like(above_QxKxB[:1])])


def _corrected(counts_QxKxD: np.ndarray) -> np.ndarray:
    total = counts_QxKxD.sum(axis=(0, 1))[0]
    joint = counts_QxKxD / total
    bins_QxD, classes_KxD = joint.sum(axis=1), joint.sum(axis=0)
    ratio = np.divide(
        joint,
        bins_QxD[:, None, :] * classes_KxD[None, :, :],
        out=np.ones_like(joint),
        where=joint > 0,
    )
    plug_in_D = np.sum(joint * np.log(ratio), axis=(0, 1))
    chance_D = (np.sum(bins_QxD > 0, axis=0) - 1) * (joint.shape[1] - 1) / (2 * total)
    return np.maximum(plug_in_D - chance_D, 0.0)
