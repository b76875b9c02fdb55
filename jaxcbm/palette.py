"""The colours of every picture and page, for light and for dark.

The ten of curves are told apart by people who confuse red and green.
"""

# name -> (on light, on dark); no two names share a light colour, by which pictures are recoloured.
PALETTE = {
    "page": ("#ffffff", "#15181c"),
    "card": ("#f6f7f8", "#1e2227"),
    "text": ("#1d2126", "#e6e8ea"),
    "faint": ("#5a626c", "#a4abb4"),
    "rule": ("#d5d9de", "#3a4048"),
    "accent": ("#1f5fa6", "#7db4f0"),
    "warn": ("#8a4b00", "#f2c27a"),
    "warn-page": ("#fff3dd", "#3a2c12"),
    "positive": ("#1f7a5c", "#4fb892"),
    "negative": ("#b23f35", "#e57a70"),
    "neutral": ("#8a9099", "#8f959e"),
    "c0": ("#0072b2", "#5db3ea"),
    "c1": ("#d55e00", "#ff9a4d"),
    "c2": ("#009e73", "#3fcfa4"),
    "c3": ("#cc79a7", "#e6a3c7"),
    "c4": ("#56b4e9", "#a6d8f5"),
    "c5": ("#b8860b", "#e3b94a"),
    "c6": ("#4d4d4d", "#b9bec5"),
    "c7": ("#7b3294", "#b98ad0"),
    "c8": ("#8c564b", "#c99a8f"),
    "c9": ("#6b8e23", "#b5d96a"),
}


def light(name: str) -> str:
    """A colour of pictures, which have a light ground.

    >>> light("c0")
    '#0072b2'
    """
    return PALETTE[name][0]


CURVES = tuple(light(f"c{i}") for i in range(10))
