"""The table of filters: what each looks at, its settings, and its flag. Adding one is a row here.

Nothing heavy is imported, as the command line reads its flags from here.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple


class Filter(NamedTuple):
    """A filter as the pipeline and the command line know it.

    Attributes:
        home: its module in this package, and its function there: phrases, evidence and settings
            to D reasons, "" where a phrase stays.
        evidence: the fields of `Evidence` that it is given after the phrases.
        defaults: its settings; the flag sets the first.
        by_default: whether it runs where nothing is said.
        flag: of `jaxcbm concepts filter`; "" where there is nothing to set.
        unit: what the flag counts or measures.
        meaning: what it drops, for --help.
    """

    home: str
    evidence: tuple[str, ...]
    defaults: Mapping[str, Any]
    by_default: bool = False
    flag: str = ""
    unit: str = "NUMBER"
    meaning: str = ""

    @property
    def function(self) -> Callable[..., list[str]]:
        """The filter itself."""
        module, _, name = self.home.partition(".")
        return getattr(import_module(f"{__package__}.{module}"), name)


# In the order in which they run.
FILTERS: dict[str, Filter] = {
    "length": Filter(
        "text.too_long",
        (),
        {"at_most": 30},
        by_default=True,
        flag="--max-characters",
        meaning="drop longer phrases",
    ),
    "duplicates": Filter("text.near_duplicates", (), {}, by_default=True),
    "classes": Filter(
        "similarity.like_a_class",
        ("texts", "classes", "class_texts"),
        {"below": 0.85},
        by_default=True,
        flag="--class-similarity",
        unit="COSINE",
        meaning="drop phrases as similar to a class name",
    ),
    "similar": Filter(
        "similarity.like_another",
        ("texts",),
        {"below": 0.90},
        by_default=True,
        flag="--phrase-similarity",
        unit="COSINE",
        meaning="drop phrases as similar to an earlier one",
    ),
    "visible": Filter(
        "image.not_visible",
        ("pictured", "images"),
        {"at_least": 0.25, "top": 5},
        flag="--visible",
        unit="COSINE",
        meaning="drop phrases whose 5 best pictures score less on average (0.25 suits CLIP)",
    ),
    "varying": Filter(
        "image.not_varying",
        ("pictured", "images"),
        {"at_least": 0.01},
        flag="--varying",
        unit="COSINE",
        meaning="drop phrases whose scores deviate by less",
    ),
    "informative": Filter(
        "image.uninformative",
        ("pictured", "images", "labels"),
        {"at_least": 0.02, "bins": 8},
        flag="--informative",
        unit="NATS",
        meaning="drop phrases that tell less of the label",
    ),
    "cover": Filter(
        "class_cover.uncovering",
        ("pictured", "images", "labels"),
        {"per_class": 10},
        flag="--per-class",
        unit="K",
        meaning="keep the K phrases per class that set it apart",
    ),
}
