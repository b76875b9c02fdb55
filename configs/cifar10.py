"""CIFAR-10 through TFDS with OpenAI's CLIP ViT-B/32; needs a network once.

    pip install tensorflow-cpu
    python -c "import tensorflow_datasets as tfds; \
        tfds.builder('cifar10', file_format='array_record').download_and_prepare()"
    jaxcbm train --config=configs/cifar10.py --workdir=runs/cifar10

Only preparing needs TensorFlow. No accuracy is stated: it was not run without a network.
"""

from ml_collections import ConfigDict

from jaxcbm.commands.experiment import default_config


def get_config() -> ConfigDict:
    """Official splits; positives come from class-concept similarity."""
    config = default_config()
    config.data.name = "tfds"
    config.data.tfds_name = "cifar10"
    config.data.valid_fraction = 0.1
    config.concepts = "cifar10"
    config.encoder.name = "openai/clip-vit-base-patch32"
    config.training.epochs = 20
    return config
