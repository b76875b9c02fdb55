"""The small encoder that comes with the library (`jaxcbm/tiny`).

    jaxcbm pretrain --config=pretrain_tiny --workdir=runs/pretrain_tiny

Needs Debian's package dataset-fashion-mnist. About 50 minutes on two CPU cores; minutes on a GPU.
It resumes after a kill. Its birds have none of the species that the quick start classifies, nor
one that differs from such a species in a single attribute.
"""

import dataclasses

from ml_collections import ConfigDict

from jaxcbm.experiment.pretrain import PretrainExperiment


def get_config() -> ConfigDict:
    """Birds and Fashion-MNIST, softmax loss over batches of 128 pairs."""
    config = ConfigDict(dataclasses.asdict(PretrainExperiment()))
    config.pairs.birds = 60_000
    config.pairs.fashion_mnist = 20_000
    config.training.steps = 2_600
    config.training.batch_size = 128
    config.training.captions_per_step = 3
    config.training.learning_rate = 1e-3
    return config
