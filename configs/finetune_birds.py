r"""The quick start's birds, and the encoder trains too: adapters of rank 8 on attention.

    jaxcbm train --config=finetune_birds --workdir=runs/finetune_birds

What trains is one setting; what no rule matches stays frozen, bit for bit:

    --config.encoder.train=frozen                             the quick start
    --config.encoder.lora.where='^vision\.projection'         adapters on the projection alone
    --config.encoder.lora.where='^vision\.'                   adapters on every matrix
    --config.encoder.train=full                               the whole image tower
    --config.encoder.train=rules --config.encoder.rules='\.blocks\.3\.=train; ^vision\.=lora'

The section `finetune` says how: epochs, learning rates a group (`finetune.lora.learning_rate`,
`.encoder`, `.cbl`, `.head`), `finetune.accumulate`, `finetune.rematerialise`.
--config.encoder.dtype=bfloat16 computes in bfloat16; what trains stays float32.

`python -m benchmarks.finetuning` measures the variants and writes docs/finetuning.md.
"""

from ml_collections import ConfigDict

from jaxcbm.experiment.config import default_config


def get_config() -> ConfigDict:
    """Frozen features first, as in the quick start; then everything together."""
    config = default_config()
    config.data.name = "birds"
    config.concepts = "birds"
    config.encoder.name = "jaxcbm/tiny"
    config.encoder.train = "lora"
    config.encoder.lora.rank = 8
    config.encoder.lora.where = r"^vision\..*\.attn\."
    config.training.epochs = 60
    config.finetune.epochs = 10
    config.finetune.batch_size = 128
    config.finetune.max_shift = 2
    config.finetune.lora.learning_rate = 1e-2
    config.finetune.encoder.learning_rate = 1e-3
    return config
