"""What a model, or any fitted method, says about images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxcbm.data.labels import some_of
from jaxcbm.model.calibration import Calibration, log_probabilities
from jaxcbm.model.familiarity import UNTOLD, Familiarity, caution
from jaxcbm.model.prediction_sets import prediction_sets

# Images that a printed prediction shows.
_SHOWN = 10


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """What the model says about N images.

    A pytree of arrays: functions that return one can be transformed by JAX. Class names and what
    the numbers mean belong to its static structure. `class_logits` to `label_ids` can be read
    inside of such functions; what follows is made of NumPy arrays outside of them.

    Attributes:
        class_logits: float32 [N, K].
        concept_activations: a, float32 [N, D].
        concept_logits: z, float32 [N, D].
        concept_scores: psi, the encoder's own scores, float32 [N, D].
        image_embeddings: e(x), float32 [N, E], unit norm; None where nothing reads them.
        classes: K names.
        calibration: what turns these numbers into probabilities; None where that was not learnt.
        trust: what validation tells of embeddings and of probabilities; None where the model does
            not know.
    """

    class_logits: Any
    concept_activations: Any
    concept_logits: Any
    concept_scores: Any
    image_embeddings: Any = None
    classes: tuple[str, ...] = field(default=(), metadata={"static": True})
    calibration: Calibration | None = field(default=None, metadata={"static": True})
    trust: Familiarity | None = field(default=None, metadata={"static": True})

    def __repr__(self) -> str:
        if not isinstance(self.class_logits, np.ndarray) or not self.classes:
            return f"Prediction(class_logits={self.class_logits!r})"
        count, first = len(self.class_logits), jax.tree.map(lambda array: array[:_SHOWN], self)
        images = "1 image" if count == 1 else f"{count:,} images"
        lines = [f"Prediction of {images}, {some_of(self.classes, 'classes')}"]
        likely = first.class_probabilities.max(axis=1).tolist()
        for label, probability, why in zip(first.labels, likely, first.cautions, strict=True):
            lines.append(f"{label} ({probability:.0%}){why and f': {why}'}")
        lines += ["..."] if count > _SHOWN else []
        return "\n  ".join(lines)

    @property
    def label_ids(self) -> Any:
        """The class with the highest logit, int32 [N]."""
        return self.class_logits.argmax(axis=-1).astype(np.int32)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """N class names."""
        return tuple(self.classes[k] for k in self.label_ids.tolist())

    @property
    def temperature(self) -> float:
        """What the class logits are divided by; 1 where it was not learnt."""
        return 1.0 if self.calibration is None else self.calibration.temperature

    @property
    def class_probabilities(self) -> np.ndarray:
        """Softmax of the class logits over the temperature, float64 [N, K].

        >>> Prediction.of(np.zeros((1, 2)), ("owl", "wren")).class_probabilities
        array([[0.5, 0.5]])
        """
        return np.exp(log_probabilities(self.class_logits, self.temperature))

    @property
    def concept_probabilities(self) -> np.ndarray:
        """How likely each concept is to be in each image, float64 [N, D].

        NaN for concepts that validation had no annotations of.
        """
        if self.calibration is None:
            return np.full(self.concept_activations.shape, np.nan)
        return self.calibration.concept_probabilities(self.concept_activations)

    @property
    def evidence(self) -> np.ndarray:
        """Activations counted from where they say nothing (`Calibration.neutral`), float64 [N, D].

        The contribution of concept d to class k is F[k, d] times this; without a calibration,
        activations count from 0.
        """
        if self.calibration is None:
            return np.asarray(self.concept_activations, np.float64)
        return np.asarray(self.concept_activations, np.float64) - self.calibration.neutral

    def select(self, rows: Sequence[int] | np.ndarray) -> "Prediction":
        """What is said about the images at these positions."""
        return jax.tree.map(lambda array: array[np.asarray(rows)], self)

    @cached_property
    def distances(self) -> np.ndarray | None:
        """Of each image from train (`Familiarity.distances`), float32 [N]; None if unknown."""
        if self.trust is None or self.image_embeddings is None:
            return None
        return self.trust.distances(self.image_embeddings)

    @property
    def familiarity(self) -> np.ndarray:
        """Share of validation images that are as unlike train as each image, float64 [N].

        0.05 and less count as unfamiliar: the model has seen nothing like it. NaN where the model
        does not know, for one because there were fewer than 19 validation images.
        """
        if self.trust is None or self.distances is None:
            return np.full(len(self.class_logits), np.nan)
        return self.trust.familiarity(self.distances)

    @property
    def prediction_sets(self) -> np.ndarray:
        """Classes that each image may show, bool [N, K].

        The right one is among them for 95 % of images like those of validation; all of them are
        where the model does not know, for one because there were fewer than 19 validation images.
        """
        threshold = 0.0 if self.trust is None else self.trust.set_threshold
        return prediction_sets(self.class_probabilities, threshold)

    @property
    def cautions(self) -> tuple[str, ...]:
        """For each image why not to trust the decision, in words, or ""."""
        least = 0.0 if self.trust is None else self.trust.least_probability
        untold = "" if self.trust is None or self.trust.can_tell else UNTOLD
        highest_N = self.class_probabilities.max(axis=1).tolist()
        pairs = zip(self.familiarity.tolist(), highest_N, strict=True)
        found = ((caution(familiar, likely, least), untold) for familiar, likely in pairs)
        return tuple("; ".join(filter(None, both)) for both in found)

    @classmethod
    def of(
        cls,
        class_logits: np.ndarray,
        classes: tuple[str, ...],
        concept_activations: np.ndarray | None = None,
        concept_logits: np.ndarray | None = None,
        concept_scores: np.ndarray | None = None,
        calibration: Calibration | None = None,
    ) -> "Prediction":
        """Label what is predicted; without concepts, D = 0.

        >>> Prediction.of(np.array([[0.0, 1.0]]), ("owl", "wren")).labels
        ('wren',)
        """
        none = np.zeros((len(class_logits), 0), np.float32)
        return cls(
            class_logits,
            none if concept_activations is None else concept_activations,
            none if concept_logits is None else concept_logits,
            none if concept_scores is None else concept_scores,
            classes=tuple(classes),
            calibration=calibration,
        )


def joined(parts: Iterable[Prediction]) -> Prediction:
    """What one model says about the images of several parts, one part after the other.

    >>> parts = [Prediction.of(np.eye(n, 2), ("owl", "wren")) for n in (2, 1)]
    >>> joined(parts).labels
    ('owl', 'wren', 'owl')
    """
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
