"""What was edited of a model after its fit, as its record tells."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jaxcbm.data.features import Features


@dataclass(frozen=True)
class HeldWeight:
    """One weight of the head that somebody set.

    Attributes:
        class_name: of its row.
        phrase: of its column.
        weight: of the activation as it is.
    """

    class_name: str
    phrase: str
    weight: float


@dataclass(frozen=True)
class Edit:
    """One edit: what was changed, and how good the head is that was solved for after it.

    Attributes:
        deleted: phrases.
        merged: new phrase -> the phrases whose logits it is the mean of.
        added: new phrase -> where its column of the layer comes from, in words.
        held: weights that are held since.
        forgotten: SHA-256 of the content of each image that was unlearnt, as hex.
        penalty: lambda of the head that the model has now.
        certificate: relative duality gap of that head; with weights held, of the problem in which
            they are.
        before: the gap that the old head has in the new problem.
        iterations: that it took.
        refitted: whether layer and head were fitted anew without the forgotten images.
        path: whether every penalty was solved again, or that of the head alone.
        draws: for each concept the column of random numbers that says which images of the
            corrected copy are set right in it; they stay with their concept.
        drawn: how many such columns the fit drew.
    """

    deleted: tuple[str, ...] = ()
    merged: dict[str, tuple[str, ...]] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    held: tuple[HeldWeight, ...] = ()
    forgotten: tuple[str, ...] = ()
    penalty: float = 0.0
    certificate: float = 0.0
    before: float = 0.0
    iterations: int = 0
    refitted: bool = False
    path: bool = False
    draws: tuple[int, ...] = ()
    drawn: int = 0

    def __str__(self) -> str:
        merged = (f"{', '.join(old)} merged into {new}" for new, old in self.merged.items())
        added = (f"{phrase} added ({how})" for phrase, how in self.added.items())
        held = (f"{w.class_name}: {w.phrase} held at {w.weight:g}" for w in self.held)
        deleted = [f"{', '.join(self.deleted)} deleted"] if self.deleted else []
        count = len(self.forgotten)
        parts = "layer and head" if self.refitted else "the head, not by the layer"
        forgotten = [f"{count} image{'s' * (count > 1)} forgotten by {parts}"] if count else []
        return "; ".join((*deleted, *merged, *added, *held, *forgotten))


def remaining(features: Features, edits: Sequence[Edit]) -> Features:
    """The images that no edit has forgotten."""
    kept = kept_by(features, edits)
    return features if len(kept) == len(features) else features.select(kept)


def kept_by(features: Features, edits: Sequence[Edit]) -> np.ndarray:
    """The positions of the images that no edit has forgotten, int64."""
    forgotten = [bytes.fromhex(digest) for edit in edits for digest in edit.forgotten]
    gone = set(forgotten)
    kept = [i for i, row in enumerate(features.digests) if not gone or row.tobytes() not in gone]
    return np.array(kept, np.int64)
