"""What the Concept Bottleneck Layer is trained for: four objectives in three variants.

All are scalars to minimise, pure, and computed in float32 whatever the input type. The variants:

* `released`: exactly what the released code computes, surprises included (see each function).
* `paper`: pairs on the diagonal: image i of the batch belongs to concept i.
* `paired`: pairs are concepts that belong to the image (`jaxcbm.bottleneck.positives`).

Reference: Semenov et al. 2024 (arXiv 2404.03323).
"""

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.gumbel_noise import gumbel_pair
from jaxcbm.bottleneck.positives import from_scores

VARIANTS = ("released", "paper", "paired")

# Stands for "not in this batch": exp(_ABSENT - max) is 0, and 0 * _ABSENT is 0, not NaN.
_ABSENT = -1e30
# Without positives, an image's own top logits take their place: so many of them.
_OWN_POSITIVES = 8


def contrastive(
    z: jax.Array,
    *,
    variant: str = "paired",
    positives: jax.Array | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """Contrastive objective on concept logits: mean of both directions.

    `released` and `paper`: the mean of -log softmax on the diagonal of the rectangular [B, D]
    logits, over rows and over columns; image i is paired with concept i by position, and images
    or concepts beyond the shorter side have no pair. `paired`: for each image, the mean of -log
    softmax over its positives, and for each concept over the images it belongs to; images and
    concepts without a positive contribute nothing.

    Args:
        z: concept logits [B, D].
        variant: `released`, `paper` or `paired`.
        positives: `paired` only: [B, D] in {0, 1} (non-negative weights work too). None takes the
            8 largest logits of each image.
        where: [B], non-zero for the images that count; the others are padding. None: all.

    Returns:
        float32 scalar.

    Raises:
        ValueError: an unknown variant.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), the contrastive CBL loss; several
    positives: Khosla et al. 2020 (arXiv 2004.11362), equation 2.

    >>> z = jnp.array([[5.0, 0.0], [0.0, 5.0]])
    >>> released = contrastive(z, variant="released")
    >>> bool(jnp.allclose(released, contrastive(z, positives=jnp.eye(2))))
    True
    """
    _check(variant)
    z = _present(z, where)
    if variant == "paired":
        return _matched(z, z, _positives(z, positives, where), where)
    return _diagonal(z, z, where)


def gumbel(
    z: jax.Array,
    key: jax.Array | None = None,
    *,
    tau: jax.Array | float = 1.0,
    variant: str = "paired",
    noise: tuple[jax.Array, jax.Array] | None = None,
    positives: jax.Array | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """Contrastive objective on Gumbel-perturbed logits (z + g) / tau, in the log domain.

    `released`: the mean of -log softmax over *all* entries, not over pairs: a pull of the
    activations towards uniform. (Its `hard` switch takes the log of zeros and is left out.)
    `paper`: pairs on the diagonal. `paired`: as in `contrastive`. Computed from log-sum-exps, it
    stays finite where the logarithm of a sampled softmax overflows.

    Args:
        z: concept logits [B, D].
        key: of the Gumbel noise; each direction draws its own. None, with no noise given: no
            noise, so that a validation loss is deterministic.
        tau: temperature > 0. May be traced.
        variant: `released`, `paper` or `paired`.
        noise: (over_rows, over_columns), each [B, D], in place of drawn noise: the first is added
            before the softmax that normalises each row (over concepts, axis 1), the second before
            the one that normalises each column (over the batch, axis 0).
        positives: as in `contrastive`.
        where: as in `contrastive`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: an unknown variant.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), the Gumbel CBL loss; Jang et al. 2017
    (arXiv 1611.01144), equation 2.

    >>> z = jnp.array([[5.0, 0.0], [0.0, 5.0]])
    >>> quiet = gumbel(z, positives=jnp.eye(2), noise=(jnp.zeros((2, 2)), jnp.zeros((2, 2))))
    >>> bool(jnp.allclose(quiet, contrastive(z, positives=jnp.eye(2))))
    True
    """
    _check(variant)
    z = z.astype(jnp.float32)
    if noise is None and key is not None:
        noise = gumbel_pair(key, z.shape)
    inverse_tau = 1.0 / jnp.asarray(tau, jnp.float32)
    if noise is None:
        over_rows = over_columns = _present(z * inverse_tau, where)
    else:
        over_rows, over_columns = (
            _present((z + direction.astype(jnp.float32)) * inverse_tau, where)
            for direction in noise
        )
    if variant == "released":
        return _every_entry(over_rows, over_columns, where)
    if variant == "paper":
        return _diagonal(over_rows, over_columns, where)
    return _matched(over_rows, over_columns, _positives(z, positives, where), where)


def l1(W: jax.Array, penalty: jax.Array | float, *, variant: str = "paired") -> jax.Array:
    """penalty / D * sum |W|, with the subgradient 0 at 0 as torch has it (jax's abs has 1).

    All variants have this value. They differ in how it is minimised: `released` descends the
    subgradient, which never reaches a zero; `paired` takes proximal steps
    (`jaxcbm.bottleneck.proximal.soft_threshold` with rate * penalty / D) on the rest of the loss.

    Args:
        W: weights of the Concept Bottleneck Layer, [inputs, D] (or R of the residual layer).
        penalty: lambda >= 0. May be traced.
        variant: `released`, `paper` or `paired`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: an unknown variant.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), the l1 CBL loss.

    >>> float(l1(jnp.array([[1.0, -2.0], [0.0, 3.0]]), 0.5))
    1.5
    >>> jax.grad(l1)(jnp.array([[1.0, -2.0], [0.0, 3.0]]), 0.5).tolist()
    [[0.25, -0.25], [0.0, 0.25]]
    """
    _check(variant)
    W = W.astype(jnp.float32)
    magnitude = jnp.sum(W * jax.lax.stop_gradient(jnp.sign(W)))
    return jnp.asarray(penalty, jnp.float32) / W.shape[-1] * magnitude


def similarity(
    psi: jax.Array,
    z: jax.Array,
    *,
    cubed: bool = False,
    variant: str = "paired",
    where: jax.Array | None = None,
) -> jax.Array:
    """Minus the mean over concepts of the cosine between batch-centred columns of psi and z.

    `released` divides by the norms as they are: a column that does not vary over the batch, as in
    a batch of one, gives NaN. `paper` and `paired`: such a column has cosine 0 and no gradient,
    and a column's scale cannot overflow or underflow the cubes.

    Args:
        psi: the encoder's concept scores [B, D].
        z: concept logits [B, D].
        cubed: cube the centred columns first, which stresses the strongest images.
        variant: `released`, `paper` or `paired`.
        where: [B], non-zero for the images that count; the others are padding. None: all.

    Returns:
        float32 scalar in [-1, 1].

    Raises:
        ValueError: an unknown variant.

    Reference: Oikarinen et al. 2023 (arXiv 2304.06129); Semenov et al. 2024
    (arXiv 2404.03323).

    >>> psi = jnp.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    >>> round(float(similarity(psi, 3.0 * psi)), 5)
    -1.0
    >>> float(similarity(psi[:1], psi[:1]))
    -0.0
    """
    _check(variant)
    psi, z = psi.astype(jnp.float32), z.astype(jnp.float32)
    prepare = _centred if variant == "released" else _unit_spread
    psi, z = prepare(psi, where), prepare(z, where)
    if cubed:
        psi, z = psi * psi * psi, z * z * z
    norms_D = jnp.sum(psi * psi, axis=0), jnp.sum(z * z, axis=0)
    products_D = jnp.sum(psi * z, axis=0)
    if variant != "released":
        # After scaling, a column has spread 1 or is 0: nothing lies between.
        alive_D = (norms_D[0] > 0) & (norms_D[1] > 0)
        norms_D = tuple(jnp.where(alive_D, norm_D, 1.0) for norm_D in norms_D)
    return -jnp.mean(products_D / (jnp.sqrt(norms_D[0]) * jnp.sqrt(norms_D[1])))


def _check(variant: str) -> None:
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}")


def _present(z: jax.Array, where: jax.Array | None) -> jax.Array:
    z = z.astype(jnp.float32)
    return z if where is None else jnp.where(where[:, None] != 0, z, _ABSENT)


def _positives(z: jax.Array, positives: jax.Array | None, where: jax.Array | None) -> jax.Array:
    if positives is None:
        positives = from_scores(z, _OWN_POSITIVES)
    if where is None:
        return positives
    return jnp.where(where[:, None] != 0, positives, jnp.zeros((), positives.dtype))


def _diagonal(over_rows: jax.Array, over_columns: jax.Array, where: jax.Array | None) -> jax.Array:
    """Both directions of -log softmax at entries (i, i); only rows and columns that have one."""
    pairs = min(over_rows.shape)
    lse_rows = jax.nn.logsumexp(over_rows[:pairs], axis=1)
    lse_columns = jax.nn.logsumexp(over_columns[:, :pairs], axis=0)
    losses = (lse_rows - jnp.diagonal(over_rows)) + (lse_columns - jnp.diagonal(over_columns))
    return 0.5 * _mean(losses, None if where is None else where[:pairs])


def _every_entry(
    over_rows: jax.Array, over_columns: jax.Array, where: jax.Array | None
) -> jax.Array:
    """Both directions of -log softmax averaged over all entries: mean lse minus mean logit."""
    lse_rows = jax.nn.logsumexp(over_rows, axis=1)
    lse_columns = jax.nn.logsumexp(over_columns, axis=0)
    rows = _mean(lse_rows - jnp.mean(over_rows, axis=1), where)
    columns = jnp.mean(lse_columns) - _mean(jnp.mean(over_columns, axis=1), where)
    return 0.5 * (rows + columns)


def _matched(
    over_rows: jax.Array,
    over_columns: jax.Array,
    positives: jax.Array,
    where: jax.Array | None,
) -> jax.Array:
    """Both directions of the mean of -log softmax over positives."""
    positives = positives.astype(jnp.float32)

    def direction(logits: jax.Array, axis: int) -> jax.Array:
        count = jnp.sum(positives, axis=axis)
        has_any = (count > 0).astype(jnp.float32)
        matched = jnp.sum(positives * logits, axis=axis) / jnp.where(count > 0, count, 1.0)
        return _mean(jax.nn.logsumexp(logits, axis=axis) - matched, has_any)

    return 0.5 * (direction(over_rows, 1) + direction(over_columns, 0))


def _mean(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """Mean of the entries of a vector that count; 0 where none does."""
    if where is None:
        return jnp.mean(x)
    weights = (where != 0).astype(jnp.float32)
    return jnp.sum(weights * x) / jnp.maximum(jnp.sum(weights), 1.0)


def _centred(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """Columns minus their mean over the images that count; zero rows for the others."""
    if where is None:
        return x - jnp.mean(x, axis=0, keepdims=True)
    weights_Bx1 = (where != 0).astype(jnp.float32)[:, None]
    count = jnp.maximum(jnp.sum(weights_Bx1), 1.0)
    return (x - jnp.sum(weights_Bx1 * x, axis=0, keepdims=True) / count) * weights_Bx1


def _unit_spread(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """Centred columns over their deviation, and exactly 0 where only rounding is left.

    The cosine does not depend on the scale, so that no gradient needs to flow through it.
    """
    centred = _centred(x, where)
    spread_D = jnp.sqrt(jnp.mean(jax.lax.stop_gradient(centred) ** 2, axis=0))
    # Any entry tells how large the column is that centring had to round.
    size_D = jnp.abs(jax.lax.stop_gradient(x[0])) + spread_D
    alive_D = spread_D > 32 * jnp.finfo(jnp.float32).eps * size_D
    return centred * jnp.where(alive_D, 1.0 / jnp.where(alive_D, spread_D, 1.0), 0.0)[None, :]
