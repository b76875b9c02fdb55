"""Where the labels of points in a picture go, so that none covers another or a mark."""

import numpy as np

_ANGLES = np.deg2rad(np.arange(0, 360, 15))
_MARK = 5.0
_GAP = 2.5


def place_labels(
    anchors_Lx2: np.ndarray,
    sizes_Lx2: np.ndarray,
    marks_Px2: np.ndarray,
    frame: tuple[float, float, float, float],
    *,
    reach: float = 320.0,
) -> np.ndarray:
    """Walk through labels; each takes the free place nearest to its point.

    Args:
        anchors_Lx2: the point of each label, in pixels.
        sizes_Lx2: width and height of each label, in pixels.
        marks_Px2: all points that must stay visible.
        frame: left, bottom, right, top; labels stay inside.
        reach: how far from its point a label may go, pixels.

    Returns:
        The lower left corner of each label, float64 [L, 2]; NaN where no place was free.

    >>> place_labels(np.array([[50.0, 50.0]]), np.array([[20.0, 8.0]]), np.array([[50.0, 50.0]]),
    ...              (0.0, 0.0, 100.0, 100.0)).tolist()
    [[57.5, 46.0]]
    """
    marks_Px4 = np.concatenate([marks_Px2 - _MARK, marks_Px2 + _MARK], axis=1)
    taken, corners_Lx2 = marks_Px4, np.full(anchors_Lx2.shape, np.nan)
    lower, upper = np.array(frame[:2]) + _GAP, np.array(frame[2:]) - _GAP
    for label, (anchor, size) in enumerate(zip(anchors_Lx2, sizes_Lx2, strict=True)):
        places_Tx2 = _places(anchor, size, reach)
        inside_T = np.all((places_Tx2 >= lower) & (places_Tx2 + size <= upper), axis=1)
        places_Tx2 = places_Tx2[inside_T]
        # [T, boxes]: a place overlaps a box when it does on both axes.
        clash_TxQ = np.all(
            (places_Tx2[:, None] < taken[None, :, 2:])
            & (places_Tx2[:, None] + size > taken[None, :, :2]),
            axis=2,
        )
        free_T = np.flatnonzero(~clash_TxQ.any(axis=1))
        if len(free_T):
            corners_Lx2[label] = corner = places_Tx2[free_T[0]]
            box = np.concatenate([corner - _GAP, corner + size + _GAP])
            taken = np.concatenate([taken, box[None]])
    return corners_Lx2


def _places(anchor: np.ndarray, size: np.ndarray, reach: float) -> np.ndarray:
    """Corners of the label around its point, the nearest first."""
    rings = [_MARK + _GAP + 8.0 * n for n in range(int(reach / 8))]
    directions = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
    # The label's nearest edge, and not its middle, is what stands on the ring.
    offsets = np.concatenate(
        [ring * directions + directions * size / 2 - size / 2 for ring in rings]
    )
    return anchor + offsets
