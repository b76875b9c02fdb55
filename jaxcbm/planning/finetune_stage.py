"""Training the encoder too: one step as `jaxcbm train` with a trained encoder runs it."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxcbm.data.pixel_batches import Batch
from jaxcbm.distributed.placement import abstract_place
from jaxcbm.encoders.finetune.trainable import trainable
from jaxcbm.errors import UserError
from jaxcbm.planning.job import Job, Stage, array, bytes_on_chip, check_batch, key_shape, lowered
from jaxcbm.planning.train_stage import (
    abstract_arrays,
    abstract_texts,
    batch_rows,
    source_of,
    whole_notes,
)
from jaxcbm.training.finetune.feed import compile_finetune_step, place_fixed
from jaxcbm.training.finetune.fit import finetune_arrays, trains_text
from jaxcbm.training.finetune.step import make_finetune_plan
from jaxcbm.training.fit_arrays import abstract_start
from jaxcbm.training.state import abstract_state, state_shardings
from jaxcbm.training.step import METRICS


def finetune_stage(job: Job, mesh: Mesh, batch: int) -> Stage:
    """One step of the encoder and the bottleneck together.

    Args:
        job: the experiment; its rules say what trains of the encoder.
        mesh: images lie over `data`; what trains of the encoder is whole on every chip.
        batch: images a step.

    Raises:
        UserError: nothing of the encoder trains, or the batch cannot be cut into its parts.
    """
    parts, data = max(job.finetune.accumulate, 1), mesh.shape["data"]
    check_batch(batch, mesh)
    if batch % (parts * data):
        raise UserError(
            f"--batch-size={batch} cannot be cut into accumulate={parts} parts for {data} devices"
        )
    if batch > job.train:
        raise UserError(f"--batch-size={batch} is more than the {job.train} train images")
    arrays = abstract_arrays(job, job.config.bottleneck)
    bottleneck, start = abstract_start(
        job.config.bottleneck, arrays.inputs, job.concepts, job.classes
    )
    settings = replace(job.finetune, batch_size=batch)
    plan = make_finetune_plan(
        bottleneck, job.encoder, job.config, settings, job.lora, job.train, data
    )
    trained, fixed = _finetune_shapes(job, arrays)
    params = {**start, **trained}
    placed = state_shardings(plan.fit, params, mesh)
    state = abstract_state(plan.fit, params, placed)
    size = job.encoder.image_size
    pixels = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)
    step: Any = compile_finetune_step(plan, placed, mesh)
    arguments = (
        state,
        {name: array(mesh, (), jnp.float32) for name in METRICS},
        place_fixed(fixed, mesh, whole=abstract_place),
        Batch(*batch_rows(job, pixels, arrays, mesh)),
        key_shape(mesh),
    )

    return Stage(
        lower=partial(lowered, step, mesh, arguments),
        arguments=arguments,
        batch=batch,
        steps=1,
        images=plan.fit.total_steps * batch,
        held=bytes_on_chip(state.params),  # the best parameters so far
        notes=whole_notes(job, mesh),
    )


def _finetune_shapes(job: Job, arrays: Any) -> Any:
    """What trains of the encoder and what does not, from the function that makes both."""
    what, texts = trainable(job.encoder.params, job.rules), abstract_texts(job)
    # Phrases are shorter than the context as a rule; this is the most that they can take.
    ids = None
    if trains_text(what):
        length = job.encoder.config.text.context_length
        ids = jax.ShapeDtypeStruct((job.concepts, length), jnp.int32)

    def make(encoder: Any, concepts: Any, classes: Any, inputs: Any, ids: Any) -> Any:
        whole = texts._replace(concepts_DxE=concepts, classes_KxE=classes)
        how = job.config.bottleneck, job.lora, what
        return finetune_arrays(*how, encoder, whole, inputs, source_of(job), ids)

    words = texts.concepts_DxE, texts.classes_KxE
    return jax.eval_shape(make, dict(job.encoder.params), *words, arrays.inputs, ids)
