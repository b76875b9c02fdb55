"""The sparse head: the whole elastic-net path on frozen activations, and one point chosen on it."""

from dataclasses import replace
from typing import Any

import numpy as np
from absl import logging

from jaxcbm.bottleneck.sparse.choice import SparseChoice, choose_sparse_head
from jaxcbm.bottleneck.sparse.corrected_copy import with_corrected_copy
from jaxcbm.data.features import Features
from jaxcbm.model.model import Model
from jaxcbm.training.config import SparseHeadConfig
from jaxcbm.training.erase import erase_unannotated


def sparsify(model: Model, train: Features, valid: Features, config: SparseHeadConfig) -> Model:
    """Replace a model's head by one on the path: the sparsest that validates about as well as the
    best, or one of the size that is asked for.

    Args:
        model: fitted, with any head.
        train: what the path is solved on.
        valid: what the point on it is chosen on.
        config: penalties, tolerance, how much sparsity may cost on validation, or the size.

    Returns:
        The model with the chosen head and the path it was chosen on. Its `metrics` hold the path's
        numbers (`lambda`, `nec`, `valid_top1`, `certificate`), ANEC on validation, and what was
        chosen.
    """
    model = erase_unannotated(model, train, config.erasure)
    train_NxD = model.predict_embeddings(train.as_array()).concept_activations
    valid_NxD = model.predict_embeddings(valid.as_array()).concept_activations
    train_NxD, labels, weights = with_corrected_copy(
        train_NxD,
        np.asarray(train.labels),
        train.annotations_of(model.concepts.phrases),
        share=config.intervened,
        copy_weight=config.copy_weight,
    )
    choice = choose_sparse_head(
        train_NxD,
        labels,
        valid_NxD,
        np.asarray(valid.labels),
        len(model.classes),
        weights=weights,
        path_length=config.path_length,
        l1_ratio=config.l1_ratio,
        tolerance=config.tolerance,
        max_iterations=config.max_iterations,
        within=config.within,
        nec=config.nec,
    )
    logging.info(
        "sparse head: %.1f of %d concepts a class, validation top-1 %.3f (path best %.3f)",
        choice.path.nec[choice.chosen],
        len(model.concepts),
        choice.valid_top1[choice.chosen],
        choice.valid_top1.max(),
    )
    return with_choice(model, choice, valid_NxD, np.asarray(valid.labels))


def with_choice(
    model: Model, choice: SparseChoice, valid_NxD: np.ndarray, valid_labels: np.ndarray
) -> Model:
    """The model with a head that was chosen on a path, that path, and what validation says of it.

    A single head is no path: the model has none then, and no numbers of one.
    """
    necs_P = [float(x) for x in choice.path.nec]
    metrics: dict[str, Any] = {
        "chosen_nec": necs_P[choice.chosen],
        "chosen_top1": float(choice.valid_top1[choice.chosen]),
    }
    alone = len(necs_P) == 1
    if not alone:
        metrics["path"] = {
            "lambda": [float(x) for x in choice.path.lambdas],
            "nec": necs_P,
            "valid_top1": choice.valid_top1.tolist(),
            "certificate": [float(x) for x in choice.path.certificate],
        }
        metrics["anec"] = float(choice.curve(valid_NxD, valid_labels).anec)
    known = {name: x for name, x in model.metrics.items() if name not in ("path", "anec")}
    head = {"head.kernel": np.ascontiguousarray(choice.head.T), "head.bias": choice.bias}
    return replace(
        model,
        config=replace(model.config, head_bias=True),
        params={**model.params, **head},
        metrics={**known, **metrics},
        sparse_path=None if alone else choice,
    )
