"""Everything in a picture that is not the species: pose, background, light and what hides the bird.

A scene is drawn before the bird is known and never depends on it.
"""

from dataclasses import dataclass

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
        leaves_Lx4=np.column_stack(
            [
                rng.uniform(0.0, 1.0, leaf_count),
                rng.uniform(0.0, 1.0, leaf_count),
                rng.uniform(0.14, 0.24, leaf_count),
                rng.uniform(0.0, 2 * np.pi, leaf_count),
            ]
        ),
        grain=float(rng.uniform(1.0, 4.0)),
        grain_seed=int(rng.integers(2**32)),
    )
