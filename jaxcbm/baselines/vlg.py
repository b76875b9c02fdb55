"""VLG-CBM: a concept layer that learns annotations, and a sparse head at a fixed size.

What departs from the published code, and why:

* Annotations are the data's own. The published ones are boxes that Grounding DINO draws for phrases
  of a language model; a cell that nobody annotated (NaN) is left out of the loss.
* No crops to a concept's box: there are no boxes.
* Embeddings are centred and scaled for the optimizer, and the layer is linear, as published for
  CUB-200. The published rates suit backbone features of about unit size; ours have unit norm.
* The epoch with the lowest validation loss is kept. That is what the published code is written to
  do; it keeps a reference to the weights instead of a copy, and so ends with the last epoch's.
* The head comes from `with_sparse_path`, solved to a certified gap where the published solver stops
  after a number of passes. 100 penalties over three decades fall by 2^0.1 a step, as published;
  accuracy at a number of effective concepts is read from the path as published, too. The head of
  the model itself is chosen on validation instead of by a penalty given for each dataset.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.baselines.concept_classifier import ConceptClassifier, bottleneck_only, standardised
from jaxcbm.bottleneck.minimise import minimise_by_adam
from jaxcbm.bottleneck.unit_scale import unit_scale
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError

# Penalties of the published path down to a thousandth of the largest: 2^0.1 a step.
PATH_LENGTH = 100


def grounded_bottleneck(
    train: Features,
    valid: Features,
    *,
    pos_weight: float = 1.0,
    auto_weight: bool = False,
    learning_rate: float = 5e-4,
    weight_decay: float = 1e-5,
    epochs: int = 75,
    batch_size: int = 32,
    seed: int = 0,
) -> ConceptClassifier:
    """Train a linear concept layer on annotations by binary cross-entropy.

    Args:
        train: with annotations. A phrase that no image here shows is left out.
        valid: with annotations; chooses the epoch.
        pos_weight: of the cells where a concept is present, where an absent one weighs 1.
        auto_weight: multiply `pos_weight` by absent over present images, for each concept.
        learning_rate: of Adam.
        weight_decay: of half the sum of squared weights, added to the loss.
        epochs: passes over train.
        batch_size: images a step.
        seed: of the initial layer and the order of images.

    Returns:
        Concepts with an empty head; their logits have mean 0 and deviation 1 on train.

    Raises:
        UserError: no annotations, or none of a concept that is there.

    Reference: Srivastava et al. 2024 (arXiv 2408.01432), section 3.
    """
    if train.annotations is None or valid.annotations is None:
        raise UserError("VLG-CBM learns from annotated images, and this data has none")
    counts_A = np.nansum(train.annotations, axis=0)
    columns = np.flatnonzero(counts_A > 0)
    if not len(columns):
        raise UserError("no annotation is present in any train image")
    targets_NxD = train.annotations[:, columns]
    weights_D = np.full(len(columns), pos_weight, np.float32)
    if auto_weight:
        known_D = np.sum(~np.isnan(targets_NxD), axis=0)
        weights_D *= (known_D - counts_A[columns]) / counts_A[columns]
    train_NxE, valid_MxE = train.as_array(), valid.as_array()
    mean_E, inverse_E = unit_scale(train_NxE)
    fit = minimise_by_adam(
        _loss,
        _initial(seed, train_NxE.shape[1], len(columns)),
        ((train_NxE - mean_E) * inverse_E, targets_NxD),
        ((valid_MxE - mean_E) * inverse_E, valid.annotations[:, columns]),
        context=(weights_D, np.float32(weight_decay)),
        learning_rates={"kernel": learning_rate, "bias": learning_rate},
        rounds=epochs,
        batch_size=batch_size,
        seed=seed,
    ).params
    kernel = fit["kernel"] * inverse_E[:, None]
    phrases = [train.annotation_phrases[column] for column in columns]
    bias = fit["bias"] - mean_E @ kernel
    return standardised(bottleneck_only(kernel, bias, phrases, len(train.classes)), train_NxE)


def weighted_cross_entropy(
    logits_BxD: jax.Array, present_BxD: jax.Array, weights_D: jax.Array
) -> jax.Array:
    """Mean binary cross-entropy over the cells that are known, present ones weighted.

    >>> present = jnp.array([[1.0, jnp.nan], [0.0, jnp.nan]])
    >>> loss = weighted_cross_entropy(jnp.zeros((2, 2)), present, jnp.array([3.0, 1.0]))
    >>> round(float(loss / jnp.log(2.0)), 4)
    2.0
    """
    known_BxD = ~jnp.isnan(present_BxD)
    present_BxD = jnp.where(known_BxD, present_BxD, 0.0)
    on_BxD = weights_D[None, :] * present_BxD * jax.nn.softplus(-logits_BxD)
    off_BxD = (1.0 - present_BxD) * jax.nn.softplus(logits_BxD)
    count = jnp.maximum(jnp.sum(known_BxD.astype(jnp.float32)), 1.0)
    return jnp.sum(jnp.where(known_BxD, on_BxD + off_BxD, 0.0)) / count


def _loss(params: dict, batch: tuple, context: tuple, key: jax.Array | None) -> jax.Array:
    (inputs_BxE, present_BxD), (weights_D, decay) = batch, context
    logits_BxD = jnp.matmul(inputs_BxE, params["kernel"]) + params["bias"][None, :]
    loss = weighted_cross_entropy(logits_BxD, present_BxD, weights_D)
    if key is None:
        return loss
    squares = jnp.sum(params["kernel"] ** 2) + jnp.sum(params["bias"] ** 2)
    return loss + 0.5 * decay * squares


def _initial(seed: int, width: int, concepts: int) -> dict[str, jax.Array]:
    """Uniform within one over the root of the width, as a linear layer of torch starts."""
    kernel_key, bias_key = jax.random.split(jax.random.key(seed))
    bound = 1.0 / np.sqrt(width)
    return {
        "kernel": jax.random.uniform(kernel_key, (width, concepts), minval=-bound, maxval=bound),
        "bias": jax.random.uniform(bias_key, (concepts,), minval=-bound, maxval=bound),
    }
