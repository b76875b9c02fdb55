"""ImageNet-1k (ILSVRC 2012) through TFDS with OpenAI's CLIP ViT-B/32; needs a network once.

    pip install 'jaxcbm[tf]'
    apt-get install wordnet-base
    python -m jaxcbm.data.sources.prepare_tfds --name=imagenet2012 \
        --data-dir=data --manual-dir=archives
    jaxcbm train --config=imagenet --workdir=runs/imagenet

archives/ holds ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, which image-net.org gives
after registration. TFDS calls the classes by WordNet identifiers; their names come from WordNet
3.0 (Debian's wordnet-base). Elsewhere, or for other names, give --config.data.classes=FILE:
WordNet's data.noun, lines such as "n01440764 tench", or 1,000 names in the identifiers' order.

Its test split has no labels: the official validation split is the test here, and validation is
taken out of train. Preparing writes 145 GB and takes hours; data/ can be copied to another machine.
Encoding 1,331,167 images takes about 19 hours at 20 images a second (two CPU cores), 45 minutes at
500 (an accelerator whose host has the cores to decode so many); it resumes where it was stopped.
Expected metrics: none is stated in docs/report/report.md until a run has measured it.
"""

from ml_collections import ConfigDict

from jaxcbm.experiment.config import default_config


def get_config() -> ConfigDict:
    """Official train and validation splits; positives are an image's own top scores."""
    config = default_config()
    config.data.name = "tfds"
    config.data.tfds_name = "imagenet2012"
    config.data.tfds_data_dir = "data"
    config.data.test_split = "validation"
    config.data.valid_fraction = 0.02
    config.concepts = "imagenet"
    config.encoder.name = "openai/clip-vit-base-patch32"
    config.training.epochs = 10
    return config
