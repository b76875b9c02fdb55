"""Encoding images: the image tower as `jaxcbm encode` runs it."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcbm.planning.job import Job, Stage, array, check_batch, whole


def encode_stage(job: Job, mesh: Mesh, batch: int) -> Stage:
    """The image tower on one batch, its weights whole on every chip.

    Args:
        job: the experiment; all its images are encoded once.
        mesh: batches lie over `data`; along `model` the work is repeated.
        batch: images a step.
    """
    check_batch(batch, mesh)
    encoder = replace(job.encoder, mesh=mesh)
    # What the encoder holds on the device: its matrices in the compute type.
    operands = jax.eval_shape(
        lambda params: replace(encoder, params=params)._operands, dict(encoder.params)
    )
    size = encoder.image_size
    pixels = array(mesh, (batch, size, size, 3), np.uint8, "data")
    tower: Any = encoder.image_tower
    arguments = whole(operands, mesh), pixels
    note = f"along model={mesh.shape['model']} the same images are encoded again"
    return Stage(
        lower=lambda: tower.lower(*arguments),
        arguments=arguments,
        batch=batch,
        steps=1,
        images=job.train + job.valid + job.test,
        held=0.0,
        notes=(note,) if mesh.shape["model"] > 1 else (),
    )
