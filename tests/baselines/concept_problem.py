"""Images that are noisy sums of the concepts of their class, as unit-norm embeddings."""

from typing import NamedTuple

import numpy as np

from jaxcbm.data.features import Features


class Problem(NamedTuple):
    train: Features
    valid: Features
    test: Features
    concepts: np.ndarray
    class_texts: np.ndarray
    phrases: tuple[str, ...]
    describes: np.ndarray


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def make_problem(seed=0, images=300, width=16, concepts=12, classes=4, noise=0.35) -> Problem:
    rng = np.random.default_rng(seed)
    texts = unit(rng.normal(size=(concepts, width)) + 0.5 * np.ones(width))
    describes = np.arange(concepts)[None, :] % classes == np.arange(classes)[:, None]
    phrases = tuple(f"concept {d}" for d in range(concepts))

    def part(count):
        labels = rng.permutation(np.arange(count) % classes).astype(np.int32)
        present = describes[labels] & (rng.uniform(size=(count, concepts)) < 0.8)
        rows = present @ texts + noise * rng.normal(size=(count, width)) + 0.5
        annotations = present.astype(np.float32)
        annotations[rng.uniform(size=present.shape) < 0.05] = np.nan
        return Features.from_arrays(
            unit(rows),
            labels,
            [f"class {k}" for k in range(classes)],
            annotations=annotations,
            annotation_phrases=phrases,
        )

    class_texts = unit(describes @ texts)
    return Problem(part(images), part(120), part(400), texts, class_texts, phrases, describes)


def accuracy(logits, features):
    return float(np.mean(np.argmax(logits, axis=1) == features.labels))


def relabelled(features, order):
    """The same images, class k renamed to class order[k]."""
    order = np.asarray(order)
    names = [""] * len(order)
    for k, name in enumerate(features.classes):
        names[order[k]] = name
    return Features.from_arrays(
        features.as_array(),
        order[features.labels],
        names,
        annotations=features.annotations,
        annotation_phrases=features.annotation_phrases,
    )
