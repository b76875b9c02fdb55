"""Everything in a picture that is not the species: pose, background, light and what hides the bird.

A scene is drawn before the bird is known and never depends on it.
"""

from dataclasses import dataclass, replace

import numpy as np

BACKGROUNDS = ("sky", "foliage", "water", "reeds", "snow")


@dataclass(frozen=True, eq=False)
class Scene:
    """The nuisances of one picture.

    Attributes:
        background: one of `BACKGROUNDS`.
        facing: 1 to the right, -1 to the left.
        tilt: of the whole body, radians, positive is tail up.
        head_turn: of the head about the neck, radians.
        zoom: multiplies the size of the bird.
        offset: of the bird from the middle, in parts of the picture.
        jitter_Px3: shifts of the bird's colours, in 0 .. 255, one a painted part.
        brightness: multiplies the picture.
        cast_3: multiplies its channels.
        shade: strength of a soft shadow that falls across the picture, 0 .. 1.
        shade_angle: where that shadow comes from, radians.
        noise_TxT: smooth noise, for soft textures, about -1 .. 1.
        picks: uniform in 0 .. 1, what a background draws its details from.
        leaves_Lx4: leaves before the bird: x and y in parts of the picture, length, angle.
        berries_Cx4: berries behind it: x, y and radius in parts of the picture, tone in 0 .. 1.
        grain: strength of the pixel noise, in 0 .. 255.
        grain_seed: of that noise.
    """

    background: str
    facing: int
    tilt: float
    head_turn: float
    zoom: float
    offset: tuple[float, float]
    jitter_Px3: np.ndarray
    brightness: float
    cast_3: np.ndarray
    shade: float
    shade_angle: float
    noise_TxT: np.ndarray
    picks: np.ndarray
    leaves_Lx4: np.ndarray
    berries_Cx4: np.ndarray
    grain: float
    grain_seed: int


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene.

    Args:
        rng: the only source of chance.

    Returns:
        A `Scene`.

    >>> sample_scene(np.random.default_rng(3)).background
    'sky'
    """
    leaf_count = int(rng.choice([0, 1, 2, 3], p=[0.35, 0.3, 0.2, 0.15]))
    return Scene(
        background=BACKGROUNDS[rng.integers(len(BACKGROUNDS))],
        facing=int(rng.choice([-1, 1])),
        tilt=float(rng.uniform(-0.3, 0.3)),
        head_turn=float(rng.uniform(-0.3, 0.25)),
        zoom=float(rng.uniform(0.9, 1.08)),
        offset=(float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-0.08, 0.08))),
        jitter_Px3=rng.normal(0.0, 11.0, (8, 1)) + rng.normal(0.0, 3.0, (8, 3)),
        brightness=float(rng.uniform(0.66, 1.12)),
        cast_3=rng.uniform(0.88, 1.12, 3),
        shade=float(rng.uniform(0.0, 0.5)),
        shade_angle=float(rng.uniform(0.0, 2 * np.pi)),
        noise_TxT=rng.uniform(-1.0, 1.0, (7, 7)),
        picks=rng.uniform(size=48),
        leaves_Lx4=_leaves(rng, leaf_count),
        berries_Cx4=np.zeros((0, 4)),
        grain=float(rng.uniform(1.0, 4.0)),
        grain_seed=int(rng.integers(2**32)),
    )


def strengthened(scene: Scene, strength: float, rng: np.random.Generator) -> Scene:
    """The same scene with what hides a bird drawn stronger; it stays as it is at strength 0.

    Args:
        scene: drawn by `sample_scene`.
        strength: 0 to 1; at 1 light and colour cast stray twice as far, grain is three times as
            strong, and four more leaves and 16 berries are painted. A greater strength keeps the
            leaves and berries of a smaller one.
        rng: where the leaves and berries are.

    Returns:
        A `Scene` of the same background and pose.

    >>> rng = np.random.default_rng(3)
    >>> strengthened(sample_scene(rng), 1.0, rng).berries_Cx4.shape
    (16, 4)
    """
    leaves_Lx4 = _leaves(rng, 4)[rng.random(4) < strength]
    berries_Cx4 = rng.uniform([0, 0, 0.025, 0], [1, 1, 0.075, 1], (16, 4))
    return replace(
        scene,
        brightness=0.89 + (scene.brightness - 0.89) * (1 + strength),
        cast_3=1 + (scene.cast_3 - 1) * (1 + strength),
        shade=min(scene.shade * (1 + strength), 0.9),
        picks=np.concatenate([scene.picks, rng.random(4)]),
        leaves_Lx4=np.concatenate([scene.leaves_Lx4, leaves_Lx4]),
        berries_Cx4=berries_Cx4[rng.random(16) < strength],
        grain=scene.grain * (1 + 2 * strength),
    )


def _leaves(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.column_stack(
        [
            rng.uniform(0.0, 1.0, count),
            rng.uniform(0.0, 1.0, count),
            rng.uniform(0.14, 0.24, count),
            rng.uniform(0.0, 2 * np.pi, count),
        ]
    )
