"""Predicting pictures: `Model.apply` as `jaxcbm predict` runs it, batch after batch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.distributed.placement import abstract_place
from jaxcbm.model.model import Model
from jaxcbm.planning.job import Job, Stage, array, bytes_on_chip, check_batch
from jaxcbm.planning.train_stage import abstract_arrays
from jaxcbm.training.fit_arrays import abstract_start


def predict_stage(job: Job, mesh: Mesh, batch: int) -> Stage:
    """Pixels to predictions for one batch, all weights whole on every chip.

    Args:
        job: the experiment; all its images are predicted once.
        mesh: batches lie over `data`; along `model` the work is repeated.
        batch: images a step.
    """
    check_batch(batch, mesh)
    model, weights = abstract_model(job)
    size = job.encoder.image_size
    pixels = array(mesh, (batch, size, size, 3), np.uint8, "data")
    rows = NamedSharding(mesh, PartitionSpec("data"))
    arguments = abstract_place(weights, NamedSharding(mesh, PartitionSpec())), pixels
    step: Any = jax.jit(model.apply, out_shardings=rows)
    said = abstract_place(jax.eval_shape(model.apply, *arguments), rows)
    note = f"along model={mesh.shape['model']} the same images are predicted again"
    return Stage(
        lower=lambda: step.lower(*arguments),
        arguments=arguments,
        batch=batch,
        steps=1,
        images=job.train + job.valid + job.test,
        # The next batch is sent while the chip works, and what was said of the last one fetched.
        held=bytes_on_chip((pixels, said)),
        notes=(note,) if mesh.shape["model"] > 1 else (),
    )


def abstract_model(job: Job) -> tuple[Model, Mapping[str, jax.ShapeDtypeStruct]]:
    """A model of the job's sizes with shapes in place of arrays, and what `Model.weights` would be.

    Only `Model.apply` works on it.
    """
    config = job.config.bottleneck
    inputs = abstract_arrays(job, config).inputs
    _, params = abstract_start(config, inputs, job.concepts, job.classes)
    concepts = jax.ShapeDtypeStruct((job.concepts, job.encoder.embed_dim), np.float32)

    def model(tower: Any, params: Any, input_map: InputMap, concepts: Any) -> Model:
        encoder = replace(job.encoder, params=tower)
        # Shapes have no content that could be another one's.
        encoder.__dict__["content_hash"] = ""
        return Model(
            config=config,
            params=params,
            input_map=input_map,
            concepts=ConceptSet.from_phrases([f"concept {d}" for d in range(job.concepts)]),
            concept_embeddings=concepts,
            classes=tuple(f"class {k}" for k in range(job.classes)),
            encoder_name=job.encoder.name,
            encoder_hash=encoder.content_hash,
            logit_scale=100.0,
            logit_bias=0.0,
            encoder=encoder,
        )

    shapes = dict(job.encoder.params), params, inputs.layer, concepts
    weights = jax.eval_shape(lambda *arrays: dict(model(*arrays).weights), *shapes)
    return model(*shapes), weights
