"""`fit`: features and phrases in, a model that explains itself out."""

import functools
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.labels import class_names
from jaxcbm.data.skipped import report_skipped
from jaxcbm.data.store.cache import features_folder
from jaxcbm.data.store.feature_store import encode
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import fetch
from jaxcbm.distributed.processes import process_count
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.model.model import Model, make_model
from jaxcbm.model.texts import Texts, embed_words
from jaxcbm.training.calibrate import calibrate
from jaxcbm.training.config import FitConfig
from jaxcbm.training.data_mode import data_identity, is_streamed
from jaxcbm.training.feeds import memory_feed, stream_feed
from jaxcbm.training.fit_arrays import (
    Inputs,
    check_features,
    fit_arrays,
    place_data,
    place_valid,
    source_of,
    split_arrays,
    start_on,
)
from jaxcbm.training.loop import Feed, Progress, run
from jaxcbm.training.sparsify import sparsify
from jaxcbm.training.state import place_state, state_shardings
from jaxcbm.training.step import make_plan
from jaxcbm.training.streamed_arrays import make_stream


def fit(
    train: ImageSet | Features,
    valid: ImageSet | Features,
    *,
    encoder: DualEncoder | str | Path,
    concepts: ConceptSet | str | Path | Iterable[str],
    classes: Sequence[str] | None = None,
    config: FitConfig | None = None,
    workdir: Path | str | None = None,
) -> Model:
    """Train a concept bottleneck on a frozen encoder.

    Args:
        train: images, or features from `jaxcbm.encode`.
        valid: the same; chooses when to stop and how sparse the head may be.
        encoder: a frozen dual encoder, or what `load_encoder` loads it by.
        concepts: the D phrases of the bottleneck, a built-in set's name, or a file.
        classes: K class names; those of `train` by default.
        config: everything else.
        workdir: keeps checkpoints and metrics there, and resumes from them; None keeps nothing.
            Several processes share it.

    Returns:
        The fitted model.

    Raises:
        UserError: no concepts, labels outside the classes, features of another encoder's width;
            images with annotations of fewer than half of the phrases, unless `config` says
            `bottleneck.positives="scores"` or "classes".
        Preempted: the run was asked to stop; the same call with this work directory goes on.
    """
    config = config or FitConfig()
    encoder, concepts = load_encoder(encoder), ConceptSet.of(concepts)
    workdir = None if workdir is None else Path(workdir)
    source_of(config.bottleneck, train, concepts.phrases)  # a mistake shows before encoding
    parts = train, valid
    train, valid = (_features(part, encoder, workdir) for part in parts)
    if encoded := [part for part in (train, valid) if part not in parts]:
        report_skipped(encoded, workdir)
    classes = class_names(classes or train.classes)
    check_features(train, valid, encoder, concepts, classes)
    texts = embed_words(encoder, concepts, classes)
    mesh = make_mesh(config.mesh.data, config.mesh.model)
    streamed = is_streamed(config, train, len(concepts), mesh, workdir)
    inputs, progress = fit_features(
        train, valid, texts, config=config, mesh=mesh, workdir=workdir, streamed=streamed
    )
    model = make_model(
        encoder, concepts, texts, config.bottleneck, fetch(progress.best), inputs.layer
    )
    seed = config.training.seed
    if not config.sparse_head.enabled:
        return calibrate(model, train, valid, seed)
    if streamed:
        many = config.sparse_head.images
        logging.info("sparse head: solved on %d of %d images", min(many, len(train)), len(train))
        train, valid = train.sample(many, seed), valid.sample(many, seed)
        model = replace(model, metrics={**model.metrics, "sparse_head_images": len(train)})
    return calibrate(sparsify(model, train, valid, config.sparse_head), train, valid, seed)


def fit_features(
    train: Features,
    valid: Features,
    texts: Texts,
    *,
    config: FitConfig,
    mesh: Mesh,
    workdir: Path | None = None,
    streamed: bool = False,
) -> tuple[Inputs, Progress]:
    """The fit on arrays, in memory or streamed from where they are: no encoder, no pixels."""
    training = config.training
    sizes = len(texts.phrases), len(texts.classes)
    logging.info("fitting %d concepts, %d classes on %d images", *sizes, len(train))
    make = _streamed if streamed else _in_memory
    inputs, feed_on = make(train, valid, texts, config.bottleneck, mesh)
    bottleneck, params = start_on(mesh, config.bottleneck, inputs, *sizes, training.seed)
    plan = make_plan(bottleneck, config, len(train))
    shardings = state_shardings(plan, params, mesh)
    progress = run(
        feed_on(plan, shardings=shardings, mesh=mesh),
        place_state(plan, params, shardings),
        mesh,
        steps=plan.total_steps,
        keep_best=training.keep_best,
        patience=training.patience,
        checkpoint_every=training.checkpoint_every,
        workdir=workdir,
        identity=data_identity(training, train, valid, texts, streamed),
    )
    return inputs, progress


def _in_memory(
    train: Features, valid: Features, texts: Texts, config: BottleneckConfig, mesh: Mesh
) -> tuple[Inputs, Callable[..., Feed]]:
    source = source_of(config, train, texts.phrases)
    parts = split_arrays(train, source, texts.phrases), split_arrays(valid)
    arrays = fit_arrays(config, texts, *parts, source)
    # Through the host: every process puts only the rows of its own devices on the mesh.
    data, held = jax.tree.map(np.asarray, (arrays.data, arrays.valid))
    placed = {"data": place_data(data, mesh), "valid": place_valid(held, mesh)}
    return arrays.inputs, functools.partial(memory_feed, **placed)


def _streamed(
    train: Features, valid: Features, texts: Texts, config: BottleneckConfig, mesh: Mesh
) -> tuple[Inputs, Callable[..., Feed]]:
    stream = make_stream(config, texts, train, valid)
    placed = stream._replace(shared=place_data(stream.shared, mesh))
    return stream.inputs, functools.partial(stream_feed, stream=placed)


def _features(part: ImageSet | Features, encoder: DualEncoder, workdir: Path | None) -> Features:
    if isinstance(part, Features):
        return part
    if workdir is not None:
        return encode(part, encoder, features_folder(workdir), quiet=True)
    if process_count() > 1:
        raise UserError("several processes encode images into one folder: give a work directory")
    with tempfile.TemporaryDirectory() as folder:
        features = encode(part, encoder, Path(folder), quiet=True)
        return replace(features, embeddings=features.as_array())
