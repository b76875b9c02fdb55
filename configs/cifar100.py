"""CIFAR-100 through TFDS with OpenAI's CLIP ViT-B/32; needs a network once.

    pip install 'jaxcbm[tf]'
    python -m jaxcbm.data.sources.prepare_tfds --name=cifar100 --data-dir=data
    jaxcbm train --config=cifar100 --workdir=runs/cifar100

Preparing downloads 170 MB and takes about 2 minutes; only it needs TensorFlow, and data/ can be
copied to where there is none. Encoding 60,000 images takes about 50 minutes at 20 images a
second (two CPU cores), 2 minutes at 500 (an accelerator); it resumes where it was stopped.
Expected metrics: none is stated in docs/report/report.md until a run has measured it.
"""

from ml_collections import ConfigDict

from jaxcbm.experiment.config import default_config


def get_config() -> ConfigDict:
    """Official splits, the hundred fine labels; positives are an image's own top scores."""
    config = default_config()
    config.data.name = "tfds"
    config.data.tfds_name = "cifar100"
    config.data.tfds_data_dir = "data"
    config.data.valid_fraction = 0.1
    config.concepts = "cifar100"
    config.encoder.name = "openai/clip-vit-base-patch32"
    config.training.epochs = 20
    return config
