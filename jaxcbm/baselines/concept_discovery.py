"""CDM: each image switches on a few concepts, and a linear head reads only those.

Batch size, learning rates, weight decay, prior, weight of the KL, the temperature of training and
the reading of masks at inference are the published code's. What departs from it, and why:

* At inference a concept's score is multiplied by the probability that it is on, as the published
  validation does; its sampler for temperature 0.01 is called by nothing there, and an explanation
  should not change from one look to the next. Below 0.01, where the published code no longer counts
  a concept as active, it adds exactly nothing.
* Scores are standardised and embeddings centred and scaled: a raw cosine is mostly what all images
  have in common, and a gate on it would be a switch of that constant.
* The epoch is chosen by the loss on validation images out of train; the published code takes the
  epoch with the best accuracy on the official test set.
* Epochs end early without a lower validation loss; the published code trains 400 of 50,000 images.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcbm.baselines.concept_classifier import CLOSED, ConceptClassifier, labelled
from jaxcbm.bottleneck.minimise import minimise_by_adam
from jaxcbm.bottleneck.samplers import binary_concrete, relaxed_mask
from jaxcbm.bottleneck.unit_scale import unit_scale
from jaxcbm.data.features import Features


def concept_discovery(
    train: Features,
    valid: Features,
    concepts_DxE: np.ndarray,
    phrases: Sequence[str],
    *,
    prior: float = 1e-4,
    kl_weight: float = 1e-4,
    tau: float = 0.1,
    learning_rate: float = 1e-3,
    gate_rate: float = 10.0,
    weight_decay: float = 1e-4,
    epochs: int = 400,
    batch_size: int = 2000,
    patience: int = 40,
    seed: int = 0,
) -> ConceptClassifier:
    """Train per-image Bernoulli masks over concepts, and a linear head on the masked scores.

    The logits of the mask are linear in the image embedding. In training the mask is a relaxed
    sample, and a KL term pulls every gate towards closed; at inference it is the probability that
    a concept is on, 0 where that is below 0.01.

    Args:
        train: what everything is trained on.
        valid: what the epoch is chosen on, with deterministic masks.
        concepts_DxE: unit-norm text embeddings.
        phrases: D texts.
        prior: probability in (0, 1) that a concept is on, before the image is seen.
        kl_weight: of the KL, in nats summed over concepts, against the cross-entropy.
        tau: temperature of the relaxed samples.
        learning_rate: of AdamW for the head.
        gate_rate: the gates learn so many times faster.
        weight_decay: of the head, decoupled.
        epochs: at most.
        batch_size: images a step.
        patience: stop after so many epochs without a lower validation loss.
        seed: of initial weights, order and noise.

    Returns:
        A classifier with gates.

    Raises:
        UserError: no labelled image.

    Reference: Panousis et al. 2023 (arXiv 2308.10782), section 3.
    """
    train_NxE, train_labels = labelled(train)
    valid_MxE, valid_labels = labelled(valid)
    concepts = np.asarray(concepts_DxE, np.float32)
    mean_D, inverse_D = unit_scale(train_NxE @ concepts.T)
    concept_kernel = concepts.T * inverse_D
    mean_E, inverse_E = unit_scale(train_NxE)
    context = {
        "concept_kernel": concept_kernel,
        "concept_bias": -mean_D * inverse_D,
        "mean": mean_E,
        "inverse": inverse_E,
        "numbers": np.array([tau, prior, kl_weight], np.float32),
    }
    params = _initial(seed, train_NxE.shape[1], len(concepts), len(train.classes))
    rates = {name: learning_rate * (gate_rate if "gate" in name else 1.0) for name in params}
    fit = minimise_by_adam(
        _loss,
        params,
        (train_NxE, train_labels),
        (valid_MxE, valid_labels),
        context=context,
        learning_rates=rates,
        weight_decays={"head_kernel": weight_decay, "head_bias": weight_decay},
        rounds=epochs,
        batch_size=batch_size,
        patience=patience,
        seed=seed,
    ).params
    gate_kernel = fit["gate_kernel"] * inverse_E[:, None]
    return ConceptClassifier(
        concept_kernel=concept_kernel,
        concept_bias=context["concept_bias"],
        head=np.ascontiguousarray(fit["head_kernel"].T),
        head_bias=fit["head_bias"],
        phrases=tuple(phrases),
        gate_kernel=gate_kernel,
        gate_bias=fit["gate_bias"] - mean_E @ gate_kernel,
    )


def _initial(seed: int, width: int, concepts: int, classes: int) -> dict[str, jax.Array]:
    gate_key, head_key = jax.random.split(jax.random.key(seed))
    glorot = jax.nn.initializers.glorot_normal()
    return {
        "gate_kernel": glorot(gate_key, (width, concepts)),
        "gate_bias": jnp.zeros(concepts),
        "head_kernel": glorot(head_key, (concepts, classes)),
        "head_bias": jnp.full(classes, 0.1),
    }


def _loss(params: dict, batch: tuple, context: dict, key: jax.Array | None) -> jax.Array:
    """Cross-entropy and, in training, KL to the prior."""
    embeddings_BxE, labels_B = batch
    tau, prior, kl_weight = context["numbers"]
    scores_BxD = (
        jnp.matmul(embeddings_BxE, context["concept_kernel"]) + context["concept_bias"][None, :]
    )
    inputs_BxE = (embeddings_BxE - context["mean"][None, :]) * context["inverse"][None, :]
    gates_BxD = jnp.matmul(inputs_BxE, params["gate_kernel"]) + params["gate_bias"][None, :]
    if key is None:
        open_BxD = jax.nn.sigmoid(gates_BxD)
        mask_BxD = jnp.where(open_BxD >= CLOSED, open_BxD, 0.0)
    else:
        mask_BxD = relaxed_mask(gates_BxD, key, tau)
    masked_BxD = scores_BxD * mask_BxD
    logits_BxK = jnp.matmul(masked_BxD, params["head_kernel"]) + params["head_bias"][None, :]
    ce = optax.losses.softmax_cross_entropy_with_integer_labels(logits_BxK, labels_B).mean()
    if key is None:
        return ce
    _, kl_B = binary_concrete(gates_BxD, prior=prior)
    return ce + kl_weight * kl_B.mean()
