"""A picture to paint smooth shapes on, and the mask of what has been painted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageChops, ImageDraw

Colour = tuple[int, int, int]

_STEPS = np.linspace(0.0, 1.0, 6, endpoint=False)
# Catmull-Rom: the curve from the second to the third of four points, row by row in time.
_BASIS_6x4 = 0.5 * np.stack(
    [
        -_STEPS + 2 * _STEPS**2 - _STEPS**3,
        2 - 5 * _STEPS**2 + 3 * _STEPS**3,
        _STEPS + 4 * _STEPS**2 - 3 * _STEPS**3,
        -(_STEPS**2) + _STEPS**3,
    ],
    axis=1,
)


def curve(points_Nx2: np.ndarray) -> np.ndarray:
    """A smooth closed curve through N points in order; every sixth of its 6 N rows is a point.

    >>> curve(np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 2.0]]))[6]
    array([2., 0.])
    """
    windows_Nx4x2 = np.stack([np.roll(points_Nx2, shift, axis=0) for shift in (1, 0, -1, -2)], 1)
    return (_BASIS_6x4 @ windows_Nx4x2).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class Frame:
    """Where a point of the bird lies in the picture: pixels = matrix @ point + shift.

    Attributes:
        matrix: float [2, 2].
        shift: float [2], in pixels.
    """

    matrix: np.ndarray
    shift: np.ndarray

    def __call__(self, points: ArrayLike) -> np.ndarray:
        return np.asarray(points) @ self.matrix.T + self.shift

    def turned(self, angle: float, about: tuple[float, float]) -> "Frame":
        """The same frame after turning the bird's points by an angle about one of them."""
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        pivot = np.array(about)
        return Frame(self.matrix @ turn, self(pivot - turn @ pivot))


class Canvas:
    """An RGB picture with a mask of the pixels that belong to the bird."""

    def __init__(self, image: Image.Image):
        self.image = image
        self.mask = Image.new("L", image.size)
        self._draw = ImageDraw.Draw(image)
        self._mask_draw = ImageDraw.Draw(self.mask)

    def fill(self, outline_Nx2: np.ndarray, colour: Colour) -> None:
        """Paint a shape, given in pixels."""
        flat = outline_Nx2.ravel().tolist()
        self._draw.polygon(flat, fill=colour)
        self._mask_draw.polygon(flat, fill=255)

    def line(self, points_Nx2: np.ndarray, colour: Colour, width: float) -> None:
        """Paint a line of a width in pixels, with round joints."""
        flat, pen = points_Nx2.ravel().tolist(), max(1, round(width))
        self._draw.line(flat, fill=colour, width=pen, joint="curve")
        self._mask_draw.line(flat, fill=255, width=pen, joint="curve")

    def disc(self, centre_2: np.ndarray, radius: float, colour: Colour) -> None:
        """Paint a disc; centre and radius in pixels."""
        x, y = centre_2.tolist()
        box = [x - radius, y - radius, x + radius, y + radius]
        self._draw.ellipse(box, fill=colour)
        self._mask_draw.ellipse(box, fill=255)

    def inside(
        self, outline_Nx2: np.ndarray, shapes: list[np.ndarray], colour: Colour, dots: float = 0.0
    ) -> None:
        """Paint shapes where they lie inside an outline.

        Args:
            outline_Nx2: what the shapes are clipped to, in pixels.
            shapes: polygons [N, 2], or centres [2] of dots.
            colour: their colour.
            dots: the radius of the dots, in pixels.
        """
        # Layers as small as the outline: a whole picture would cost more than all the painting.
        low = np.maximum(np.floor(outline_Nx2.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(outline_Nx2.max(axis=0)) + 1, self.image.size).astype(int)
        if (high <= low).any():
            return
        allowed, wanted = (Image.new("L", tuple((high - low).tolist())) for _ in range(2))
        ImageDraw.Draw(allowed).polygon((outline_Nx2 - low).ravel().tolist(), fill=255)
        pen = ImageDraw.Draw(wanted)
        for shape in shapes:
            if shape.ndim == 1:
                x, y = (shape - low).tolist()
                pen.ellipse([x - dots, y - dots, x + dots, y + dots], fill=255)
            else:
                pen.polygon((shape - low).ravel().tolist(), fill=255)
        self.image.paste(colour, tuple(low.tolist()), ImageChops.multiply(allowed, wanted))


def mix(first: Colour, second: Colour, part: float) -> Colour:
    """A colour between two others, `part` of the way to the second.

    >>> mix((0, 0, 0), (200, 100, 50), 0.5)
    (100, 50, 25)
    """
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
    return red, green, blue
