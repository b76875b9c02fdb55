"""Fashion-MNIST: 70,000 photographs from Debian's package dataset-fashion-mnist.

    apt-get install dataset-fashion-mnist
    jaxcbm train --config=fashion_mnist --workdir=runs/fashion_mnist

Expected time and metrics: docs/report/report.md.
"""

from ml_collections import ConfigDict

from jaxcbm.experiment.config import default_config


def get_config() -> ConfigDict:
    """The built-in encoder and our phrases; positives are an image's own top scores."""
    config = default_config()
    config.data.name = "fashion_mnist"
    config.data.valid_fraction = 0.1
    config.concepts = "fashion_mnist"
    config.training.epochs = 20
    return config
