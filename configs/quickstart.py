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
    config.training.epochs = 60
    return config
