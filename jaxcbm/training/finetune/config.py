"""How an encoder trains together with the bottleneck."""

from dataclasses import dataclass, field, replace

from jaxcbm.errors import UserError
from jaxcbm.training.config import FitConfig, OptimizerConfig
from jaxcbm.typed_json import Count, Whole


def _rate(rate: float) -> OptimizerConfig:
    return OptimizerConfig(name="adamw", learning_rate=rate, warmup=0.1)


@dataclass(frozen=True)
class FinetuneConfig:
    """The loop of end-to-end training; every group of parameters has an optimizer of its own.

    It starts from the bottleneck that `training` fitted on the frozen encoder, and keeps the
    parameters with the lowest validation loss, those of the start included. What trains is said by
    `config.encoder.train`. The compute type is `config.encoder.dtype`; what trains is float32.

    Attributes:
        epochs: passes over the train images.
        batch_size: images a step, over all devices; at most the number of train images.
        accumulate: parts that a step's images pass the image tower in, to need less memory. The
            loss sees all of them together, so the result is that of the whole batch.
        rematerialise: compute the activations inside each block again on the way back instead of
            keeping them; on a CPU it saved hardly any memory.
        ce_to_encoder: whether the cross-entropy's gradient also reaches the bottleneck layer and
            the encoder; without it they train on the concept objective alone.
        encoder: optimizer of the parameters that train whole.
        lora: optimizer of the adapters.
        cbl: optimizer of the Concept Bottleneck Layer.
        head: optimizer of the head.
        max_shift: images move by up to this many pixels either way.
        flip: mirror half of the images.
        patience: epochs without a better validation loss before stopping; 0 never stops early.
        checkpoint_every: steps between checkpoints; 0 for the end alone.
        threads: that decode images; 0 for one a core.
    """

    epochs: Count = 5
    batch_size: Count = 128
    accumulate: Count = 1
    rematerialise: bool = False
    ce_to_encoder: bool = True
    encoder: OptimizerConfig = field(default_factory=lambda: _rate(1e-4))
    lora: OptimizerConfig = field(default_factory=lambda: _rate(1e-3))
    cbl: OptimizerConfig = field(default_factory=lambda: _rate(1e-3))
    head: OptimizerConfig = field(default_factory=lambda: _rate(1e-3))
    max_shift: Whole = 0
    flip: bool = False
    patience: Whole = 0
    checkpoint_every: Whole = 100
    threads: Whole = 0


def batch_sizes(finetune: FinetuneConfig, images: int, devices: int) -> int:
    """Images a step: those asked for, at most all, in whole parts for every device.

    Raises:
        UserError: fewer than one image for each part and device.

    >>> batch_sizes(FinetuneConfig(batch_size=10, accumulate=2), images=100, devices=2)
    8
    """
    parts = max(finetune.accumulate, 1) * devices
    size = min(finetune.batch_size, images) // parts * parts
    if size == 0:
        raise UserError(
            f"{min(finetune.batch_size, images)} images a step cannot be cut into accumulate="
            f"{finetune.accumulate} parts for {devices} devices: raise config.finetune.batch_size "
            "or lower config.finetune.accumulate"
        )
    return size


def joined(config: FitConfig, finetune: FinetuneConfig) -> FitConfig:
    """The settings of the bottleneck's loss while the encoder trains; the temperature has cooled.

    >>> joined(FitConfig(), FinetuneConfig(epochs=2)).training.epochs
    2
    """
    return replace(
        config,
        bottleneck=replace(config.bottleneck, tau_start=config.bottleneck.tau_end),
        training=replace(
            config.training,
            epochs=finetune.epochs,
            batch_size=finetune.batch_size,
            cbl=finetune.cbl,
            head=finetune.head,
            ce_to_cbl=finetune.ce_to_encoder,
            patience=finetune.patience,
        ),
    )
