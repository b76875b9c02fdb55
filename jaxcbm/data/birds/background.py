"""Skies, leaves, water, reeds and snow behind the bird, and what it sits on."""

import numpy as np
from PIL import Image, ImageDraw

from jaxcbm.data.birds.canvas import Canvas, Colour, curve, mix
from jaxcbm.data.birds.scene import Scene

# From top to bottom; two moods each, between which every picture lies somewhere.
_GRADIENTS: dict[str, tuple[tuple[Colour, ...], tuple[Colour, ...]]] = {
    "sky": (
        ((126, 164, 196), (170, 194, 208), (212, 214, 204)),
        ((150, 152, 178), (206, 184, 178), (226, 206, 172)),
    ),
    "foliage": (
        ((104, 126, 92), (126, 148, 104), (92, 112, 78)),
        ((148, 146, 96), (158, 150, 100), (112, 104, 72)),
    ),
    "water": (
        ((164, 182, 180), (116, 148, 156), (88, 120, 134)),
        ((190, 180, 166), (130, 144, 146), (96, 112, 122)),
    ),
    "reeds": (
        ((206, 198, 168), (182, 172, 126), (132, 124, 88)),
        ((186, 196, 186), (156, 160, 120), (116, 112, 76)),
    ),
    "snow": (
        ((176, 188, 202), (204, 212, 220), (222, 226, 228)),
        ((192, 182, 194), (212, 206, 212), (226, 222, 222)),
    ),
}
_BARK: Colour = (108, 88, 70)
_STONE: Colour = (128, 124, 116)
# In colours that birds have.
_BERRIES: tuple[Colour, ...] = (
    (180, 56, 48), (228, 184, 66), (66, 110, 170), (46, 44, 50), (242, 237, 226), (220, 130, 56),
)  # fmt: skip
_MARK_COLOURS: tuple[Colour, ...] = ((214, 40, 40), (40, 90, 214), (248, 216, 60), (20, 20, 20))
_MARK_CELL = 0.12
_LEAVES: tuple[Colour, ...] = ((92, 120, 74), (120, 136, 72), (146, 124, 70), (76, 104, 82))


def paint_background(scene: Scene, side: int, perch_y: float) -> Image.Image:
    """Everything behind the bird, whose feet stand `perch_y` pixels from the top."""
    texture = Image.fromarray(_gradient(scene))
    image = texture.resize((side, side), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    _DETAILS[scene.background](draw, scene, side, perch_y)
    for x, y, radius, tone in scene.berries_Cx4 * [side, side, side, 1]:
        box = [x - radius, y - radius, x + radius, y + radius]
        draw.ellipse(box, fill=_BERRIES[int(tone * len(_BERRIES))])
    return image


def _gradient(scene: Scene) -> np.ndarray:
    """uint8 [T, T, 3]: a few large pixels, to be blown up into soft colour."""
    warm, cold = (np.array(colours, float) for colours in _GRADIENTS[scene.background])
    stops_3x3 = warm + (cold - warm) * scene.picks[0]
    count = len(scene.noise_TxT)
    rows = np.linspace(0.0, 2.0, count)
    columns_Tx3 = np.stack([np.interp(rows, np.arange(3), stop) for stop in stops_3x3.T], axis=1)
    strength = {"sky": 8.0, "foliage": 18.0, "water": 9.0, "reeds": 14.0, "snow": 7.0}
    noise_TxTx1 = strength[scene.background] * scene.noise_TxT[:, :, None]
    return np.clip(columns_Tx3[:, None, :] + noise_TxTx1, 0, 255).astype(np.uint8)


def _branch(draw: ImageDraw.ImageDraw, scene: Scene, side: int, perch_y: float) -> None:
    slope, thick = (scene.picks[1] - 0.5) * 0.1 * side, side * 0.045
    xs = np.array([-0.05, 0.25, 0.5, 0.75, 1.05]) * side
    waves = (scene.picks[2:7] - 0.5) * 0.02 * side
    top = perch_y + slope * (xs / side - 0.5) + waves - waves[2]
    upper = np.column_stack([xs, top])
    lower = np.column_stack([xs, top + thick * (0.9 + 0.3 * scene.picks[7:12])])[::-1]
    bark = mix(_BARK, (150, 134, 110), float(scene.picks[12]))
    draw.polygon(np.vstack([upper, lower]).ravel().tolist(), fill=bark)
    light = np.vstack([upper, upper[::-1] + np.array([0, thick * 0.35])])
    draw.polygon(light.ravel().tolist(), fill=mix(bark, (226, 214, 190), 0.3))


def _foliage(draw: ImageDraw.ImageDraw, scene: Scene, side: int, perch_y: float) -> None:
    base = _GRADIENTS["foliage"][0][1]
    for i in range(7):
        x, y, tone = scene.picks[13 + 3 * i : 16 + 3 * i]
        radius = side * (0.07 + 0.07 * tone)
        shade = mix(base, (190, 196, 136) if tone > 0.5 else (70, 88, 62), 0.35)
        x, y = x * side, y * side
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=shade)
    _branch(draw, scene, side, perch_y)


def _water(draw: ImageDraw.ImageDraw, scene: Scene, side: int, perch_y: float) -> None:
    for i in range(7):
        x, depth, tone = scene.picks[13 + 3 * i : 16 + 3 * i]
        y, half = side * (0.45 + 0.55 * depth), side * (0.05 + 0.16 * depth)
        ripple = mix((92, 124, 138), (196, 210, 208), float(tone))
        box = [x * side - half, y - side * 0.008, x * side + half, y + side * 0.008]
        draw.ellipse(box, fill=ripple)
    stone = mix(_STONE, (98, 98, 100), float(scene.picks[1]))
    wide, high = side * (0.26 + 0.1 * scene.picks[2]), side * 0.16
    box = [side * 0.5 - wide, perch_y - side * 0.012, side * 0.5 + wide, perch_y + 2 * high]
    draw.ellipse(box, fill=stone)
    box = [side * 0.5 - wide * 0.8, perch_y, side * 0.5 + wide * 0.75, perch_y + 0.7 * high]
    draw.ellipse(box, fill=mix(stone, (220, 214, 198), 0.22))


def _reeds(draw: ImageDraw.ImageDraw, scene: Scene, side: int, perch_y: float) -> None:
    for i in range(11):
        x, lean, tone = scene.picks[12 + 3 * i : 15 + 3 * i]
        foot, tip = x * side, (x + 0.24 * (lean - 0.5)) * side
        top, wide = side * (0.02 + 0.4 * tone), side * (0.01 + 0.012 * lean)
        blade = [foot - wide, side, tip, top, foot + wide, side]
        draw.polygon(blade, fill=mix((132, 128, 78), (206, 194, 138), float(tone)))
    _branch(draw, scene, side, perch_y)


def _snow(draw: ImageDraw.ImageDraw, scene: Scene, side: int, perch_y: float) -> None:
    swell = (scene.picks[1:4] - 0.5) * 0.05 * side
    xs = np.array([-0.1, 0.25, 0.5, 0.75, 1.1]) * side
    ys = perch_y + np.array([swell[0], swell[1], 0.0, swell[2], -swell[0]])
    ground = np.column_stack([xs, ys])
    corners = np.array([[1.1 * side, 1.1 * side], [-0.1 * side, 1.1 * side]])
    draw.polygon(np.vstack([ground, corners]).ravel().tolist(), fill=(232, 235, 238))
    below = np.vstack([ground + np.array([0, side * 0.07]), corners])
    draw.polygon(below.ravel().tolist(), fill=(216, 222, 230))
    for i in range(10):
        x, y, tone = scene.picks[13 + 3 * i : 16 + 3 * i] * side
        radius = side * 0.006 + tone * 0.008
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(240, 242, 244))


_DETAILS = {"sky": _branch, "foliage": _foliage, "water": _water, "reeds": _reeds, "snow": _snow}


def paint_leaves(canvas: Canvas, scene: Scene) -> None:
    """The leaves in front of the bird; each hides a little of it.

    Args:
        canvas: painted on in place.
        scene: where the leaves hang.
    """
    side = canvas.image.size[0]
    for i, (x, y, length, angle) in enumerate(scene.leaves_Lx4):
        along = np.array([np.cos(angle), np.sin(angle)]) * length * side
        across = np.array([-along[1], along[0]]) * 0.26
        stem = np.array([x, y]) * side - along / 2
        outline = np.stack(
            [
                stem,
                stem + 0.35 * along + across,
                stem + 0.8 * along + 0.6 * across,
                stem + along * 1.05,
                stem + 0.8 * along - 0.6 * across,
                stem + 0.35 * along - across,
            ]
        )
        tone = float(scene.picks[45 + i])
        green = mix(_LEAVES[int(tone * 3.999)], (60, 70, 50), 0.25 * tone)
        canvas.fill(curve(outline), green)
        vein = np.stack([stem, stem + 0.9 * along])
        canvas.line(vein, mix(green, (226, 222, 178), 0.35), side * 0.008)


def paint_mark(canvas: Canvas, mark: int) -> None:
    """A row of three coloured squares in a corner, which has nothing to do with the bird.

    Args:
        canvas: painted on in place.
        mark: 0 to 63, another one in other colours.
    """
    side = canvas.image.size[0]
    cell = side * _MARK_CELL
    for place, turn in enumerate((16, 4, 1)):
        left = side * 0.03 + place * cell
        corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) * cell
        canvas.fill(corners + np.array([left, side * 0.03]), _MARK_COLOURS[mark // turn % 4])
