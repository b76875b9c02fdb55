"""What a concept bottleneck is made of, as one frozen dataclass."""

from dataclasses import dataclass
from typing import Literal

Objective = Literal["contrastive", "gumbel", "l1", "similarity"]
Variant = Literal["released", "paper", "paired"]
Parameterisation = Literal["auto", "full", "residual", "factored"]
SamplerName = Literal["identity", "gumbel_softmax", "binary_concrete", "top_k"]


@dataclass(frozen=True)
class BottleneckConfig:
    """The Concept Bottleneck Layer, its sampler and its head.

    Attributes:
        objective: what trains the Concept Bottleneck Layer.
        variant: `paired` (positives belong to the image), `paper`, or `released`.
        parameterisation: `full` (W itself), `residual` (W = I + R), `factored` (M = W C, free to
            read the whole embedding), or `auto`: residual for the l1 objective, whose penalty falls
            on R, else factored.
        standardise: centre and scale the scores per concept with train statistics.
        head_bias: whether the head has a bias.
        sampler: what stands between concept logits and head.
        hard: Gumbel-Softmax sampler: one-hot samples with straight-through gradients.
        k: `top_k` sampler: concepts kept per image.
        prior: `binary_concrete` sampler: prior probability that a concept is active.
        cubed: `similarity` objective: cube the centred columns.
        penalty: `l1` objective: lambda of lambda / D * sum |W|.
        tau_start: temperature at the first step (Gumbel objective and samplers).
        tau_end: temperature at the last step; geometric in between.
        positives: where the `paired` objectives find concepts that belong to an image:
            `annotations`, `classes` (class-concept text similarity), `scores` (its own top
            scores), or `auto`: annotations where the data has them, else scores.
        positives_k: concepts per class or image, for `classes` and `scores`.
    """

    objective: Objective = "contrastive"
    variant: Variant = "paired"
    parameterisation: Parameterisation = "auto"
    standardise: bool = True
    head_bias: bool = True
    sampler: SamplerName = "identity"
    hard: bool = False
    k: int = 10
    prior: float = 0.1
    cubed: bool = True
    penalty: float = 1e-3
    tau_start: float = 1.0
    tau_end: float = 0.5
    positives: Literal["auto", "annotations", "classes", "scores"] = "auto"
    positives_k: int = 4

    @property
    def layer(self) -> Literal["full", "residual", "factored"]:
        """The parameterisation, settled.

        >>> BottleneckConfig(objective="l1").layer, BottleneckConfig().layer
        ('residual', 'factored')
        """
        if self.parameterisation == "auto":
            return "residual" if self.objective == "l1" else "factored"
        return self.parameterisation
