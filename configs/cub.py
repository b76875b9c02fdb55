"""CUB-200-2011 through TFDS with OpenAI's CLIP ViT-B/32 and its attributes; needs a network once.

    pip install 'jaxcbm[tf]'
    python -m jaxcbm.data.sources.prepare_tfds --name=caltech_birds2011 --data-dir=data
    jaxcbm train --config=cub --workdir=runs/cub \
        --config.data.attributes=$(echo data/downloads/extracted/*/CUB_200_2011) \
        --config.concepts=annotations

TFDS has no attributes of these birds, but keeps the archive that has them, unpacked, under
downloads/; any other copy of the folder CUB_200_2011 will do.

The concepts are then what the 312 attributes say. Without --config.concepts they are the built-in
set cub: three of four phrases are worded as the attributes are, and take their positives from them;
the others take an image's own top scores. A set of which fewer than half have an attribute is
refused, unless --config.bottleneck.positives=scores trains it without attributes.

Without --config.data.attributes the run has no annotations: positives are then an image's own top
scores, and there is no concept AUC. --config.data.attribute_votes=true gives each image the
majority answer of its class in train; --config.data.attribute_certainty=4 keeps only the answers
that annotators were sure of.

Preparing downloads 1.2 GB and takes about 10 minutes; only it needs TensorFlow and OpenCV, and
data/ can be copied to where there are none. Encoding 11,788 images takes about 10 minutes at 20
images a second (two CPU cores).
Expected metrics: none is stated in docs/report/report.md until a run has measured it.
"""

from ml_collections import ConfigDict

from jaxcbm.experiment.config import default_config


def get_config() -> ConfigDict:
    """Official splits; annotations are what annotators called probably or definitely so."""
    config = default_config()
    config.data.name = "tfds"
    config.data.tfds_name = "caltech_birds2011"
    config.data.tfds_data_dir = "data"
    config.data.valid_fraction = 0.1
    config.concepts = "cub"
    config.encoder.name = "openai/clip-vit-base-patch32"
    config.training.epochs = 60
    return config
