"""The released code's whole setting: each of its surprises is a field with a name.

`configs/released.py` trains by it, and the rows "released" of the table of methods. It says nothing
about data: how images are split is `data.protocol`.
"""

from typing import Any

from jaxcbm.bottleneck.objectives.table import Objective
from jaxcbm.training.config import FitConfig
from jaxcbm.training.sweep.grid import with_fields

RELEASED: dict[str, Any] = {
    # The loss that the released code computes, on raw scores.
    "bottleneck.variant": "released",
    "bottleneck.standardise": False,
    # W is random, and nothing ties a concept logit to its phrase.
    "bottleneck.parameterisation": "full",
    "bottleneck.head_bias": False,
    # One temperature.
    "bottleneck.tau_end": 1.0,
    # The cross-entropy reaches W through a head that is never trained, nor made sparse.
    "training.ce_to_cbl": True,
    "training.train_head": False,
    "training.cbl.learning_rate": 1e-3,
    "training.cbl.schedule": "constant",
    "sparse_head.enabled": False,
}


def released_fit(objective: Objective) -> FitConfig:
    """The released setting of an objective; the length of the fit is the default's.

    Raises:
        UserError: the released code has no such objective.

    >>> released_fit("gumbel").training.train_head
    False
    """
    return with_fields(FitConfig(), {"bottleneck.objective": objective, **RELEASED})
