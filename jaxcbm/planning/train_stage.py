"""Training the bottleneck on features: the program that `jaxcbm train` runs."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.positives import positives_source
from jaxcbm.data.stream.batches import FeatureBatch
from jaxcbm.distributed.placement import abstract_place, abstract_rows
from jaxcbm.model.texts import Texts
from jaxcbm.planning.job import Job, Stage, array, bytes_on_chip, check_batch, key_shape, lowered
from jaxcbm.training.feeds import compile_epoch, compile_streamed_step
from jaxcbm.training.fit_arrays import (
    FitArrays,
    SplitArrays,
    abstract_start,
    fit_arrays,
    place_data,
    place_valid,
)
from jaxcbm.training.state import abstract_state, state_shardings
from jaxcbm.training.step import METRICS, make_plan


def train_stage(job: Job, mesh: Mesh, batch: int) -> Stage:
    """One epoch over train features on the chips, or one step of features that are streamed.

    Args:
        job: the experiment; `config.training.data=stream` plans the streamed step.
        mesh: features lie over `data`, W and the head over `model`.
        batch: images a step.
    """
    check_batch(batch, mesh)
    streamed = job.config.training.data == "stream"
    config = replace(job.config, training=replace(job.config.training, batch_size=batch))
    arrays = abstract_arrays(job, config.bottleneck)
    bottleneck, params = abstract_start(config.bottleneck, arrays.inputs, job.concepts, job.classes)
    plan = make_plan(bottleneck, config, job.train)
    placed = state_shardings(plan, params, mesh)
    state = abstract_state(plan, params, placed)
    totals = {name: array(mesh, (), jnp.float32) for name in METRICS}
    held: Any = state.params  # the best parameters so far
    if streamed:
        step: Any = compile_streamed_step(plan, placed, mesh)
        arguments: tuple[Any, ...] = streamed_batch(job, arrays, batch, mesh)
    else:
        step = compile_epoch(plan, placed, mesh)
        arguments = (place_data(arrays.data, mesh, rows=abstract_rows, whole=abstract_place),)
        held = held, place_valid(arrays.valid, mesh, rows=abstract_rows)
    arguments = (state, totals, *arguments, key_shape(mesh))

    return Stage(
        lower=partial(lowered, step, mesh, arguments),
        arguments=arguments,
        batch=plan.batch_size,
        steps=1 if streamed else plan.steps_per_epoch,
        images=plan.total_steps * plan.batch_size,
        held=bytes_on_chip(held),
        notes=whole_notes(job, mesh),
    )


def abstract_texts(job: Job) -> Texts:
    """Texts of the job's sizes; scale and bias are numbers in arrays of the same shape anyway."""
    width = job.encoder.embed_dim
    concepts, classes = (
        jax.ShapeDtypeStruct((count, width), jnp.float32) for count in (job.concepts, job.classes)
    )
    return Texts(("",) * job.concepts, ("",) * job.classes, concepts, classes, 100.0)


def source_of(job: Job) -> str:
    """Where the job's positives come from."""
    return positives_source(job.config.bottleneck, job.annotated)


def positives_type(job: Job) -> Any:
    """Number type of `jaxcbm.training.fit_arrays.annotated_positives`."""
    return jnp.uint8 if job.some_unknown else jnp.bool_


def abstract_arrays(job: Job, config: BottleneckConfig) -> FitArrays:
    """What the fit reads, as shapes, from the function that makes it; not a number is made."""
    texts, source = abstract_texts(job), source_of(job)
    shape, width = jax.ShapeDtypeStruct, job.encoder.embed_dim

    def split(count: int, annotated: bool) -> SplitArrays:
        present = shape((count, job.concepts), positives_type(job)) if annotated else None
        return SplitArrays(shape((count, width), jnp.float32), shape((count,), jnp.int32), present)

    def arrays(concepts: Any, classes: Any, train: SplitArrays, valid: SplitArrays) -> FitArrays:
        whole = texts._replace(concepts_DxE=concepts, classes_KxE=classes)
        return fit_arrays(config, whole, train, valid, source)

    parts = split(job.train, source == "annotations"), split(job.valid, False)
    return jax.eval_shape(arrays, texts.concepts_DxE, texts.classes_KxE, *parts)


def streamed_batch(job: Job, arrays: FitArrays, batch: int, mesh: Mesh) -> tuple[Any, ...]:
    """One batch of stored embeddings, and what all batches share."""
    rows = jax.ShapeDtypeStruct((batch, job.encoder.embed_dim), jnp.float32)
    no_rows: Any = None
    shared = arrays.data._replace(
        inputs=no_rows, labels=no_rows, positives=None, input_map=arrays.inputs.layer
    )
    return (
        FeatureBatch(*batch_rows(job, rows, arrays, mesh)),
        place_data(shared, mesh, rows=abstract_rows, whole=abstract_place),
    )


def batch_rows(
    job: Job, rows: jax.ShapeDtypeStruct, arrays: FitArrays, mesh: Mesh
) -> tuple[Any, ...]:
    """What a batch holds on the mesh: its rows, their labels, positives where some are, a mask."""
    shape, batch = jax.ShapeDtypeStruct, rows.shape[0]
    annotated = arrays.data.positives is not None
    positives = shape((batch, job.concepts), positives_type(job)) if annotated else None
    parts = rows, shape((batch,), jnp.int32), positives, shape((batch,), jnp.float32)
    return jax.tree.map(lambda leaf: abstract_rows(leaf, mesh), parts)


def whole_notes(job: Job, mesh: Mesh) -> tuple[str, ...]:
    """What a mesh does not do for this job."""
    model = mesh.shape["model"]
    if job.concepts % model == 0:
        return ()
    return (
        f"{job.concepts:,} concepts do not divide by model={model}: W and the head stay whole on "
        "every chip",
    )
