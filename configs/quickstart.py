"""48 species of drawn birds, the built-in encoder, a sparse concept bottleneck; no download.

    jaxcbm train --config=quickstart --workdir=runs/quickstart

Expected time and metrics: docs/report/report.md.
"""

from ml_collections import ConfigDict

from jaxcbm.experiment.config import default_config


def get_config() -> ConfigDict:
    """The defaults, spelled out where a reader may want to change them."""
    config = default_config()
    config.data.name = "birds"
    config.concepts = "birds"
    config.encoder.name = "jaxcbm/tiny"
    # The birds come with annotations: each concept is a logistic regression, and the head reads
    # how likely it is to be there (docs/decisions.md has the figures behind these numbers).
    config.bottleneck.objective = "sigmoid"
    config.bottleneck.sampler = "sigmoid"
    config.training.cbl.name = "adamw"
    config.training.cbl.learning_rate = 0.1
    config.training.cbl.weight_decay = 0.1
    config.training.epochs = 150
    return config
