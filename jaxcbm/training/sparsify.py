"""The sparse head: the whole elastic-net path on frozen activations, and one point chosen on it."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxcbm.bottleneck.sparse_head import elastic_net_path, nec_curve
from jaxcbm.data.features import Features
from jaxcbm.evaluation.metrics import top_k_accuracy
from jaxcbm.serving.model import Model
from jaxcbm.training.config import SparseHeadConfig


def sparsify(model: Model, train: Features, valid: Features, config: SparseHeadConfig) -> Model:
    """Replace a model's head by the sparsest one on the path that validates as well as the best.

    Activations are scaled to unit deviation for the solver, so that one penalty suits every
    concept; the scale is folded back into the weights, which keeps their zeros.

    Args:
        model: fitted, with any head.
        train: what the path is solved on.
        valid: what the point on it is chosen on.
        config: penalties, tolerance, and how much validation accuracy sparsity may cost.

    Returns:
        The model with the chosen head. Its `metrics` hold the path (`lambda`, `nec`, `valid_top1`,
        `certificate`), ANEC on validation, and what was chosen.
    """
    train_NxD = model.predict_embeddings(train.as_array()).concept_activations
    valid_NxD = model.predict_embeddings(valid.as_array()).concept_activations
    mean_D, std_D = train_NxD.mean(axis=0), train_NxD.std(axis=0)
    scale_D = 1.0 / np.maximum(std_D, 1e-3 * np.median(std_D) + 1e-8)
    train_NxD, valid_NxD = ((part - mean_D) * scale_D for part in (train_NxD, valid_NxD))
    path = elastic_net_path(
        jnp.asarray(train_NxD),
        jnp.asarray(train.labels, jnp.int32),
        len(model.classes),
        path_length=config.path_length,
        l1_ratio=config.l1_ratio,
        tolerance=config.tolerance,
        max_iterations=config.max_iterations,
    )
    weights_PxKxD, biases_PxK = np.asarray(path.weights), np.asarray(path.biases)
    valid_labels = np.asarray(valid.labels)
    top1_P = np.array(
        [
            top_k_accuracy(valid_NxD @ weights.T + bias, valid_labels)
            for weights, bias in zip(weights_PxKxD, biases_PxK, strict=True)
        ]
    )
    # Penalties fall along the path: the first point that is good enough is the sparsest.
    chosen = int(np.argmax(top1_P >= top1_P.max() - config.within))
    curve = nec_curve(path, jnp.asarray(valid_NxD), jnp.asarray(valid_labels, jnp.int32))
    weights_KxD = weights_PxKxD[chosen] * scale_D[None, :]
    head = {
        "head.kernel": np.ascontiguousarray(weights_KxD.T, np.float32),
        "head.bias": (biases_PxK[chosen] - weights_KxD @ mean_D).astype(np.float32),
    }
    necs_P = [float(x) for x in path.nec]
    metrics = {
        "path": {
            "lambda": [float(x) for x in path.lambdas],
            "nec": necs_P,
            "valid_top1": top1_P.tolist(),
            "certificate": [float(x) for x in path.certificate],
        },
        "anec": float(curve.anec),
        "chosen_nec": necs_P[chosen],
        "chosen_top1": float(top1_P[chosen]),
    }
    logging.info(
        "sparse head: %.1f of %d concepts a class, validation top-1 %.3f (path best %.3f)",
        necs_P[chosen],
        len(model.concepts),
        top1_P[chosen],
        top1_P.max(),
    )
    return replace(
        model,
        config=replace(model.config, head_bias=True),
        params={**model.params, **head},
        metrics={**model.metrics, **metrics},
    )
