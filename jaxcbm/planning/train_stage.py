"""Training the bottleneck on features: one epoch as `jaxcbm train` runs it."""

import functools
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcbm.bottleneck.model import Bottleneck
from jaxcbm.distributed.mesh import shardings_for
from jaxcbm.planning.job import Job, Stage, array, bytes_on_chip, check_batch, key_shape, whole
from jaxcbm.training.config import FitConfig
from jaxcbm.training.fit_arrays import KEEP_SCORES_UP_TO, Inputs, make_inputs, start
from jaxcbm.training.loop import ValidData, compile_epoch, state_shardings
from jaxcbm.training.step import Plan, TrainData, TrainState, init_state, make_plan


class Shapes(NamedTuple):
    """The bottleneck of a job: structure, and shapes of what it reads and trains."""

    bottleneck: Bottleneck
    inputs: Inputs
    params: Any


def train_stage(job: Job, mesh: Mesh, batch: int) -> Stage:
    """One epoch over the train features, which lie on the chips.

    Args:
        job: the experiment.
        mesh: features lie over `data`, W and the head over `model`.
        batch: images a step.
    """
    check_batch(batch, mesh)
    config = replace(job.config, training=replace(job.config.training, batch_size=batch))
    shapes = bottleneck_shapes(job, config)
    plan = make_plan(shapes.bottleneck, config, job.train)
    placed = state_shardings(plan, shapes.params, mesh)
    state = state_shape(plan, shapes.params, placed)
    data = _train_data(job, config, shapes, mesh)
    epoch = compile_epoch(plan, placed, mesh)

    def lower() -> Any:
        with jax.set_mesh(mesh):
            return epoch.lower(state, data, key_shape(mesh))

    # Beside the epoch: the best parameters so far, and the validation rows.
    width, rows = data.inputs.shape[1], _rows(job.valid, mesh)
    valid = ValidData(
        array(mesh, (rows, width), np.float32, "data"),
        array(mesh, (rows,), np.int32, "data"),
        array(mesh, (rows,), np.float32, "data"),
    )
    return Stage(
        lower=lower,
        batch=plan.batch_size,
        steps=plan.steps_per_epoch,
        images=plan.total_steps * plan.batch_size,
        held=bytes_on_chip((state.params, valid)),
        notes=whole_notes(job, mesh),
    )


def bottleneck_shapes(job: Job, config: FitConfig) -> Shapes:
    """The bottleneck as a fit would start it; not a number of it is made."""
    width = job.encoder.embed_dim
    embeddings, concepts = (
        jax.ShapeDtypeStruct((rows, width), jnp.float32) for rows in (job.train, job.concepts)
    )
    # Scale and bias are numbers in arrays of the same shape whatever they are.
    inputs = jax.eval_shape(
        lambda images, phrases: make_inputs(config.bottleneck, images, phrases, 100.0, 0.0),
        embeddings,
        concepts,
    )
    structure: list[Bottleneck] = []

    def begin(inputs: Inputs) -> Any:
        bottleneck, params = start(config.bottleneck, inputs, job.concepts, job.classes, 0)
        structure.append(bottleneck)
        return params

    params = jax.eval_shape(begin, inputs)
    return Shapes(structure[0], inputs, params)


def state_shape(plan: Plan, params: Any, placed: TrainState) -> TrainState:
    """The state before the first step, each leaf where its sharding says."""
    shapes = jax.eval_shape(functools.partial(init_state, plan), params)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        placed,
    )


def wide_shapes(job: Job, shapes: Shapes, mesh: Mesh) -> dict[str, Any]:
    """The constants as wide as the concepts, where the rules put them; None for those not read."""
    config = job.config.bottleneck
    paired = config.variant == "paired" and config.objective in ("contrastive", "gumbel")
    wide: dict[str, Any] = {"base_kernel": shapes.inputs.base_kernel, "class_positives": None}
    if paired and config.positives == "classes":
        size = (job.classes, job.concepts)
        wide["class_positives"] = jax.ShapeDtypeStruct(size, jnp.float32)
    return wide | by_rules({k: v for k, v in wide.items() if v is not None}, mesh)


def by_rules(shapes: dict[str, Any], mesh: Mesh) -> dict[str, Any]:
    """Arrays that are not there, each where the rules on its path put it."""
    return {
        path: jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding)
        for (path, value), sharding in zip(
            shapes.items(), shardings_for(shapes, mesh).values(), strict=True
        )
    }


def whole_notes(job: Job, mesh: Mesh) -> tuple[str, ...]:
    """What a mesh does not do for this job."""
    model = mesh.shape["model"]
    if job.concepts % model == 0:
        return ()
    return (
        f"{job.concepts:,} concepts do not divide by model={model}: W and the head stay whole on "
        "every chip",
    )


def _train_data(job: Job, config: FitConfig, shapes: Shapes, mesh: Mesh) -> TrainData:
    width, embed_dim = shapes.inputs.layer.bias.shape[0], job.encoder.embed_dim
    keep = width <= max(KEEP_SCORES_UP_TO, embed_dim)
    rows, annotated = _rows(job.train, mesh), config.bottleneck.positives == "annotations"
    return TrainData(
        inputs=array(mesh, (rows, width if keep else embed_dim), np.float32, "data"),
        labels=array(mesh, (rows,), np.int32, "data"),
        positives=array(mesh, (rows, job.concepts), np.uint8, "data") if annotated else None,
        input_map=None if keep else whole(shapes.inputs.layer, mesh),
        **wide_shapes(job, shapes, mesh),
    )


def _rows(count: int, mesh: Mesh) -> int:
    return -(-count // mesh.shape["data"]) * mesh.shape["data"]
