"""The table of objectives: everything that the rest of the package asks about one.

A new objective is a function of arrays in a file of its own, and a row here.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax

from jaxcbm.bottleneck.objectives.contrastive import contrastive
from jaxcbm.bottleneck.objectives.gumbel import gumbel
from jaxcbm.bottleneck.objectives.l1 import l1
from jaxcbm.bottleneck.objectives.sigmoid import sigmoid
from jaxcbm.bottleneck.objectives.similarity import similarity
from jaxcbm.bottleneck.objectives.variants import VARIANTS, Variant
from jaxcbm.bottleneck.proximal import soft_threshold

if TYPE_CHECKING:
    from jaxcbm.bottleneck.config import BottleneckConfig

Objective = Literal["gumbel", "contrastive", "l1", "similarity", "sigmoid"]


class ObjectiveInputs(NamedTuple):
    """What an objective may read of a step.

    Attributes:
        scores: psi, what the encoder says, float32 [B, D].
        logits: z, what the bottleneck says, float32 [B, D].
        kernel: of the Concept Bottleneck Layer, float32 [inputs, D] (R of the residual layer).
        positives: float32 [B, D] in {0, 1}; None where the objective needs none.
        key: of its noise.
        tau: temperature of this step, float32 [].
    """

    scores: jax.Array
    logits: jax.Array
    kernel: jax.Array
    positives: jax.Array | None
    key: jax.Array
    tau: jax.Array


Loss = Callable[["BottleneckConfig", ObjectiveInputs], jax.Array]
ProximalMap = Callable[["BottleneckConfig", jax.Array, jax.Array], jax.Array]


class ObjectiveRecord(NamedTuple):
    """One objective.

    Attributes:
        loss: (config, inputs) -> float32 [], to be minimised.
        label: what rows of the table of methods call it.
        published_as: what published numbers call it; "" where there are none.
        variants: those that it has.
        positives_in: variants that need to be told which concepts belong to an image.
        proximal: for the variants that have one, the map (config, kernel, step size) -> kernel
            that follows each update in place of the loss's gradient.
        needs_cross_entropy: whether the layer has no signal without the cross-entropy's gradient.
        layer: the parameterisation that `auto` means.
        learning_rate: of the layer, in the table of methods; None takes the default.
        separable: whether each concept is trained by itself, so that one can be added alone.
        fields: of `BottleneckConfig` that matter to this objective, and not to every other.
    """

    loss: Loss
    label: str
    published_as: str = ""
    variants: tuple[Variant, ...] = VARIANTS
    positives_in: tuple[Variant, ...] = ()
    proximal: Mapping[Variant, ProximalMap] = {}
    needs_cross_entropy: bool = False
    layer: Literal["residual", "factored"] = "factored"
    learning_rate: float | None = None
    separable: bool = False
    fields: tuple[str, ...] = ()


def _sigmoid(config: "BottleneckConfig", x: ObjectiveInputs) -> jax.Array:
    assert x.positives is not None
    return sigmoid(x.logits, positives=x.positives, biased=config.layer_bias)


OBJECTIVES: dict[Objective, ObjectiveRecord] = {
    "gumbel": ObjectiveRecord(
        lambda config, x: gumbel(
            x.logits, x.key, tau=x.tau, variant=config.variant, positives=x.positives
        ),
        label="Sparse-CBM",
        published_as="sparse-cbm",
        positives_in=("paired",),
        fields=("tau_start", "tau_end"),
    ),
    "contrastive": ObjectiveRecord(
        lambda config, x: contrastive(x.logits, variant=config.variant, positives=x.positives),
        label="Contrastive-CBM",
        published_as="contrastive-cbm",
        positives_in=("paired",),
    ),
    "l1": ObjectiveRecord(
        lambda config, x: l1(x.kernel, config.penalty, variant=config.variant),
        label="l1-CBM",
        published_as="l1-cbm",
        variants=("paired", "paper", "released"),
        proximal={
            "paired": lambda config, kernel, rate: soft_threshold(
                kernel, rate * config.penalty / kernel.shape[1]
            )
        },
        needs_cross_entropy=True,
        # The penalty falls on R, so that z_d stays about phrase d; R's entries are small beside
        # those of the factored layer, and so is the rate.
        layer="residual",
        learning_rate=1e-3,
        fields=("penalty",),
    ),
    "similarity": ObjectiveRecord(
        lambda config, x: similarity(
            x.scores, x.logits, cubed=config.cubed, variant=config.variant
        ),
        label="Similarity-CBM",
        variants=("paired", "released"),
        fields=("cubed",),
    ),
    "sigmoid": ObjectiveRecord(
        _sigmoid,
        label="Sigmoid-CBM",
        variants=("paired",),
        positives_in=("paired",),
        separable=True,
    ),
}
