"""Where in a picture a concept is: by hiding places, or by what the encoder says of each alone."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from jaxcbm.encoders.image.open import ImageLike
from jaxcbm.palette import light

if TYPE_CHECKING:
    from jaxcbm.model.model import Model

How = Literal["occlusion", "patches"]
# Cells a side, and cells that a hidden square spans; docs/concept_maps.md has the figures.
_CELLS, _HIDDEN = 12, 2


def concept_maps(model: "Model", image: ImageLike, phrases: Sequence[str], how: How) -> np.ndarray:
    """See `Model.concept_maps`."""
    columns, encoder = model.concepts.columns(phrases), model.loaded_encoder

    def logits(embeddings_NxE: np.ndarray) -> np.ndarray:
        return model.predict_embeddings(embeddings_NxE).concept_logits[:, columns]

    if how == "patches":
        places_HxWxE = encoder.embed_patches([image])[0]
        flat_NxP = logits(places_HxWxE.reshape(-1, places_HxWxE.shape[-1]))
        return flat_NxP.T.reshape(-1, *places_HxWxE.shape[:2])
    return occlusion_maps(
        encoder.preprocess(image), lambda pixels: logits(encoder.embed_pixels(pixels))
    )


def hidden_squares(cells: int = _CELLS, span: int = _HIDDEN) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of cells that each square hides; squares reach over the edges.

    >>> len(list(hidden_squares(4, 2))), next(hidden_squares(4, 2))
    (25, (slice(0, 1, None), slice(0, 1, None)))
    """
    reach = [slice(max(i, 0), min(i + span, cells)) for i in range(1 - span, cells)]
    for rows in reach:
        for columns in reach:
            yield rows, columns


def occlusion_maps(
    pixels_SxSx3: np.ndarray,
    concept_logits: Callable[[np.ndarray], np.ndarray],
    cells: int = _CELLS,
    span: int = _HIDDEN,
) -> np.ndarray:
    """By how much hiding a place lowers each concept: mean over the squares that hide it.

    Every place is hidden as often, by the mean colour of the picture.

    Args:
        pixels_SxSx3: uint8, as the encoder takes them.
        concept_logits: uint8 [N, S, S, 3] -> [N, P].
        cells: of the map, a side.
        span: of a hidden square.

    Returns:
        float32 [P, cells, cells].

    Reference: Zeiler and Fergus 2014 (arXiv 1311.2901), section 4.2.
    """
    fill_3 = pixels_SxSx3.mean(axis=(0, 1)).round()
    edges = np.round(np.linspace(0, len(pixels_SxSx3), cells + 1)).astype(int)
    squares = list(hidden_squares(cells, span))
    # The whole picture goes with them: all are then compiled for one number of pictures.
    shown = np.repeat(pixels_SxSx3[None], 1 + len(squares), axis=0)
    for picture, (rows, columns) in zip(shown[1:], squares, strict=True):
        inside = slice(edges[rows.start], edges[rows.stop])
        picture[inside, edges[columns.start] : edges[columns.stop]] = fill_3
    logits_NxP = concept_logits(shown)
    drops = np.zeros((logits_NxP.shape[1], cells, cells))
    counts = np.zeros((cells, cells))
    for logits_P, (rows, columns) in zip(logits_NxP[1:], squares, strict=True):
        drops[:, rows, columns] += (logits_NxP[0] - logits_P)[:, None, None]
        counts[rows, columns] += 1
    return (drops / counts).astype(np.float32)


def upscaled(map_HxW: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map at the size of a picture, bilinear, float32 [height, width]."""
    image = Image.fromarray(np.asarray(map_HxW, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def above_mean(map_HxW: np.ndarray) -> np.ndarray:
    """What of a map is higher than its mean, 0 to 1, 1 at its highest place; 0 if it is flat.

    >>> above_mean(np.array([[0.0, 0.0], [1.0, 3.0]])).tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    """
    above_HxW = np.maximum(map_HxW - map_HxW.mean(), 0.0)
    highest = above_HxW.max()
    return above_HxW / highest if highest > 0 else above_HxW


def overlay(image: Image.Image, map_HxW: np.ndarray, side: int = 160) -> Image.Image:
    """A picture with what its map says painted over it, the longer side of `side` pixels."""
    scale = side / max(image.size)
    width, height = (max(round(scale * edge), 1) for edge in image.size)
    shown = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    grey = np.asarray(shown.convert("L"), np.float32)[:, :, None]
    strength = 0.75 * above_mean(upscaled(map_HxW, height, width))[:, :, None]
    colour = np.array(_rgb(light("c1")), np.float32)
    return Image.fromarray((grey * (1 - strength) + colour * strength).astype(np.uint8), "RGB")


def _rgb(text: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue
