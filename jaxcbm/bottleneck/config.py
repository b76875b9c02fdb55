"""What a concept bottleneck is made of, as one frozen dataclass."""

from dataclasses import dataclass
from typing import Literal

from jaxcbm.bottleneck.objectives.table import OBJECTIVES, Objective, ProximalMap
from jaxcbm.bottleneck.objectives.variants import Variant
from jaxcbm.bottleneck.sampler_modules import SAMPLERS, SamplerName
from jaxcbm.errors import UserError
from jaxcbm.typed_json import Count, NonNegative, Positive, Share

Parameterisation = Literal["auto", "full", "residual", "factored"]


@dataclass(frozen=True)
class BottleneckConfig:
    """The Concept Bottleneck Layer, its sampler and its head.

    Attributes:
        objective: what trains the Concept Bottleneck Layer (`bottleneck.objectives.table`).
        variant: `paired` (positives belong to the image), `paper` (the paper's equations),
            `diagonal` (between them) or `released` (the released code's), where the objective has
            it (`bottleneck.objectives.variants`).
        parameterisation: `full` (W itself), `residual` (W = I + R), `factored` (M = W C, free to
            read the whole embedding), or `auto`: the objective's own (residual for `l1`, whose
            penalty falls on R, else factored).
        standardise: centre and scale the scores per concept with train statistics.
        head_bias: whether the head has a bias.
        sampler: what stands between concept logits and head (`bottleneck.sampler_modules`).
        hard: Gumbel-Softmax sampler: one-hot samples with straight-through gradients.
        k: `top_k` sampler: concepts kept per image.
        prior: `binary_concrete` sampler: prior probability that a concept is active.
        cubed: `similarity` objective: cube the centred columns.
        penalty: `l1` objective: lambda of lambda / D * sum |W|.
        tau_start: temperature at the first step (Gumbel objective and samplers).
        tau_end: temperature at the last step; geometric in between.
        positives: where the `paired` objectives find concepts that belong to an image:
            `annotations` (with its own scores for what they do not say; at least half of the
            phrases must have one), `classes` (class-concept text similarity), `scores` (its own
            top scores), or `auto`: annotations where the data has them, else scores.
        positives_k: concepts per class or image, for `classes` and `scores`.

    Raises:
        UserError: an unknown objective, or a variant that it does not have.
    """

    objective: Objective = "contrastive"
    variant: Variant = "paired"
    parameterisation: Parameterisation = "auto"
    standardise: bool = True
    head_bias: bool = True
    sampler: SamplerName = "identity"
    hard: bool = False
    k: Count = 10
    prior: Share = 0.1
    cubed: bool = True
    penalty: NonNegative = 1e-3
    tau_start: Positive = 1.0
    tau_end: Positive = 0.5
    positives: Literal["auto", "annotations", "classes", "scores"] = "auto"
    positives_k: Count = 4

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            raise UserError(
                f"config.bottleneck.objective={self.objective}: choose one of "
                f"{', '.join(OBJECTIVES)}"
            )
        if self.variant not in (known := OBJECTIVES[self.objective].variants):
            raise UserError(
                f"config.bottleneck.variant={self.variant}: the objective {self.objective} has "
                f"{', '.join(known)} only"
            )

    @property
    def layer(self) -> Literal["full", "residual", "factored"]:
        """The parameterisation, settled.

        >>> BottleneckConfig(objective="l1").layer, BottleneckConfig().layer
        ('residual', 'factored')
        """
        if self.parameterisation == "auto":
            return OBJECTIVES[self.objective].layer
        return self.parameterisation

    @property
    def layer_bias(self) -> bool:
        """Whether the Concept Bottleneck Layer has a bias."""
        return SAMPLERS[self.sampler].layer_bias

    @property
    def needs_positives(self) -> bool:
        """Whether the objective must be told which concepts belong to an image."""
        return self.variant in OBJECTIVES[self.objective].positives_in

    @property
    def proximal(self) -> ProximalMap | None:
        """The objective's proximal map, where this variant steps by one."""
        return OBJECTIVES[self.objective].proximal.get(self.variant)

    def uses(self, field: str) -> bool:
        """Whether another value of a field would make another model.

        >>> BottleneckConfig(objective="l1").uses("penalty"), BottleneckConfig().uses("penalty")
        (True, False)
        """
        if field in ("positives", "positives_k"):
            return self.needs_positives
        record = OBJECTIVES[self.objective]
        special = {name for own in OBJECTIVES.values() for name in own.fields}
        special |= {name for own in SAMPLERS.values() for name in own.fields}
        return field not in special or field in (*record.fields, *SAMPLERS[self.sampler].fields)
