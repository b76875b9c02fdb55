"""What a model, or any fitted method, says about images."""

from typing import NamedTuple

import numpy as np


class Prediction(NamedTuple):
    """What the model says about N images.

    Attributes:
        class_logits: float32 [N, K].
        concept_activations: a, float32 [N, D].
        concept_logits: z, float32 [N, D].
        concept_scores: psi, the encoder's own scores, float32 [N, D].
        label_ids: int32 [N].
        labels: N class names.
    """

    class_logits: np.ndarray
    concept_activations: np.ndarray
    concept_logits: np.ndarray
    concept_scores: np.ndarray
    label_ids: np.ndarray
    labels: tuple[str, ...]

    @classmethod
    def of(
        cls,
        class_logits: np.ndarray,
        classes: tuple[str, ...],
        concept_activations: np.ndarray | None = None,
        concept_logits: np.ndarray | None = None,
        concept_scores: np.ndarray | None = None,
    ) -> "Prediction":
        """Label what is predicted; without concepts, D = 0.

        >>> Prediction.of(np.array([[0.0, 1.0]]), ("owl", "wren")).labels
        ('wren',)
        """
        none = np.zeros((len(class_logits), 0), np.float32)
        label_ids = np.argmax(class_logits, axis=1).astype(np.int32)
        return cls(
            class_logits,
            none if concept_activations is None else concept_activations,
            none if concept_logits is None else concept_logits,
            none if concept_scores is None else concept_scores,
            label_ids,
            tuple(classes[i] for i in label_ids),
        )
