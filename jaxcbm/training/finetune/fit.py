"""End-to-end training: the bottleneck on the frozen encoder first, then both together."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh

from jaxcbm.bottleneck.model import Params
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.pixel_batches import Pictures, of_features
from jaxcbm.data.store.feature_store import encode
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import fetch
from jaxcbm.distributed.processes import process_count
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.finetune.lora import LoraConfig, init_lora
from jaxcbm.encoders.finetune.trainable import Rule, trainable
from jaxcbm.encoders.finetune.tuned import Tuned, apply_tuned
from jaxcbm.errors import UserError
from jaxcbm.model.model import Model
from jaxcbm.training.config import FitConfig
from jaxcbm.training.finetune.config import TuningConfig, batch_sizes, joined
from jaxcbm.training.finetune.loop import run
from jaxcbm.training.finetune.step import Fixed, LiveText, Task, group_optimizer, live_maps
from jaxcbm.training.fit import fit_features
from jaxcbm.training.fit_arrays import (
    Inputs,
    annotated_positives,
    check_features,
    class_positives_of,
    positives_source,
    start,
)
from jaxcbm.training.sparsify import sparsify
from jaxcbm.training.step import Plan


class Split(NamedTuple):
    """Images, and their features from the frozen encoder; images that these lack are left out."""

    images: ImageSet
    features: Features


class Recipe(NamedTuple):
    """What is trained, and how.

    Attributes:
        encoder: where training starts from.
        concepts: the D phrases of the bottleneck.
        classes: K class names.
        rules: what trains of the encoder; `rules_of("lora", "", LoraConfig())`, say.
        lora: rank, strength and dropout of the adapters.
        tuning: length, optimizers and memory of the end-to-end part.
        config: everything that `jaxcbm.fit` reads.
    """

    encoder: DualEncoder
    concepts: ConceptSet
    classes: tuple[str, ...]
    rules: tuple[Rule, ...]
    lora: LoraConfig = LoraConfig()
    tuning: TuningConfig = TuningConfig()
    config: FitConfig = FitConfig()


class Start(NamedTuple):
    """Where the end-to-end part begins; the arguments of `tuning_loop.run`."""

    task: Task
    params: Params
    fixed: Fixed
    train: Pictures
    valid: Pictures
    mesh: Mesh
    identity: dict[str, Any]


def fit_end_to_end(
    train: ImageSet, valid: ImageSet, recipe: Recipe, workdir: Path | str | None = None
) -> Model:
    """Train a concept bottleneck and its encoder, or adapters on it, together.

    Args:
        train: images.
        valid: images; choose when to stop and how sparse the head may be.
        recipe: encoder, concepts, what trains, and how.
        workdir: keeps checkpoints, metrics and features, and resumes; None keeps nothing. Several
            processes share it.

    Returns:
        The fitted model with its tuned encoder.

    Raises:
        UserError: as `jaxcbm.fit`; rules that match nothing; images that cannot be read any more.
        Preempted: the run was asked to stop; the same call with this work directory goes on.

    Reference: fitting on frozen features before anything else trains: Kumar et al. 2022
    (arXiv 2202.10054).
    """
    if workdir is None:
        if process_count() > 1:
            raise UserError("several processes encode into one folder: give a work directory")
        with tempfile.TemporaryDirectory() as folder:
            return fit_end_to_end(train, valid, recipe, folder)
    store, parts = Path(workdir) / "features", (train, valid)
    before = [Split(part, encode(part, recipe.encoder, store)) for part in parts]
    model = tune(before[0], before[1], recipe, Path(workdir))
    if not recipe.config.sparse_head.enabled:
        return model
    assert model.encoder is not None
    after = [encode(part, model.encoder, store) for part in parts]
    return sparsify(model, after[0], after[1], recipe.config.sparse_head)[0]


def tune(train: Split, valid: Split, recipe: Recipe, workdir: Path) -> Model:
    """Both parts of the training; the model has the head that optax trained."""
    begun = begin(train, valid, recipe, workdir)
    result = run(*begun, workdir / "tuning")
    return _model(fetch(result.best), begun.fixed, recipe)


def begin(train: Split, valid: Split, recipe: Recipe, workdir: Path | None = None) -> Start:
    """Fit the bottleneck on the frozen encoder, and gather what the end-to-end part needs."""
    encoder, concepts, config = recipe.encoder, recipe.concepts, recipe.config
    what = trainable(encoder.params, recipe.rules)
    check_features(train.features, valid.features, encoder, concepts, recipe.classes)
    concepts_DxE = jnp.asarray(encoder.embed_texts(list(concepts.phrases)))
    source = positives_source(config.bottleneck, train.features)
    classes_KxE = (
        jnp.asarray(encoder.embed_texts(list(recipe.classes))) if source == "classes" else None
    )
    mesh = make_mesh(config.mesh.data, config.mesh.model)
    inputs, progress = fit_features(
        train.features,
        valid.features,
        concepts_DxE=concepts_DxE,
        phrases=concepts.phrases,
        classes=recipe.classes,
        scale=encoder.logit_scale,
        bias=encoder.logit_bias,
        class_embeddings_KxE=classes_KxE,
        config=config,
        mesh=mesh,
        workdir=workdir,
    )
    live = any(path.startswith("text.") for path in (*what.train, *what.lora))
    fixed = Fixed(
        encoder={path: v for path, v in encoder.params.items() if path not in what.train},
        input_map=inputs.layer,
        base_kernel=inputs.base_kernel,
        class_positives=class_positives_of(config.bottleneck, classes_KxE, concepts_DxE),
        text=_live_text(recipe, concepts_DxE, inputs) if live else None,
    )
    adapters = init_lora(
        {path: encoder.params[path].shape for path in what.lora}, recipe.lora, config.training.seed
    )
    params = {f"encoder.{path}": encoder.params[path] for path in what.train} | {
        f"lora.{name}": value for name, value in adapters.items()
    }
    logging.info(
        "tuning %s: %d adapters, %d whole parameters, %d numbers",
        *(encoder.name, len(what.lora), len(what.train), sum(v.size for v in params.values())),
    )
    positives = (
        annotated_positives(train.features, concepts.phrases) if source == "annotations" else None
    )
    how = recipe.tuning.threads, recipe.tuning.workers
    return Start(
        _task(recipe, inputs, len(train.features), mesh),
        fetch({**progress.best, **params}),
        fetch(fixed),
        Pictures(of_features(train.images, train.features), encoder.preprocess, positives, *how),
        Pictures(of_features(valid.images, valid.features), encoder.preprocess, None, *how),
        mesh,
        {"encoder": encoder.name, "hash": encoder.content_hash, "trains": list(params)},
    )


def _task(recipe: Recipe, inputs: Inputs, examples: int, mesh: Mesh) -> Task:
    encoder, tuning, config = recipe.encoder, recipe.tuning, recipe.config
    size = batch_sizes(tuning, examples, mesh.shape["data"])
    steps_per_epoch = examples // size
    shape = len(recipe.concepts), len(recipe.classes)
    plan = Plan(
        start(config.bottleneck, inputs, *shape, config.training.seed)[0],
        joined(config, tuning),
        group_optimizer(tuning, steps_per_epoch * tuning.epochs),
        examples,
        size,
        steps_per_epoch,
    )
    how = encoder.preprocess
    return Task(
        *(plan, tuning, recipe.lora, encoder.graph, tuple(encoder.params), encoder.dtype),
        *(how.scale, how.mean, how.std),
    )


def _live_text(recipe: Recipe, concepts_DxE: jax.Array, inputs: Inputs) -> LiveText:
    """Ids of the phrases, and how their embeddings became the input map (both are linear)."""
    tokenizer = recipe.encoder.tokenizer
    ids = tokenizer.ids(list(recipe.concepts.phrases))
    length = tokenizer.context_length if tokenizer.full_rows else max(map(len, ids))
    kernel: Any = inputs.layer.kernel if inputs.base_kernel is None else inputs.base_kernel
    rows_E = None
    if inputs.base_kernel is not None and inputs.layer.kernel is not None:
        rows_E = 1.0 / jnp.diagonal(inputs.layer.kernel)
        kernel = kernel / rows_E[:, None]
    columns_D = jnp.sum(kernel * concepts_DxE.T, axis=0)
    return LiveText(jnp.asarray(tokenizer.pad(ids, length)), columns_D, rows_E)


def _model(best: dict[str, np.ndarray], fixed: Fixed, recipe: Recipe) -> Model:
    encoder = recipe.encoder
    arrays = {k: v for k, v in best.items() if k.split(".")[0] in ("encoder", "lora")}
    tuned = Tuned(encoder.name, encoder.content_hash, recipe.lora, arrays)
    tuned_encoder = apply_tuned(encoder, tuned)
    concepts_DxE = jnp.asarray(tuned_encoder.embed_texts(list(recipe.concepts.phrases)))
    input_map, _ = live_maps(fixed, concepts_DxE)
    return Model(
        config=recipe.config.bottleneck,
        params={k: v for k, v in best.items() if k not in arrays},
        input_map=jax.tree.map(np.asarray, input_map),
        concepts=recipe.concepts,
        concept_embeddings=np.asarray(concepts_DxE),
        classes=recipe.classes,
        encoder_name=encoder.name,
        encoder_image_size=encoder.image_size,
        encoder_hash=tuned_encoder.content_hash,
        logit_scale=encoder.logit_scale,
        logit_bias=encoder.logit_bias,
        encoder=tuned_encoder,
        tuned=tuned,
    )
