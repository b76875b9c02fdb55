"""The released code's setting from end to end, on the drawn birds: to study what it does.

    jaxcbm train --config=configs/released.py --workdir=runs/released

Its loss on raw scores, a random W, no bias, a head that is neither trained nor made sparse, and the
last epoch, whatever validation says. The other objectives it has:
--config.bottleneck.objective=contrastive, l1 or similarity. Images are split officially;
--config.data.protocol=pooled splits them as the released code does, which tests on train images.
Both together are one column of `jaxcbm reproduce --protocol=pooled`. docs/released.md says what
each of its surprises costs.

Expected time and metrics: the rows "released" of docs/report/report.md.
"""

from ml_collections import ConfigDict

from jaxcbm.experiment.config import default_config
from jaxcbm.experiment.original import ORIGINAL


def get_config() -> ConfigDict:
    """Sparse-CBM as released; the data, phrases and encoder of the quick start."""
    config = default_config()
    config.data.name = "birds"
    config.concepts = "birds"
    config.encoder.name = "jaxcbm/tiny"
    config.bottleneck.objective = "gumbel"
    # 2,964 steps; the recorded runs took 10 epochs, which on CUB are 2,950.
    config.training.epochs = 39
    config.update_from_flattened_dict(ORIGINAL["released"])
    return config
