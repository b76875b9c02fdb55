"""What training sees of a dataset: one embedding an image, and what is known about the image."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np

from jaxcbm.data.annotations import match_phrases
from jaxcbm.data.labels import label_ids, some_of
from jaxcbm.data.positions import positions_of
from jaxcbm.data.store.sharded_rows import ShardedRows
from jaxcbm.errors import UserError

# What rounding to bfloat16 leaves of a unit norm, and more.
_NORM_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Features:
    """Image embeddings with their labels; images that could not be read are left out.

    Attributes:
        embeddings: [N, E] unit-norm, an array or rows on disk; float32, bfloat16 or float16.
        labels: int32 [N], positions in `classes`; -1 where the class is unknown.
        digests: uint8 [N, 32], SHA-256 of each image's content.
        classes: the names of the K classes.
        annotations: float32 [N, A]: 1 present, 0 absent, NaN unknown; None without annotations.
        annotation_phrases: what each of the A columns says.
        skipped: name and reason of each image that could not be read.
        key: identifies the embeddings: encoder, preprocessing, images, order and dtype. Labels and
            annotations are no part of it.
    """

    embeddings: np.ndarray | ShardedRows
    labels: np.ndarray
    digests: np.ndarray
    classes: tuple[str, ...]
    annotations: np.ndarray | None = None
    annotation_phrases: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    key: str = ""

    def __post_init__(self):
        count = self.embeddings.shape[0]
        if self.embeddings.ndim != 2:
            raise ValueError(f"embeddings must be [N, E], not {self.embeddings.shape}")
        if self.labels.shape != (count,) or self.labels.dtype != np.int32:
            raise ValueError(f"labels must be int32 [{count}], not {_kind(self.labels)}")
        if count and not -1 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"labels must lie in -1 .. {len(self.classes) - 1}")
        if self.digests.shape != (count, 32) or self.digests.dtype != np.uint8:
            raise ValueError(f"digests must be uint8 [{count}, 32], not {_kind(self.digests)}")
        width = None if self.annotations is None else (count, len(self.annotation_phrases))
        if self.annotations is not None and self.annotations.shape != width:
            raise ValueError(f"annotations must be {width}, not {self.annotations.shape}")

    @classmethod
    def from_arrays(
        cls,
        embeddings: np.ndarray | jax.Array,
        labels: Sequence[int | str | None] | np.ndarray,
        classes: Sequence[str] | None = None,
        *,
        annotations: np.ndarray | None = None,
        annotation_phrases: Sequence[str] = (),
        digests: np.ndarray | None = None,
    ) -> "Features":
        """Features from arrays that somebody already has, without a store.

        Args:
            embeddings: [N, E], unit-norm.
            labels: N positions in `classes`, or names; -1 or None where the class is unknown.
            classes: K names; by default those among the labels, in alphabetical order.
            annotations: [N, A] in {0, 1} or NaN.
            annotation_phrases: A phrases.
            digests: uint8 [N, 32] of the images; without them, equal rows count as equal images.

        Raises:
            UserError: a row that holds NaN or infinity, is not of unit norm, or has no such label.

        >>> features = Features.from_arrays(np.eye(3, dtype=np.float32), [0, 1, 0], ["owl", "wren"])
        >>> features.select([2, 1]).labels.tolist()
        [0, 1]
        """
        embeddings = np.ascontiguousarray(embeddings)
        if not (finite := np.isfinite(embeddings)).all():
            row = np.argwhere(~finite)[0, 0]
            raise UserError(
                f"embeddings[{row}] holds NaN or infinity: leave it out or encode again"
            )
        norms = np.linalg.norm(embeddings.astype(np.float32, copy=False), axis=-1)
        if embeddings.ndim == 2 and (far := np.abs(norms - 1) > _NORM_TOLERANCE).any():
            row = int(far.argmax())
            raise UserError(
                f"embeddings[{row}] has norm {norms[row]:.3g}: divide each row by its own"
            )
        ids, names = label_ids(labels, classes, len(embeddings))
        if digests is None:
            digests = digest_rows(embeddings)
        return cls(
            embeddings=embeddings,
            labels=ids,
            digests=digests,
            classes=names,
            annotations=None if annotations is None else np.asarray(annotations, np.float32),
            annotation_phrases=tuple(annotation_phrases),
            key=_key("arrays", str(embeddings.dtype).encode(), embeddings.tobytes()),
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Features"]) -> "Features":
        """The images of several parts of one dataset, one part after the other.

        Raises:
            ValueError: parts that differ in classes, annotation phrases, width or number type.

        >>> one = Features.from_arrays(np.eye(2, dtype=np.float32), [0, 1], ["owl", "wren"])
        >>> len(Features.concatenate([one, one.select([0])]))
        3
        """
        first = parts[0]
        for part in parts:
            if (part.classes, part.annotation_phrases) != (first.classes, first.annotation_phrases):
                raise ValueError("parts differ in classes or annotation phrases")
        annotations = [part.annotations for part in parts if part.annotations is not None]
        if annotations and len(annotations) != len(parts):
            raise ValueError("some parts have annotations and some have none")
        return replace(
            first,
            embeddings=ShardedRows.join([part.embeddings for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            digests=np.concatenate([part.digests for part in parts]),
            annotations=np.concatenate(annotations) if annotations else None,
            skipped=tuple(skip for part in parts for skip in part.skipped),
            key=_key("joined", *(part.key.encode() for part in parts)),
        )

    def __len__(self) -> int:
        return self.embeddings.shape[0]

    def __repr__(self) -> str:
        rows = self.embeddings
        lines = [
            f"Features {self.key[:8]} of {len(self):,} images, {some_of(self.classes, 'classes')}",
            f"embeddings: {rows.dtype} [{rows.shape[0]}, {rows.shape[1]}]",
        ]
        if self.annotations is not None:
            lines.append(f"annotations: {some_of(self.annotation_phrases, 'phrases')}")
        if self.skipped:
            lines.append(f"skipped: {len(self.skipped):,} images that could not be read")
        return "\n  ".join(lines)

    def as_array(self, dtype: str | np.dtype = "float32") -> np.ndarray:
        """All embeddings in memory, [N, E]."""
        return np.asarray(self.embeddings).astype(dtype, copy=False)

    def annotations_of(
        self, phrases: Sequence[str], rows: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Annotations in the order of some phrases, float32 [N, D], NaN where nothing is known.

        With `rows` [n], those of these images alone, [n, D].

        >>> features = Features.from_arrays(
        ...     np.eye(2), [0, 1], ["owl", "wren"], annotations=np.array([[1.0], [0.0]]),
        ...     annotation_phrases=["big eyes"])
        >>> features.annotations_of(["fins", "big eyes"]).tolist()
        [[nan, 1.0], [nan, 0.0]]
        """
        if self.annotations is None:
            return None
        columns_D = match_phrases(phrases, self.annotation_phrases)
        known_NxA = self.annotations if rows is None else self.annotations[rows]
        taken_NxD = known_NxA[:, np.maximum(columns_D, 0)]
        return np.where(columns_D >= 0, taken_NxD, np.nan).astype(np.float32)

    def select(self, indices: Sequence[int] | np.ndarray) -> "Features":
        """The images at these positions, in this order, or of a mask; rows on disk stay there."""
        positions = positions_of(indices, len(self))
        rows = self.embeddings
        return replace(
            self,
            embeddings=rows.take(positions) if isinstance(rows, ShardedRows) else rows[positions],
            labels=self.labels[positions],
            digests=self.digests[positions],
            annotations=None if self.annotations is None else self.annotations[positions],
            key=_key("selected", self.key.encode(), positions.tobytes()),
        )

    def sample(self, count: int, seed: int) -> "Features":
        """At most `count` images drawn by a seed, in their old order; all where there are fewer."""
        if len(self) <= count:
            return self
        drawn = np.random.default_rng(seed).choice(len(self), count, replace=False)
        return self.select(np.sort(drawn))


class Splits(NamedTuple):
    """Features of the three splits."""

    train: Features
    valid: Features
    test: Features


def digest_rows(rows: np.ndarray) -> np.ndarray:
    """SHA-256 of each row's bytes -> uint8 [N, 32]."""
    # As bytes: bfloat16 has no name in Python's buffers.
    digests = b"".join(hashlib.sha256(np.asarray(row).tobytes()).digest() for row in rows)
    return np.frombuffer(digests, np.uint8).reshape(len(rows), 32)


def _key(how: str, *parts: bytes) -> str:
    digest = hashlib.sha256(how.encode())
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
