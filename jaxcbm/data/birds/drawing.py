"""One bird in one scene, painted with Pillow.

The bird is described in its own units, facing right, y down: its body is about 1.4 units long, the
head stands at the upper right and the feet below. A `Frame` carries it into the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from jaxcbm.data.birds import outlines
from jaxcbm.data.birds.background import paint_background, paint_leaves, paint_mark
from jaxcbm.data.birds.canvas import Canvas, Colour, Frame, curve, mix
from jaxcbm.data.birds.scene import Scene
from jaxcbm.data.birds.species import ATTRIBUTES, Values

SUPERSAMPLING = 3
_PALETTE: dict[str, Colour] = {
    "red": (180, 56, 48),
    "yellow": (228, 184, 66),
    "blue": (66, 110, 170),
    "black": (46, 44, 50),
    "white": (242, 237, 226),
    "brown": (128, 90, 60),
    "green": (100, 140, 82),
    "grey": (140, 144, 150),
    "orange": (220, 130, 56),
    "pink": (224, 150, 152),
}
_CREAM: Colour = (234, 222, 198)
_DARK: Colour = (40, 34, 34)
_PAINTED = ("crown", "bill", "back", "belly", "legs", "face", "wing", "tail")


@dataclass(frozen=True, eq=False)
class _Bird:
    """What the painters share: the words for its values, its colours, and where its parts lie."""

    words: dict[str, str]
    colours: dict[str, Colour]
    body: Frame
    head: Frame
    ground: Frame
    unit: float


def draw_bird(values: Values, scene: Scene, size: int = 64, mark: int | None = None) -> np.ndarray:
    """Paint a bird, uint8 [size, size, 3], of these positions in the values of `ATTRIBUTES`.

    The picture bears a mark where one is given, see `paint_mark`.

    >>> from jaxcbm.data.birds.scene import sample_scene
    >>> draw_bird((0,) * 14, sample_scene(np.random.default_rng(0))).shape
    (64, 64, 3)
    """
    side = size * SUPERSAMPLING
    words = _words(values)
    bird = _place(words, scene, side)
    feet = bird.ground([0.0, _foot_y(words)])
    canvas = Canvas(paint_background(scene, side, float(feet[1])))
    for paint in _PAINTERS.values():
        paint(canvas, bird)
    mask = canvas.mask.copy()
    paint_leaves(canvas, scene)
    if mark is not None:
        paint_mark(canvas, mark)
    image, mask = canvas.image.reduce(SUPERSAMPLING), mask.reduce(SUPERSAMPLING)
    return _light(image, mask, scene)


def draw_parts(values: Values, scene: Scene, size: int = 64) -> dict[str, np.ndarray]:
    """Where each attribute can be seen in the picture that `draw_bird` paints.

    Returns:
        Name of the attribute -> bool [size, size], false where leaves or other parts are in front.
        The wing counts as back too, as it is painted in its colour; the size is the whole bird's.

    >>> from jaxcbm.data.birds.scene import sample_scene
    >>> parts = draw_parts((0,) * 14, sample_scene(np.random.default_rng(0)))
    >>> bool((parts["crown"] <= parts["size"]).all()), int(parts["crown"].sum() > 0)
    (True, 1)
    """
    side = size * SUPERSAMPLING
    bird = _place(_words(values), scene, side)
    canvas = Canvas(Image.new("RGB", (side, side)))
    painters = [*_PAINTERS.items(), ("", lambda canvas, _: paint_leaves(canvas, scene))]
    front = np.full((side, side), "", object)
    for name, paint in painters:
        canvas.mask.paste(0, (0, 0, side, side))
        paint(canvas, bird)
        front[np.asarray(canvas.mask) > 0] = name
    blocks = front.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING)
    seen = {name: (blocks == name).mean(axis=(1, 3)) for name in _PAINTERS}
    return {
        attribute: np.sum([seen[name] for name in names], axis=0) >= 0.5
        for attribute, names in PARTS.items()
    }


def _words(values: Values) -> dict[str, str]:
    return {
        attribute.name: attribute.values[value]
        for attribute, value in zip(ATTRIBUTES, values, strict=True)
    }


def _place(words: dict[str, str], scene: Scene, side: int) -> _Bird:
    unit = side * scene.zoom * (0.37 if words["size"] == "large" else 0.295)
    right = max(x for x, _ in outlines.BILLS[words["bill_shape"]])
    left = -0.5 - 0.86 * max(along for along, _ in outlines.TAILS[words["tail"]])
    foot, top = _foot_y(words), -0.93
    middle = np.array([scene.facing * (left + right) / 2, (foot + top) / 2 + 0.02])
    shift = side * (0.5 + np.array(scene.offset)) - unit * middle
    ground = Frame(unit * np.diag([scene.facing, 1.0]), shift)
    body = ground.turned(scene.tilt, about=(0.05, 0.1))
    head = body.turned(scene.head_turn, about=(0.36, -0.4))
    return _Bird(words, _colours(words, scene), body, head, ground, unit)


def _foot_y(words: dict[str, str]) -> float:
    return 1.0 if words["leg_length"] == "long" else 0.68


def _colours(words: dict[str, str], scene: Scene) -> dict[str, Colour]:
    back = _PALETTE[words["back"]]
    plain = {
        "crown": _PALETTE[words["crown"]],
        "bill": _PALETTE[words["bill_colour"]],
        "back": back,
        "belly": _PALETTE[words["belly"]],
        "legs": _PALETTE[words["leg_colour"]],
        "face": mix(back, _CREAM, 0.45),
        "wing": mix(back, _DARK, 0.3),
        "tail": mix(back, _DARK, 0.22),
    }
    # Parts that show the back's colour move together.
    shifts = dict(zip(_PAINTED, scene.jitter_Px3, strict=True))
    for part in ("face", "wing", "tail"):
        shifts[part] = shifts["back"]
    return {part: _shifted(plain[part], shifts[part]) for part in _PAINTED}


def _shifted(colour: Colour, shift_3: np.ndarray) -> Colour:
    red, green, blue = np.clip(np.array(colour) + shift_3, 0, 255).astype(int).tolist()
    return red, green, blue


def _tail(canvas: Canvas, bird: _Bird) -> None:
    half = np.array(outlines.TAILS[bird.words["tail"]])
    outline = np.vstack([half, (half * [1, -1])[::-1]])
    if bird.words["tail"] == "rounded":
        outline = curve(outline)
    along = np.array([-0.86, 0.5])
    axes = np.stack([along, [0.5, 0.86]])
    length = half[:, 0].max()

    def place(points: np.ndarray) -> np.ndarray:
        return bird.body(np.array([-0.56, 0.2]) + points @ axes)

    def band(start: float, stop: float) -> np.ndarray:
        return place(np.array([[start, -0.5], [stop, -0.5], [stop, 0.5], [start, 0.5]]))

    canvas.fill(place(outline), bird.colours["tail"])
    pale = _PALETTE["white"]
    if bird.words["tail_mark"] == "bands":
        count = max(2, round(length / 0.24))
        starts = 0.16 + (length - 0.16) * np.arange(count) / count
        bands = [band(start, start + 0.1) for start in starts]
        canvas.inside(place(outline), bands, mix(pale, _PALETTE["brown"], 0.15))
    elif bird.words["tail_mark"] == "tip":
        canvas.inside(place(outline), [band(length - max(0.17, 0.36 * length), 2.0)], pale)


def _legs(canvas: Canvas, bird: _Bird) -> None:
    colour, foot_y = bird.colours["legs"], _foot_y(bird.words)
    for hip_x, foot_x, tone in ((0.2, 0.17, 0.18), (0.02, -0.04, 0.0)):
        shade = mix(colour, _DARK, tone)
        hip = bird.body([hip_x, 0.36])
        foot = bird.ground([foot_x, foot_y])
        canvas.line(np.stack([hip, foot]), shade, 0.085 * bird.unit)
        for toe in (-0.11, 0.09, 0.17):
            tip = bird.ground([foot_x + toe, foot_y + 0.035])
            canvas.line(np.stack([foot, tip]), shade, 0.065 * bird.unit)


def _bill(canvas: Canvas, bird: _Bird) -> None:
    shape = bird.words["bill_shape"]
    points = np.array(outlines.BILLS[shape])
    # Straight bills keep their corners; the others are rounded.
    outline = points if shape in ("straight", "cone") else curve(points)
    colour = bird.colours["bill"]
    canvas.fill(bird.head(outline), colour)
    lower = len(points) // 2 + 1
    under = np.vstack([points[lower - 1 :], [[0.6, -0.47]]])
    canvas.fill(bird.head(under), mix(colour, _DARK, 0.25))


def _trunk(canvas: Canvas, bird: _Bird) -> None:
    canvas.fill(curve(bird.body(outlines.TRUNK)), bird.colours["back"])


def _skull(canvas: Canvas, bird: _Bird) -> None:
    canvas.fill(curve(bird.head(outlines.SKULL)), bird.colours["face"])


def _breast(canvas: Canvas, bird: _Bird) -> None:
    belly = curve(bird.body(outlines.BELLY))
    canvas.fill(belly, bird.colours["belly"])
    mark = mix(bird.colours["belly"], _DARK, 0.78)
    if bird.words["breast"] == "spots":
        canvas.inside(belly, list(bird.body(outlines.BREAST_SPOTS)), mark, dots=0.052 * bird.unit)
    elif bird.words["breast"] == "stripes":
        stripes = []
        for x, y in ((0.54, -0.14), (0.4, -0.08), (0.26, 0.04), (0.12, 0.16), (-0.04, 0.22)):
            top, foot = [[x - 0.03, y], [x + 0.03, y]], [[x - 0.13, y + 0.42], [x - 0.2, y + 0.42]]
            stripes.append(bird.body(top + foot))
        canvas.inside(belly, stripes, mark)
    elif bird.words["breast"] == "band":
        canvas.inside(belly, [curve(bird.body(outlines.BREAST_BAND))], mark)


def _wing(canvas: Canvas, bird: _Bird) -> None:
    points = np.array(outlines.WING)
    outline = curve(bird.body(points))
    shadow = curve(bird.body(points + np.array([0.02, 0.045])))
    canvas.fill(shadow, mix(bird.colours["back"], _DARK, 0.55))
    colour = bird.colours["wing"]
    canvas.fill(outline, colour)
    for start, stop in (((-0.1, 0.12), (-0.76, 0.37)), ((-0.2, 0.22), (-0.66, 0.37))):
        feather = bird.body([start, stop])
        canvas.line(feather, mix(colour, _DARK, 0.35), 0.025 * bird.unit)
    pale = _PALETTE["white"]
    if bird.words["wing"] == "bars":
        bars = [
            bird.body([[x, -0.4], [x + 0.1, -0.4], [x + 0.2, 0.5], [x + 0.1, 0.5]])
            for x in (-0.36, -0.12)
        ]
        canvas.inside(outline, bars, pale)
    elif bird.words["wing"] == "spots":
        canvas.inside(outline, list(bird.body(outlines.WING_SPOTS)), pale, dots=0.05 * bird.unit)
    elif bird.words["wing"] == "patch":
        canvas.inside(outline, [curve(bird.body(outlines.WING_PATCH))], pale)


def _crown(canvas: Canvas, bird: _Bird) -> None:
    crest = outlines.CRESTS.get(bird.words["head"])
    if crest is not None:
        canvas.fill(bird.head(crest), bird.colours["crown"])
    canvas.fill(curve(bird.head(outlines.CROWN)), bird.colours["crown"])


def _face(canvas: Canvas, bird: _Bird) -> None:
    eye = bird.head([0.47, -0.5])
    if bird.words["face"] == "stripe":
        canvas.fill(curve(bird.head(outlines.EYE_STRIPE)), _DARK)
    elif bird.words["face"] == "ring":
        canvas.disc(eye, 0.165 * bird.unit, _PALETTE["white"])
    canvas.disc(eye, 0.09 * bird.unit, (28, 24, 26))
    glint = bird.head([0.5, -0.535])
    canvas.disc(glint, 0.034 * bird.unit, (250, 250, 246))


# From back to front.
_PAINTERS: dict[str, Callable[[Canvas, _Bird], None]] = {
    "tail": _tail,
    "legs": _legs,
    "bill": _bill,
    "trunk": _trunk,
    "skull": _skull,
    "breast": _breast,
    "wing": _wing,
    "crown": _crown,
    "face": _face,
}
# By what is painted where an attribute shows.
PARTS: dict[str, tuple[str, ...]] = {
    "crown": ("crown",),
    "head": ("crown",),
    "face": ("skull", "face"),
    "bill_shape": ("bill",),
    "bill_colour": ("bill",),
    "back": ("trunk", "wing"),
    "belly": ("breast",),
    "breast": ("breast",),
    "wing": ("wing",),
    "tail": ("tail",),
    "tail_mark": ("tail",),
    "leg_colour": ("legs",),
    "leg_length": ("legs",),
    "size": tuple(_PAINTERS),
}


def _light(image: Image.Image, mask: Image.Image, scene: Scene) -> np.ndarray:
    """Round the bird by shading its rim, then the light of the scene and the camera's grain."""
    size = image.size[0]
    soft = mask.filter(ImageFilter.GaussianBlur(size / 22))
    depth_SxS = np.asarray(soft, np.float32) / 255.0
    inside_SxS = np.asarray(mask, np.float32) / 255.0
    # The blurred mask falls off towards the rim: its slope says which way the surface looks.
    slope_SxS = np.zeros_like(depth_SxS)
    slope_SxS[1:-1] = (depth_SxS[2:] - depth_SxS[:-2]) * (size / 64)
    relief_SxS = 1.0 + inside_SxS * (1.1 * np.clip(slope_SxS, -0.25, 0.12) + 0.05)
    ticks = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    across = np.cos(scene.shade_angle) * ticks[None, :] + np.sin(scene.shade_angle) * ticks[:, None]
    shade_SxS = 1.0 - scene.shade / (1.0 + np.exp(-8.0 * across))
    light_SxSx1 = (scene.brightness * relief_SxS * shade_SxS)[:, :, None]
    grain = np.random.default_rng(scene.grain_seed).standard_normal((size, size, 1), np.float32)
    pixels = np.asarray(image, np.float32) * light_SxSx1 * scene.cast_3.astype(np.float32)
    return np.clip(pixels + scene.grain * grain, 0, 255).astype(np.uint8)
