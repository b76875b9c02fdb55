"""From arrays and explanations to the parts of a result file."""

import base64
import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from jaxcbm.evaluation.results.schema import ClassWeights, ContributionValue, Explained, Weights


def class_weights(
    row: str, head_KxD: np.ndarray, classes: Sequence[str], phrases: Sequence[str], most: int = 20
) -> Weights:
    """The non-zero weights of every class in a row's head, at most `most` of them, strongest first.

    >>> class_weights("ours", np.array([[0.0, -2.0, 1.0]]), ["duck"], ["a", "b", "c"]).classes
    (ClassWeights(name='duck', weights={'b': -2.0, 'c': 1.0}),)
    """
    order_KxD = np.argsort(-np.abs(head_KxD), axis=1, kind="stable")[:, :most]
    return Weights(
        row,
        tuple(
            ClassWeights(name, {phrases[int(d)]: float(head_D[d]) for d in order_D if head_D[d]})
            for name, head_D, order_D in zip(classes, head_KxD, order_KxD, strict=True)
        ),
    )


def best_and_worst(
    class_logits_NxK: np.ndarray, labels_N: np.ndarray, count: int
) -> tuple[list[int], list[int]]:
    """The images that speak most for and most against a model.

    Images are ordered by the logit of the true class less the highest other one.

    Returns:
        Positions of the `count` largest differences, largest first, and of the `count` smallest,
        smallest first.

    >>> best_and_worst(np.array([[3.0, 0.0], [0.0, 1.0], [5.0, 0.0]]), np.array([0, 0, 1]), 1)
    ([0], [2])
    """
    rows = np.arange(len(labels_N))
    others_NxK = np.array(class_logits_NxK, np.float64)
    own_N = others_NxK[rows, labels_N]
    others_NxK[rows, labels_N] = -np.inf
    order = np.argsort(own_N - others_NxK.max(axis=1), kind="stable")
    return order[::-1][:count].tolist(), order[:count].tolist()


def explained_image(explanation: Any, group: Literal["best", "worst"], true: str) -> Explained:
    """An explanation as part of a result file.

    Args:
        explanation: a `jaxcbm.model.explanation.Explanation` of the predicted class.
        group: `best` or `worst`.
        true: the image's class.
    """
    return Explained(
        group=group,
        picture=picture_text(explanation.image),
        true=true,
        predicted=explanation.target,
        probability=explanation.probability,
        contributions=tuple(ContributionValue(*pair) for pair in explanation.labelled()),
        rest=explanation.rest,
    )


def picture_text(image: Image.Image, side: int = 112) -> str:
    """An image as base64 PNG of at most `side` pixels a side, for `Explained.picture`.

    >>> picture_text(Image.new("RGB", (400, 200)))[:11]
    'iVBORw0KGgo'
    """
    small = image.convert("RGB")
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
