"""Class information out of the concepts that no annotation confirms."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxcbm.bottleneck.erasure import erase_classes
from jaxcbm.bottleneck.scores import apply_map
from jaxcbm.data.features import Features
from jaxcbm.model.model import Model

# Images that tell the class means and the covariance well enough.
_IMAGES = 50_000


def erase_unannotated(model: Model, train: Features, share: float) -> Model:
    """Take class information out of the logits of concepts without annotations.

    Only labels and annotations decide, not what a phrase says. Where annotations speak of no phrase
    at all there is nothing to tell phrases apart by, and all stay as they are.

    Args:
        model: fitted; its head is to be solved anew.
        train: what it was fitted on.
        share: of the class information, 0 to 1; see `erase_classes`.

    Returns:
        The model with other weights of those concepts; `metrics` counts them as `erased_concepts`.

    Raises:
        UserError: more classes than numbers that the layer reads.
    """
    train = train.sample(_IMAGES, 0)
    present_NxD = None if share == 0.0 else train.annotations_of(model.concepts.phrases)
    if present_NxD is None:
        return model
    unknown_D = np.isnan(present_NxD).all(axis=0)
    if unknown_D.all() or not unknown_D.any():
        return model
    logging.info("erasure: %d of %d concepts have no annotations", unknown_D.sum(), unknown_D.size)
    kernel_IxD = np.array(model.params["cbl.kernel"])
    # The residual layer's kernel is what its weights have beyond the identity.
    residual = model.config.layer == "residual"
    identity = np.eye(kernel_IxD.shape[1])[:, unknown_D] if residual else 0.0
    kernel_IxD[:, unknown_D] = -identity + erase_classes(
        kernel_IxD[:, unknown_D] + identity,
        np.asarray(apply_map(model.input_map, jnp.asarray(train.as_array()))),
        np.asarray(train.labels),
        share,
    )
    return replace(
        model,
        params={**model.params, "cbl.kernel": kernel_IxD},
        metrics={**model.metrics, "erased_concepts": int(unknown_D.sum())},
    )
