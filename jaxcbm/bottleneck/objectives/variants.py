"""The variants that an objective may come in.

* `released`: exactly what the released code computes, surprises included (see each function).
* `paper`: pairs on the diagonal: image i of the batch belongs to concept i.
* `paired`: pairs are concepts that belong to the image (`jaxcbm.bottleneck.positives`).
"""

from typing import Literal, get_args

Variant = Literal["released", "paper", "paired"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)


def check_variant(variant: str) -> None:
    """Refuse what is no variant with a ValueError that names those there are."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}")
