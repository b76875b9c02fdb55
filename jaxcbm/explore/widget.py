"""The explorer in a cell of a notebook: what is set there by hand comes back to Python."""

from collections.abc import Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from jaxcbm.data.image_set import ImageSet
from jaxcbm.encoders.image.batch import as_batch
from jaxcbm.encoders.image.open import ImageLike
from jaxcbm.errors import UserError
from jaxcbm.explore.page import script, stylesheet
from jaxcbm.explore.payload import payload_of
from jaxcbm.extras import import_extra
from jaxcbm.model.model import Model
from jaxcbm.model.prediction import Prediction

anywidget, traitlets = (
    import_extra(name, "jaxcbm[widget]", "Model.explore") for name in ("anywidget", "traitlets")
)


class ExplorerWidget(anywidget.AnyWidget):
    """The explorer of some pictures, and the corrections that are made in it.

    Attributes:
        corrections: picture -> phrase -> the activation that it was set to by hand, in the units
            of `Prediction.concept_activations`; pictures without any are left out.
        carry: picture -> whether its corrections move the other concepts along, as they do in the
            widget.
        payload: what the widget shows, from `payload_of`.
        stylesheet: its style, which applies to nothing else in the notebook.
    """

    _esm = script()
    corrections = traitlets.Dict().tag(sync=True)
    carry = traitlets.Dict().tag(sync=True)
    payload = traitlets.Dict().tag(sync=True)
    stylesheet = traitlets.Unicode().tag(sync=True)

    def __init__(self, model: Model, images: ImageLike | Iterable[ImageLike], maps: int):
        self._model, self._pictures = model, as_batch(images)
        count = range(len(self._pictures))
        self._names = [_name(self._pictures, i) for i in count]
        triples = (
            (self._names[i], self._pictures[i], _label(model, self._pictures, i)) for i in count
        )
        super().__init__(payload=payload_of(model, triples, maps=maps), stylesheet=stylesheet())

    def corrected(self, name: str) -> Prediction:
        """What the model says of a picture with the corrections that were made of it.

        Args:
            name: of the picture, as the widget shows it.

        Returns:
            `Model.intervene` of that picture; `Model.predict` where nothing was corrected.

        Raises:
            UserError: no such picture.
        """
        if name not in self._names:
            raise UserError(f"no picture named {name!r} in this widget")
        picture, known = self._pictures[self._names.index(name)], self.corrections.get(name)
        if not known:
            return self._model.predict(picture)
        return self._model.intervene(picture, known, carry=self.carry.get(name, False))


def _name(pictures: Any, position: int) -> str:
    """What a set calls it, a file's path, or which picture it is."""
    if isinstance(pictures, ImageSet):
        return pictures.source.name(position)
    picture = pictures[position]
    return fspath(picture) if isinstance(picture, str | PathLike) else f"picture {position + 1}"


def _label(model: Model, pictures: Any, position: int) -> int:
    """The class that a set, or the name of a file's folder, tells; -1 where none does."""
    told, picture = "", None if isinstance(pictures, ImageSet) else pictures[position]
    if isinstance(pictures, ImageSet) and pictures.labels[position] >= 0:
        told = pictures.classes[pictures.labels[position]]
    elif isinstance(picture, str | PathLike):
        told = Path(picture).resolve().parent.name
    return model.classes.index(told) if told in model.classes else -1
