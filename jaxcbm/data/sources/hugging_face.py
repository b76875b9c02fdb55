"""Pictures of a Hugging Face `datasets` object, which says itself what its columns are.

The library is not imported: a dataset is asked by position, by column name and for its features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxcbm.errors import UserError


@dataclass(frozen=True, eq=False)
class ImageColumn:
    """The pictures of one column, decoded or as the bytes of a file, when asked for.

    Attributes:
        dataset: N rows by position, each a dict.
        column: which entry of a row is the picture.
    """

    dataset: Any
    column: str

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        found = self.dataset[int(index)][self.column]
        # Not decoded: the file's bytes, or where it lies.
        return (found["bytes"] or found["path"]) if isinstance(found, Mapping) else found


def labelled_rows(
    dataset: Any, image: str | None, label: str | None
) -> tuple[ImageColumn, list[Any], list[str] | None]:
    """The pictures and labels of a dataset with random access.

    Args:
        dataset: one split.
        image: column of the pictures; None: the only one of them.
        label: column of the classes, class positions or names; None: the only one that names its
            classes.

    Returns:
        N pictures, their N class positions or names, and K names (None where labels are names).

    Raises:
        UserError: no such column, several that may be meant, a stream, or several splits at once.
    """
    features = getattr(dataset, "features", None)
    if features is None and isinstance(dataset, Mapping):
        splits = ", ".join(map(str, dataset))
        raise UserError(f"several splits at once ({splits}): give one, as dataset['train']")
    if features is None or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise UserError(
            f"{type(dataset).__name__} cannot be read by position: load it without streaming=True"
        )
    image = _column(features, image, "image", "Image")
    label = _column(features, label, "label", "ClassLabel")
    names = getattr(features[label], "names", None)
    return ImageColumn(dataset, image), list(dataset[label]), names


def _column(features: Mapping[str, Any], wanted: str | None, role: str, kind: str) -> str:
    if wanted is None:
        found = [name for name, feature in features.items() if type(feature).__name__ == kind]
        if len(found) == 1:
            return found[0]
        said = f"{len(found)} columns are of type {kind}"
    elif wanted in features:
        return wanted
    else:
        said = f"no column {wanted!r}"
    raise UserError(f"{said}: give {role}=, one of {', '.join(features)}")
