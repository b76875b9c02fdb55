"""Places365 (256 x 256) through TFDS with OpenAI's CLIP ViT-B/32; needs a network once.

    pip install 'jaxcbm[tf]'
    python -m jaxcbm.data.sources.prepare_tfds --name=places365_small --data-dir=data
    jaxcbm train --config=places365 --workdir=runs/places365

Its test split has no labels: the official validation split is the test here, and validation is
taken out of train. Preparing downloads 29 GB, writes as much, and takes hours; data/ can be copied
to another machine. Encoding 1,839,960 images takes about a day at 20 images a second (two CPU
cores), an hour at 500 (an accelerator whose host has the cores to decode so many); it resumes where
it was stopped.
Expected metrics: none is stated in docs/report/report.md until a run has measured it.
"""

from ml_collections import ConfigDict

from jaxcbm.experiment.config import default_config


def get_config() -> ConfigDict:
    """Official train and validation splits; positives are an image's own top scores."""
    config = default_config()
    config.data.name = "tfds"
    config.data.tfds_name = "places365_small"
    config.data.tfds_data_dir = "data"
    config.data.test_split = "validation"
    config.data.valid_fraction = 0.02
    config.concepts = "places365"
    config.encoder.name = "openai/clip-vit-base-patch32"
    config.training.epochs = 10
    return config
