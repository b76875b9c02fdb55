"""Running a tower at another resolution than it was trained at."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from jaxcbm.errors import UserError

_POSITIONS = "vision.positions"
_CUBIC = -0.75  # torch's constant


def at_image_size(config: Any, image_size: int) -> Any:
    """The same sizes of both towers for pictures of another size.

    Raises:
        UserError: it is no whole number of pixels of at least a patch.
    """
    least = getattr(config.vision, "patch_size", 1)
    if not isinstance(image_size, int) or image_size < least:
        raise UserError(f"image_size {image_size!r}; give a whole number of at least {least}")
    return replace(config, vision=replace(config.vision, image_size=image_size))


def fit_positions(params: Mapping[str, np.ndarray], old: Any, new: Any) -> dict[str, np.ndarray]:
    """Position embeddings of the image tower interpolated to another grid of patches.

    Bicubic between the centres of the patches, as transformers' `interpolate_pos_encoding` does; a
    class token's position stays. Towers without such a table are left alone.

    Args:
        params: float32 arrays by name.
        old, new: sizes of both towers, before and after.

    Returns:
        The parameters for the new sizes.
    """
    if _POSITIONS not in params or old.vision.grid == new.vision.grid:
        return dict(params)
    positions_TxC = params[_POSITIONS]
    before, after = old.vision.grid, new.vision.grid
    extra = len(positions_TxC) - before**2
    grid_YxXxC = positions_TxC[extra:].reshape(before, before, -1)
    weights_NxO = bicubic_weights(before, after)
    grid_YxXxC = np.einsum("yo,xp,opc->yxc", weights_NxO, weights_NxO, grid_YxXxC, optimize=True)
    fitted_PxC = grid_YxXxC.reshape(after**2, -1).astype(np.float32)
    return {**params, _POSITIONS: np.concatenate([positions_TxC[:extra], fitted_PxC])}


def bicubic_weights(before: int, after: int) -> np.ndarray:
    """What each of `after` samples takes from `before` samples of the same line; rows of sum 1.

    >>> bicubic_weights(2, 2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    where_N = (np.arange(after) + 0.5) * before / after - 0.5
    first_N = np.floor(where_N).astype(int)
    weights_NxO = np.zeros((after, before))
    for step in range(-1, 3):
        distance_N = np.abs(where_N - first_N - step)
        # Beyond the edge the outermost sample goes on.
        column_N = np.clip(first_N + step, 0, before - 1)
        np.add.at(weights_NxO, (np.arange(after), column_N), _cubic(distance_N))
    return weights_NxO


def _cubic(distance: np.ndarray) -> np.ndarray:
    d, a = distance, _CUBIC
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
