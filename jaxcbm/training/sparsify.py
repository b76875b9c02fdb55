"""The sparse head: the whole elastic-net path on frozen activations, and one point chosen on it."""

from dataclasses import replace

import numpy as np
from absl import logging

from jaxcbm.bottleneck.sparse.choice import choose_sparse_head
from jaxcbm.data.features import Features
from jaxcbm.model.concept_values import concept_values, replacements
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
    present_NxD = train.annotations_of(model.concepts.phrases)
    labels, weights = np.asarray(train.labels), None
    if present_NxD is not None and config.intervened > 0:
        corrected_NxD = correct_some(train_NxD, present_NxD, config.intervened)
        train_NxD, labels = np.concatenate([train_NxD, corrected_NxD]), np.tile(labels, 2)
        weights = np.repeat(np.array([1.0, config.copy_weight], np.float32), len(train))
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
    necs_P = [float(x) for x in choice.path.nec]
    metrics = {
        "path": {
            "lambda": [float(x) for x in choice.path.lambdas],
            "nec": necs_P,
            "valid_top1": choice.valid_top1.tolist(),
            "certificate": [float(x) for x in choice.path.certificate],
        },
        "anec": float(choice.curve(valid_NxD, np.asarray(valid.labels)).anec),
        "chosen_nec": necs_P[choice.chosen],
        "chosen_top1": float(choice.valid_top1[choice.chosen]),
    }
    logging.info(
        "sparse head: %.1f of %d concepts a class, validation top-1 %.3f (path best %.3f)",
        necs_P[choice.chosen],
        len(model.concepts),
        choice.valid_top1[choice.chosen],
        choice.valid_top1.max(),
    )
    head = {"head.kernel": np.ascontiguousarray(choice.head.T), "head.bias": choice.bias}
    return replace(
        model,
        config=replace(model.config, head_bias=True),
        params={**model.params, **head},
        metrics={**model.metrics, **metrics},
        sparse_path=choice,
    )


def correct_some(
    activations_NxD: np.ndarray, present_NxD: np.ndarray, share: float, seed: int = 0
) -> np.ndarray:
    """Set a random share of the activations to what they are on average where the truth is so.

    The truth is 1 where a concept is in the image and 0 where it is not; where it is NaN, unknown,
    an activation stays as it is.

    Reference: Koh et al. 2020 (arXiv 2007.04612) for interventions; training on them: Espinosa
    Zarlenga et al. 2022 (arXiv 2209.09056), there called RandInt.

    >>> activations, present = np.array([[2.0], [4.0], [-1.0]]), np.array([[1.0], [1.0], [0.0]])
    >>> correct_some(activations, present, share=1.0).ravel().tolist()
    [3.0, 3.0, -1.0]
    """
    right_NxD = replacements(concept_values(activations_NxD, present_NxD), present_NxD)
    chosen_NxD = np.random.default_rng(seed).random(activations_NxD.shape) < share
    set_NxD = chosen_NxD & ~np.isnan(right_NxD)
    return np.where(set_NxD, right_NxD, activations_NxD).astype(np.float32)
