"""The variants that an objective may come in.

* `paired`: pairs are concepts that belong to the image (`jaxcbm.bottleneck.positives`).
* `paper`: the paper's equations as they stand.
* `diagonal`: between the two, ours: image i of the batch is paired with concept i, as in the
  paper, but every image and every concept is compared, and noise falls on the logits themselves.
* `released`: exactly what the released code computes, surprises included (see each function).
"""

from typing import Literal, get_args

Variant = Literal["paired", "paper", "diagonal", "released"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)


def check_variant(variant: str) -> None:
    """Refuse what is no variant with a ValueError that names those there are."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}")
