"""The settings of a fit, as frozen dataclasses; config files are converted to these once."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.typed_json import Count, NonNegative, Positive, Range, Share, Whole


@dataclass(frozen=True)
class OptimizerConfig:
    """One optax optimizer and its schedule.

    Attributes:
        name: `adam`, `adamw` or `sgd`.
        learning_rate: peak, per step.
        schedule: `constant`, `cosine` (to zero), or `exponential` (to a hundredth).
        warmup: part of all steps spent rising linearly from zero, 0 to 1.
        weight_decay: decoupled, `adamw` only.
        momentum: `sgd` only.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Positive = 1e-3
    schedule: Literal["constant", "cosine", "exponential"] = "cosine"
    warmup: Share = 0.0
    weight_decay: NonNegative = 0.0
    momentum: Share = 0.9


@dataclass(frozen=True)
class TrainingConfig:
    """The loop around the step.

    Attributes:
        epochs: passes over the train features.
        batch_size: images a step, over all devices; at most the number of train images.
        seed: of parameters, shuffles and noise.
        cbl: optimizer of the Concept Bottleneck Layer.
        head: optimizer of the head.
        objective_weight: of the CBL objective beside the sampler's KL and the cross-entropy.
        ce_to_cbl: whether the cross-entropy's gradient also reaches the CBL.
        train_head: False keeps the head at its random start, as the released code does.
        kl_weight: of the sampler's divergence from its prior.
        keep_best: whether the parameters of the epoch with the lowest validation loss are the
            result; False takes the last ones, and never stops early.
        patience: epochs without a better validation loss before stopping; 0 never stops early.
        checkpoint_every: steps between checkpoints, rounded up to whole epochs where features lie
            in memory; 0 for the end alone.
        data: `memory` keeps all features on the devices, `stream` reads them from the store batch
            by batch, `auto` streams what does not fit.
        window: images that a streamed epoch shuffles at a time, over all processes; memory holds
            two such windows.
    """

    epochs: Count = 60
    batch_size: Count = 512
    seed: Whole = 0
    cbl: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=3e-2))
    head: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=1e-2))
    objective_weight: NonNegative = 1.0
    ce_to_cbl: bool = False
    train_head: bool = True
    kl_weight: NonNegative = 1e-3
    keep_best: bool = True
    patience: Whole = 0
    checkpoint_every: Whole = 1000
    data: Literal["auto", "memory", "stream"] = "auto"
    window: Count = 131_072


@dataclass(frozen=True)
class SparseHeadConfig:
    """The elastic-net head that replaces the trained one.

    Attributes:
        enabled: solve the path and keep the chosen head; False keeps the trained head.
        l1_ratio: share of l1 in the elastic net.
        path_length: penalties on the path, 2 or more, over three decades: of 100, each is 2^0.1 of
            the next. It ends early where all sizes that are asked for and validation's best have
            passed.
        tolerance: relative certificate at which a solution counts as optimal.
        max_iterations: per penalty.
        within: choose the sparsest head whose cross-entropy on validation exceeds the path's
            smallest by at most this share of it.
        nec: choose the head whose number of effective concepts is nearest this; 0: by validation.
        intervened: on annotated data, the head is also solved on a copy of the train activations in
            which this share of the entries is set to what the annotation says, so that it goes by
            what a concept means and corrections by hand help; 0 leaves the copy out.
        copy_weight: of an image's corrected copy, where the image itself has weight 1.
        erasure: share of the class information, 0 to 1, that is taken out of concepts without
            annotations before the path is solved, where other concepts have some
            (`jaxcbm.bottleneck.erasure`; docs/leakage.md says what it costs).
        images: a fit that streams its features solves the path on so many of them, drawn by the
            fit's seed, and chooses the point on at most so many of validation.
    """

    enabled: bool = True
    l1_ratio: Annotated[float, Range(0, 1, above=True)] = 0.99
    path_length: Annotated[int, Range(2, 2**31 - 1)] = 100
    tolerance: Positive = 5e-3
    max_iterations: Count = 2000
    within: NonNegative = 0.02
    nec: NonNegative = 0.0
    intervened: Share = 0.75
    copy_weight: NonNegative = 0.5
    erasure: Share = 0.0
    images: Count = 100_000


@dataclass(frozen=True)
class MeshConfig:
    """How devices are laid out.

    Attributes:
        data: devices along the batch; -1 for all that are left.
        model: devices along the concepts.
    """

    data: Annotated[int, Range(-1, 2**31 - 1)] = -1
    model: Count = 1


@dataclass(frozen=True)
class FitConfig:
    """Everything `fit` needs besides data, encoder and concepts.

    Attributes:
        bottleneck: the model.
        training: the loop.
        sparse_head: the elastic-net head.
        mesh: devices.
    """

    bottleneck: BottleneckConfig = field(default_factory=BottleneckConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sparse_head: SparseHeadConfig = field(default_factory=SparseHeadConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
