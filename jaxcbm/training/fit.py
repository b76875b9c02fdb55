"""`fit`: features and phrases in, a model that explains itself out."""

import tempfile
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.store.feature_store import encode
from jaxcbm.distributed.mesh import make_mesh, shardings_for
from jaxcbm.distributed.placement import fetch, place, place_rows, replicate
from jaxcbm.distributed.processes import process_count
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.errors import UserError
from jaxcbm.model.model import Model
from jaxcbm.training import streamed_loop
from jaxcbm.training.config import FitConfig
from jaxcbm.training.data_mode import is_streamed
from jaxcbm.training.fit_arrays import (
    Inputs,
    check_features,
    fit_arrays,
    positives_source,
    start_on,
)
from jaxcbm.training.loop import Progress, place_valid, run
from jaxcbm.training.sparsify import sparsify
from jaxcbm.training.step import TrainData, make_plan
from jaxcbm.training.streamed_arrays import Stream, make_stream


def fit(
    train: ImageSet | Features,
    valid: ImageSet | Features,
    *,
    encoder: DualEncoder,
    concepts: ConceptSet,
    classes: tuple[str, ...] | list[str] | None = None,
    config: FitConfig | None = None,
    workdir: Path | str | None = None,
) -> Model:
    """Train a concept bottleneck on a frozen encoder.

    Args:
        train: images, or features from `jaxcbm.encode`.
        valid: the same; chooses when to stop and how sparse the head may be.
        encoder: a frozen dual encoder.
        concepts: the D phrases of the bottleneck.
        classes: K class names; those of `train` by default.
        config: everything else.
        workdir: keeps checkpoints and metrics there, and resumes from them; None keeps nothing.
            Several processes share it.

    Returns:
        The fitted model.

    Raises:
        UserError: no concepts, labels outside the classes, features of another encoder's width.
        Preempted: the run was asked to stop; the same call with this work directory goes on.
    """
    config = config or FitConfig()
    workdir = None if workdir is None else Path(workdir)
    train, valid = (_features(part, encoder, workdir) for part in (train, valid))
    classes = tuple(classes or train.classes)
    check_features(train, valid, encoder, concepts, classes)
    concepts_DxE = jnp.asarray(encoder.embed_texts(list(concepts.phrases)))
    mesh = make_mesh(config.mesh.data, config.mesh.model)
    class_embeddings = (
        jnp.asarray(encoder.embed_texts(list(classes)))
        if positives_source(config.bottleneck, train) == "classes"
        else None
    )
    streamed = is_streamed(config, train, len(concepts), mesh, workdir)
    inputs, progress = fit_features(
        train,
        valid,
        concepts_DxE=concepts_DxE,
        phrases=concepts.phrases,
        classes=classes,
        scale=encoder.logit_scale,
        bias=encoder.logit_bias,
        class_embeddings_KxE=class_embeddings,
        config=config,
        mesh=mesh,
        workdir=workdir,
        streamed=streamed,
    )
    model = Model(
        config=config.bottleneck,
        params=fetch(progress.best),
        input_map=jax.tree.map(np.asarray, inputs.layer),
        concepts=concepts,
        concept_embeddings=np.asarray(concepts_DxE),
        classes=classes,
        encoder_name=encoder.name,
        encoder_image_size=encoder.image_size,
        encoder_hash=encoder.content_hash,
        logit_scale=encoder.logit_scale,
        logit_bias=encoder.logit_bias,
        encoder=encoder,
    )
    if not config.sparse_head.enabled:
        return model
    if streamed:
        many, seed = config.sparse_head.images, config.training.seed
        logging.info("sparse head: solved on %d of %d images", min(many, len(train)), len(train))
        train, valid = train.sample(many, seed), valid.sample(many, seed)
        model = replace(model, metrics={**model.metrics, "sparse_head_images": len(train)})
    return sparsify(model, train, valid, config.sparse_head)[0]


def fit_features(
    train: Features,
    valid: Features,
    *,
    concepts_DxE: jax.Array,
    phrases: tuple[str, ...],
    classes: tuple[str, ...],
    scale: float,
    bias: float,
    class_embeddings_KxE: jax.Array | None,
    config: FitConfig,
    mesh: Mesh,
    workdir: Path | None = None,
    streamed: bool = False,
) -> tuple[Inputs, Progress]:
    """The fit on arrays, in memory or streamed from where they are: no encoder, no pixels."""
    read = make_stream if streamed else fit_arrays
    arrays = read(
        train,
        valid,
        concepts_DxE=concepts_DxE,
        phrases=phrases,
        scale=scale,
        bias=bias,
        class_embeddings_KxE=class_embeddings_KxE,
        config=config.bottleneck,
    )
    sizes = concepts_DxE.shape[0], len(classes)
    bottleneck, params = start_on(
        mesh, config.bottleneck, arrays.inputs, *sizes, config.training.seed
    )
    logging.info(
        "fitting %d concepts, %d classes on %d images", len(phrases), len(classes), len(train)
    )
    plan = make_plan(bottleneck, config, len(train))
    if isinstance(arrays, Stream):
        stream = arrays._replace(shared=_place(arrays.shared, mesh))
        return arrays.inputs, streamed_loop.run(plan, params, stream, mesh, workdir)
    progress = run(
        plan,
        params,
        _place(arrays.data, mesh),
        place_valid(arrays.valid_inputs, arrays.valid_labels, mesh),
        mesh,
        workdir,
    )
    return arrays.inputs, progress


def _place(data: TrainData, mesh: Mesh) -> TrainData:
    rows = {
        name: None if getattr(data, name) is None else place_rows(getattr(data, name), mesh)
        for name in ("inputs", "labels", "positives")
    }
    wide = {
        name: value
        for name in ("class_positives", "base_kernel")
        if (value := getattr(data, name)) is not None
    }
    placed = place(wide, shardings_for(wide, mesh))
    return TrainData(**rows, **placed, input_map=replicate(data.input_map, mesh))


def _features(part: ImageSet | Features, encoder: DualEncoder, workdir: Path | None) -> Features:
    if isinstance(part, Features):
        return part
    if workdir is not None:
        return encode(part, encoder, workdir / "features")
    if process_count() > 1:
        raise UserError("several processes encode images into one folder: give a work directory")
    with tempfile.TemporaryDirectory() as folder:
        features = encode(part, encoder, Path(folder))
        return replace(features, embeddings=features.as_array())
