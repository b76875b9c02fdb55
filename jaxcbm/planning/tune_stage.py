"""End-to-end training: one step as `jaxcbm train` with a trained encoder runs it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcbm.data.pixel_batches import Batch
from jaxcbm.encoders.finetune.lora import init_lora
from jaxcbm.encoders.finetune.trainable import Trainable, trainable
from jaxcbm.errors import UserError
from jaxcbm.planning.job import Job, Stage, array, bytes_on_chip, check_batch, key_shape, whole
from jaxcbm.planning.train_stage import (
    Shapes,
    bottleneck_shapes,
    by_rules,
    state_shape,
    whole_notes,
    wide_shapes,
)
from jaxcbm.training.finetune.config import joined
from jaxcbm.training.finetune.loop import compile_step
from jaxcbm.training.finetune.step import Fixed, LiveText, Task, group_optimizer
from jaxcbm.training.loop import state_shardings
from jaxcbm.training.step import Plan

# What the loop adds up over an epoch.
_METRICS = ("loss", "objective", "top1")


def tune_stage(job: Job, mesh: Mesh, batch: int) -> Stage:
    """One step of the encoder and the bottleneck together.

    Args:
        job: the experiment; its rules say what trains of the encoder.
        mesh: images lie over `data`; what trains of the encoder is whole on every chip.
        batch: images a step.

    Raises:
        UserError: nothing of the encoder trains, or the batch cannot be cut into its parts.
    """
    parts = max(job.tuning.accumulate, 1)
    check_batch(batch, mesh)
    if batch % (parts * mesh.shape["data"]):
        raise UserError(
            f"--batch-size={batch} cannot be cut into accumulate={parts} parts for "
            f"{mesh.shape['data']} devices"
        )
    what = trainable(job.encoder.params, job.rules)
    shapes = bottleneck_shapes(job, joined(job.config, job.tuning))
    task = _task(job, shapes, batch)
    params = {**shapes.params, **_trained(job, what)}
    placed = state_shardings(task.plan, params, mesh)
    state = state_shape(task.plan, params, placed)
    size = job.encoder.image_size
    images = Batch(
        array(mesh, (batch, size, size, 3), np.uint8, "data"),
        array(mesh, (batch,), np.int32, "data"),
        array(mesh, (batch, job.concepts), np.uint8, "data") if _annotated(job) else None,
        array(mesh, (batch,), np.float32, "data"),
    )  # pyright: ignore[reportArgumentType]
    totals = {name: array(mesh, (), np.float32) for name in _METRICS}
    fixed = _fixed(job, what, shapes, mesh)
    step = compile_step(task, placed, mesh)

    def lower() -> Any:
        with jax.set_mesh(mesh):
            return step.lower(state, totals, fixed, images, key_shape(mesh))

    return Stage(
        lower=lower,
        batch=batch,
        steps=1,
        images=task.plan.total_steps * batch,
        held=bytes_on_chip(state.params),  # the best parameters so far
        notes=whole_notes(job, mesh),
    )


def _trained(job: Job, what: Trainable) -> dict[str, Any]:
    shapes = job.encoder.params
    adapters = jax.eval_shape(
        lambda: init_lora({path: shapes[path].shape for path in what.lora}, job.lora)
    )
    return {f"encoder.{path}": shapes[path] for path in what.train} | {
        f"lora.{name}": value for name, value in adapters.items()
    }


def _task(job: Job, shapes: Shapes, batch: int) -> Task:
    encoder, tuning = job.encoder, job.tuning
    steps = job.train // batch
    if steps == 0:
        raise UserError(f"--batch-size={batch} is more than the {job.train} train images")
    plan = Plan(
        shapes.bottleneck,
        joined(job.config, tuning),
        group_optimizer(tuning, steps * tuning.epochs),
        job.train,
        batch,
        steps,
    )
    how = encoder.preprocess
    return Task(
        *(plan, tuning, job.lora, encoder.graph, tuple(encoder.params), encoder.dtype),
        *(how.scale, how.mean, how.std),
    )


def _fixed(job: Job, what: Trainable, shapes: Shapes, mesh: Mesh) -> Fixed:
    live = any(path.startswith("text.") for path in (*what.train, *what.lora))
    frozen = {path: v for path, v in job.encoder.params.items() if path not in what.train}
    return Fixed(
        encoder=by_rules(frozen, mesh),
        input_map=whole(shapes.inputs.layer, mesh),
        text=whole(_live_text(job, shapes), mesh) if live else None,
        **wide_shapes(job, shapes, mesh),
    )


def _live_text(job: Job, shapes: Shapes) -> Any:
    # Phrases are shorter than the context as a rule; this is the most that they can take.
    length = job.encoder.config.text.context_length
    scaled = shapes.inputs.base_kernel is not None and shapes.inputs.layer.kernel is not None
    width = job.encoder.embed_dim
    shape = jax.ShapeDtypeStruct
    return LiveText(
        shape((job.concepts, length), jnp.int32),  # pyright: ignore[reportArgumentType]
        shape((job.concepts,), jnp.float32),  # pyright: ignore[reportArgumentType]
        shape((width,), jnp.float32) if scaled else None,  # pyright: ignore[reportArgumentType]
    )


def _annotated(job: Job) -> bool:
    return job.config.bottleneck.positives == "annotations"
