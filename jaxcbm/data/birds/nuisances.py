"""What can be said about a painted bird's picture that has nothing to do with its species.

Scenes are drawn before the bird is known: by construction, none of this tells the species. Concepts
that only say such things are the measure of leakage.
"""

from collections.abc import Callable

import numpy as np

from jaxcbm.data.birds.scene import Scene

_TRUE_OF: dict[str, Callable[[Scene], bool]] = {
    "bird against the sky": lambda scene: scene.background == "sky",
    "leaves behind the bird": lambda scene: scene.background == "foliage",
    "water behind the bird": lambda scene: scene.background == "water",
    "reeds behind the bird": lambda scene: scene.background == "reeds",
    "snow behind the bird": lambda scene: scene.background == "snow",
    "bird facing left": lambda scene: scene.facing < 0,
    "bird facing right": lambda scene: scene.facing > 0,
    "bird leaning forwards": lambda scene: scene.tilt > 0.1,
    "bird standing upright": lambda scene: scene.tilt < -0.1,
    "leaves before the bird": lambda scene: len(scene.leaves_Lx4) > 0,
    "bright light": lambda scene: scene.brightness > 0.97,
    "dim light": lambda scene: scene.brightness < 0.81,
    "warm light": lambda scene: scene.cast_3[0] > scene.cast_3[2] + 0.05,
    "cold light": lambda scene: scene.cast_3[2] > scene.cast_3[0] + 0.05,
    "soft shadow across the picture": lambda scene: scene.shade > 0.25,
}
NUISANCE_PHRASES = tuple(_TRUE_OF)


def annotate_scene(scene: Scene) -> np.ndarray:
    """Which of `NUISANCE_PHRASES` are true of a scene, float32 [15] of zeros and ones.

    >>> from jaxcbm.data.birds.scene import sample_scene
    >>> annotate_scene(sample_scene(np.random.default_rng(3)))[:5].tolist()
    [1.0, 0.0, 0.0, 0.0, 0.0]
    """
    return np.array([is_true(scene) for is_true in _TRUE_OF.values()], np.float32)
