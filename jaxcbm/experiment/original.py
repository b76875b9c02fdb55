"""The settings of the original work: the paper's system by its equations, and its released code.

`configs/paper.py` and `configs/released.py` train by them, and the rows of both in the table of
methods. Where the paper is silent (optimizer, rate, length), its system has what the code has. They
say nothing about data: how images are split is `data.protocol`.
"""

from typing import Any, Literal

from jaxcbm.bottleneck.objectives.table import Objective
from jaxcbm.training.config import FitConfig
from jaxcbm.training.sweep.grid import with_fields

Setting = Literal["paper", "released"]

# Runs that the released code's notebooks record: 10 epochs, on CUB 295 batches of 32 images each.
_EPOCHS, _STEPS = 10, 2950

_COMMON: dict[str, Any] = {
    # Raw scores through a random W and a linear head; nothing ties a logit to its phrase.
    "bottleneck.standardise": False,
    "bottleneck.parameterisation": "full",
    "bottleneck.head_bias": False,
    # One temperature.
    "bottleneck.tau_end": 1.0,
    "training.batch_size": 32,
    "training.cbl.learning_rate": 1e-3,
    "training.cbl.schedule": "constant",
    "training.head.learning_rate": 1e-3,
    "training.head.schedule": "constant",
    # The head is dense.
    "sparse_head.enabled": False,
}
ORIGINAL: dict[Setting, dict[str, Any]] = {
    # W learns by its objective alone (l1 is a part of cross-entropy), the head by cross-entropy.
    "paper": _COMMON | {"bottleneck.variant": "paper"},
    "released": _COMMON
    | {
        "bottleneck.variant": "released",
        "bottleneck.cubed": False,
        # The cross-entropy reaches W through a head that is never trained.
        "training.ce_to_cbl": True,
        "training.train_head": False,
        # Validation chooses nothing.
        "training.keep_best": False,
    },
}


def original_fit(setting: Setting, objective: Objective, images: int) -> FitConfig:
    """The paper's or the released code's setting of an objective, for so many train images.

    It takes the 10 epochs of the recorded runs, and on fewer images than CUB's as many more as come
    to their 2,950 steps there.

    Raises:
        UserError: the original has no such objective.

    >>> released = original_fit("released", "gumbel", images=2448).training
    >>> released.train_head, released.epochs, 2448 // released.batch_size
    (False, 39, 76)
    >>> original_fit("paper", "gumbel", images=50_000).training.epochs
    10
    """
    values = {"bottleneck.objective": objective, **ORIGINAL[setting]}
    steps_an_epoch = max(images // values["training.batch_size"], 1)
    values["training.epochs"] = max(_EPOCHS, round(_STEPS / steps_an_epoch))
    return with_fields(FitConfig(), values)
