"""How far a prediction of many pictures is, and which of them are skipped."""

from collections.abc import Sequence
from typing import Any

from absl import logging

from jaxcbm.data.progress import ProgressLine
from jaxcbm.data.sources.pictures import PictureSource
from jaxcbm.data.store.joint_progress import JointProgress

# Skipped pictures that are told of one by one; the file beside the output has all.
_TOLD = 20


class PredictionProgress:
    """How far it is: in pictures, or where nobody knows how many there are, in files of them.

    Args:
        source: what is predicted.
        parts: how many parts of it were done before.
        pictures: how many pictures that were.
    """

    def __init__(self, source: PictureSource, parts: int, pictures: int):
        self._counted, self._parts, self._pictures = source.count is not None, parts, pictures
        self._total = len(source.parts) if source.count is None else source.count
        self._line = ProgressLine("predict", "pictures" if self._counted else "tar files")
        self._joint = JointProgress(self._tell, self._total, self._done)
        self._told = 0

    def __enter__(self) -> "PredictionProgress":
        self._joint.__enter__()
        self._say()
        return self

    def __exit__(self, *error: Any) -> None:
        self._joint.__exit__(*error)

    def pictures(self, count: int, skipped: Sequence[tuple[str, str]]) -> None:
        """So many more are predicted, and these are skipped."""
        for name, why in skipped[: max(_TOLD - self._told, 0)]:
            logging.warning("skipped %s: %s", name, why)
        self._told += len(skipped)
        self._pictures += count + len(skipped)
        self._say()

    def part(self) -> None:
        """One part more is written."""
        self._parts += 1
        if not self._counted:
            self._say()

    @property
    def _done(self) -> int:
        return self._pictures if self._counted else self._parts

    def _say(self) -> None:
        self._joint(self._done, self._total)

    def _tell(self, done: int, total: int) -> None:
        self._line(done, total, "" if self._counted else f"{self._pictures:,} pictures")
