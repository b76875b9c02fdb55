"""The head of an edited model: its elastic net, and the solution from where the old head was."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxcbm.bottleneck.sparse.choice import choose_on_path, with_sizes
from jaxcbm.bottleneck.sparse.continued_path import continue_path
from jaxcbm.bottleneck.sparse.corrected_copy import correct_some
from jaxcbm.bottleneck.sparse.path import SparsePath
from jaxcbm.bottleneck.sparse.sized_heads import Images
from jaxcbm.bottleneck.unit_scale import unit_scale
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError
from jaxcbm.model.edited_columns import Columns
from jaxcbm.model.edits import Edit, HeldWeight
from jaxcbm.model.model import Model
from jaxcbm.training.config import SparseHeadConfig
from jaxcbm.training.sparsify import with_choice


class EditedHead(NamedTuple):
    """The problem of an edited head, and where its solution starts.

    Attributes:
        rows: activations of mean 0 and deviation 1, and their corrected copy, float32 [N, D].
        labels: int32 [N].
        weights: of the rows, float32 [N], or None.
        mean, scale: `rows` are `(activations - mean) * scale`, float32 [D].
        lambdas: penalties, float32 [P].
        heads: the old heads on `rows`, float32 [P, K, D].
        biases: the old biases on `rows`, float32 [P, K].
        held: weights that stay as they are in `heads`, bool [K, D], or None.
    """

    rows: Any
    labels: Any
    weights: Any
    mean: Any
    scale: Any
    lambdas: Any
    heads: Any
    biases: Any
    held: Any


def pose_edit(
    before: Model,
    edited: Model,
    columns: Columns,
    train: Features,
    kept: np.ndarray,
    done: Edit,
    config: SparseHeadConfig,
) -> EditedHead:
    """The elastic net of an edited head.

    Args:
        before: the model that was edited.
        edited: it with its new layer.
        columns: what became of the concepts.
        train: all images of the fit.
        kept: positions of those that no edit has forgotten.
        done: the edit.
        config: of the fit's sparse head.
    """
    part = train.select(kept)
    rows = edited.predict_embeddings(part.as_array()).concept_activations
    labels, weights = np.asarray(part.labels, np.int32), None
    present_NxD = part.annotations_of(columns.phrases)
    if present_NxD is not None and config.intervened > 0:
        right = correct_some(rows, present_NxD, share=1.0)
        chosen = _draws(done, len(train))[kept] < config.intervened
        rows, labels = np.concatenate([rows, np.where(chosen, right, rows)]), np.tile(labels, 2)
        weights = np.repeat(np.array([1.0, config.copy_weight], np.float32), len(kept))
    mean_D, scale_D = unit_scale(rows)
    lambdas, heads, biases = _old_heads(before, done.path)
    heads = columns.summed(heads)
    held = np.zeros(heads.shape[1:], bool)
    for weight in held_weights((*before.edits, done), columns.phrases):
        k, d = before.classes.index(weight.class_name), columns.phrases.index(weight.phrase)
        held[k, d], heads[:, k, d] = True, weight.weight
    return EditedHead(
        rows=(rows - mean_D) * scale_D,
        labels=labels,
        weights=weights,
        mean=mean_D,
        scale=scale_D,
        lambdas=lambdas,
        heads=heads / scale_D,
        biases=biases + heads @ mean_D,
        held=held if held.any() else None,
    )


def solve_edit(head: EditedHead, config: SparseHeadConfig, *, max_iterations: int) -> SparsePath:
    """Every penalty of the problem, from where its old head was."""
    return continue_path(
        *(head.rows, head.labels, head.lambdas, head.heads, head.biases),
        l1_ratio=config.l1_ratio,
        tolerance=config.tolerance,
        max_iterations=max_iterations,
        sample_weights=head.weights,
        held_KxD=head.held,
    )


def with_edited_head(
    edited: Model, head: EditedHead, valid: Features, done: Edit, config: SparseHeadConfig
) -> Model:
    """The edited model with its new head; `done`, with what its solution cost, ends its `edits`."""
    head = head._replace(rows=jax.device_put(head.rows))
    before = solve_edit(head, config, max_iterations=0)
    began = time.perf_counter()
    found = jax.block_until_ready(solve_edit(head, config, max_iterations=config.max_iterations))
    took = time.perf_counter() - began
    valid_MxD = edited.predict_embeddings(valid.as_array()).concept_activations
    labels_M = np.asarray(valid.labels)
    choice = choose_on_path(
        *([found], head.mean, head.scale, valid_MxD, labels_M),
        within=config.within,
        nec=config.nec,
    )
    if len(head.lambdas) > 1:
        choice = with_sizes(
            choice,
            Images(head.rows, jnp.asarray(head.labels, jnp.int32), head.weights),
            *(valid_MxD, labels_M),
            held_KxD=head.held,
            tolerance=config.tolerance,
            max_iterations=config.max_iterations,
        )
    done = replace(
        done,
        penalty=float(found.lambdas[choice.chosen]),
        certificate=float(found.certificate[choice.chosen]),
        before=float(before.certificate[choice.chosen]),
        iterations=int(found.iterations.sum()),
    )
    logging.info(
        "solved again in %.3f s, %d iterations: within %.2g of the optimum (%.2g before), "
        "validation top-1 %.3f",
        *(took, done.iterations, done.certificate, done.before, choice.valid_top1[choice.chosen]),
    )
    return with_choice(replace(edited, edits=(*edited.edits, done)), choice, valid_MxD, labels_M)


def held_weights(edits: Sequence[Edit], phrases: Sequence[str]) -> list[HeldWeight]:
    """The weights that edits hold, of concepts that are still there; the last word counts."""
    last = {(weight.class_name, weight.phrase): weight for edit in edits for weight in edit.held}
    return [weight for weight in last.values() if weight.phrase in phrases]


def with_draws(done: Edit, before: Model, columns: Columns) -> Edit:
    """The edit with what says which entries of the corrected copy are set right.

    A concept that stays keeps its random numbers: with others the old head would be further from
    the new solution.
    """
    count = len(before.concepts)
    old = before.edits[-1] if before.edits else Edit(draws=tuple(range(count)), drawn=count)
    draws, fresh = [], max(max(old.draws) + 1, old.drawn)
    for source in columns.sources:
        draws.append(old.draws[source[0]] if source else fresh)
        fresh += not source
    return replace(done, draws=tuple(draws), drawn=old.drawn)


def _draws(done: Edit, images: int) -> np.ndarray:
    """Uniform random numbers, float64 [N, D]: as `correct_some` drew them for the fit."""
    first = np.random.default_rng(0).random((images, done.drawn))
    columns = [
        first[:, number]
        if number < done.drawn
        else np.random.default_rng([0, number]).random(images)
        for number in done.draws
    ]
    return np.stack(columns, axis=1)


def _old_heads(model: Model, path: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Penalties [P], heads [P, K, D] and biases [P, K] on activations as they are."""
    choice = model.sparse_path
    if path:
        if choice is None:
            raise UserError(
                "the model has one head and no path: leave the path out, or edit a model that was "
                "fitted or edited with its path"
            )
        heads = np.asarray(choice.path.unpack(len(choice.mean)).weights) * choice.scale
        return choice.path.lambdas, heads, choice.path.biases - heads @ choice.mean
    if choice is None and not model.edits:
        raise UserError(
            "the model has a trained head: an edit solves a sparse one; train it with "
            "config.sparse_head.enabled=True"
        )
    penalty = model.edits[-1].penalty if choice is None else choice.path.lambdas[choice.chosen]
    bias_K = np.asarray(model.params["head.bias"])
    return np.array([penalty], np.float32), model.head[None], bias_K[None]
