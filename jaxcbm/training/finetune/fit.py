"""Fine-tuning: the bottleneck on the frozen encoder first, then both together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import Params
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.pixel_batches import Pictures, of_features
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import fetch
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.finetune.finetuned import FinetunedWeights, apply_finetuned
from jaxcbm.encoders.finetune.lora import LoraConfig, init_lora
from jaxcbm.encoders.finetune.trainable import Rule, Trainable, trainable
from jaxcbm.model.model import Model, make_model
from jaxcbm.model.texts import Texts, embed_words
from jaxcbm.training.config import FitConfig
from jaxcbm.training.finetune.config import FinetuneConfig
from jaxcbm.training.finetune.feed import PixelSplits, pixel_feed, place_fixed
from jaxcbm.training.finetune.step import (
    FinetunePlan,
    Fixed,
    LiveText,
    live_maps,
    make_finetune_plan,
)
from jaxcbm.training.fit import fit_features
from jaxcbm.training.fit_arrays import (
    Inputs,
    abstract_start,
    annotated_positives,
    check_features,
    shared_data,
    source_of,
)
from jaxcbm.training.loop import Progress, run
from jaxcbm.training.state import place_state, state_shardings


class ImageSplit(NamedTuple):
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
        finetune: length, optimizers and memory of the second part.
        config: everything that `jaxcbm.fit` reads.
    """

    encoder: DualEncoder
    concepts: ConceptSet
    classes: tuple[str, ...]
    rules: tuple[Rule, ...]
    lora: LoraConfig = LoraConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    config: FitConfig = FitConfig()


class Begun(NamedTuple):
    """Where the second part begins.

    Attributes:
        plan: the static configuration.
        params: what trains, at its start; on the host, as `fixed`.
        fixed: what does not train.
        splits: the images.
        mesh: where everything will lie.
        identity: name and hash of the encoder, and what trains of it; JSON.
    """

    plan: FinetunePlan
    params: Params
    fixed: Fixed
    splits: PixelSplits
    mesh: Mesh
    identity: dict[str, Any]


def finetune_splits(train: ImageSplit, valid: ImageSplit, recipe: Recipe, workdir: Path) -> Model:
    """Train a concept bottleneck and its encoder, or adapters on it, together.

    Args:
        train: images and features.
        valid: images and features; choose when to stop.
        recipe: encoder, concepts, what trains, and how.
        workdir: keeps checkpoints and metrics, and resumes. Several processes share it.

    Returns:
        The fitted model with its fine-tuned encoder and the head that optax trained.

    Raises:
        UserError: as `jaxcbm.fit`; rules that match nothing; images that cannot be read any more.
        Preempted: the run was asked to stop; the same call with this work directory goes on.

    Reference: fitting on frozen features before anything else trains: Kumar et al. 2022
    (arXiv 2202.10054).
    """
    begun = begin(train, valid, recipe, workdir)
    best = fetch(run_finetune(begun, workdir / "finetune").best)
    return _model(best, begun.fixed, recipe)


def begin(
    train: ImageSplit, valid: ImageSplit, recipe: Recipe, workdir: Path | None = None
) -> Begun:
    """Fit the bottleneck on the frozen encoder, and gather what the second part needs."""
    encoder, concepts, config = recipe.encoder, recipe.concepts, recipe.config
    what = trainable(encoder.params, recipe.rules)
    check_features(train.features, valid.features, encoder, concepts, recipe.classes)
    texts = embed_words(encoder, concepts, recipe.classes)
    mesh = make_mesh(config.mesh.data, config.mesh.model)
    inputs, progress = fit_features(
        train.features, valid.features, texts, config=config, mesh=mesh, workdir=workdir
    )
    source = source_of(config.bottleneck, train.features, texts.phrases)
    ids = _phrase_ids(encoder, texts.phrases) if trains_text(what) else None
    params, fixed = finetune_arrays(
        config.bottleneck,
        recipe.lora,
        what,
        encoder.params,
        texts,
        inputs,
        source,
        ids,
        seed=config.training.seed,
    )
    logging.info(
        "fine-tuning %s: %d adapters, %d whole parameters, %d numbers",
        *(encoder.name, len(what.lora), len(what.train), sum(v.size for v in params.values())),
    )
    positives = (
        annotated_positives(train.features, texts.phrases)(None)
        if source == "annotations"
        else None
    )

    def pictures(part: ImageSplit, positives_NxD: np.ndarray | None) -> Pictures:
        images = of_features(part.images, part.features)
        return Pictures(images, encoder.preprocess, positives_NxD, recipe.finetune.threads)

    bottleneck, _ = abstract_start(
        config.bottleneck, inputs, len(texts.phrases), len(texts.classes)
    )
    return Begun(
        make_finetune_plan(
            bottleneck,
            encoder,
            config,
            recipe.finetune,
            recipe.lora,
            len(train.features),
            mesh.shape["data"],
        ),
        fetch({**progress.best, **params}),
        fetch(fixed),
        PixelSplits(pictures(train, positives), pictures(valid, None)),
        mesh,
        {"encoder": encoder.name, "hash": encoder.content_hash, "trains": list(params)},
    )


def run_finetune(begun: Begun, workdir: Path | None = None) -> Progress:
    """The second part; the frozen start is a candidate for the best epoch."""
    plan, params, fixed, splits, mesh, identity = begun
    shardings = state_shardings(plan.fit, params, mesh)
    return run(
        pixel_feed(plan, place_fixed(fixed, mesh), splits, shardings, mesh),
        place_state(plan.fit, params, shardings),
        mesh,
        steps=plan.fit.total_steps,
        patience=plan.finetune.patience,
        checkpoint_every=plan.finetune.checkpoint_every,
        workdir=workdir,
        identity=identity,
        measure_start=True,
    )


def trains_text(what: Trainable) -> bool:
    """Whether concept embeddings change during training."""
    return any(path.startswith("text.") for path in (*what.train, *what.lora))


def finetune_arrays(
    config: BottleneckConfig,
    lora: LoraConfig,
    what: Trainable,
    encoder: Mapping[str, Any],
    texts: Texts,
    inputs: Inputs,
    source: str,
    ids_DxT: Any = None,
    *,
    seed: int = 0,
) -> tuple[Params, Fixed]:
    """What trains of the encoder, and what does not train; a pure function of the arrays.

    Args:
        config: of the bottleneck.
        lora: size of the adapters.
        what: which parameters train.
        encoder: all of its parameters, by path.
        texts: by that encoder.
        inputs: of the bottleneck that was fitted on it.
        source: from `jaxcbm.training.fit_arrays.source_of`.
        ids_DxT: tokens of the phrases, int32, where the text tower trains.
        seed: of the adapters.
    """
    adapters = init_lora({path: encoder[path].shape for path in what.lora}, lora, seed)
    trains = {f"encoder.{path}": encoder[path] for path in what.train}
    trains |= {f"lora.{name}": value for name, value in adapters.items()}
    shared = shared_data(config, texts, inputs, source)
    fixed = Fixed(
        encoder={path: value for path, value in encoder.items() if path not in what.train},
        input_map=inputs.layer,
        base_kernel=inputs.base_kernel,
        class_positives=shared.class_positives,
        text=None if ids_DxT is None else _live_text(ids_DxT, texts.concepts_DxE, inputs),
    )
    return trains, fixed


def _phrase_ids(encoder: DualEncoder, phrases: tuple[str, ...]) -> np.ndarray:
    tokenizer = encoder.tokenizer
    ids = tokenizer.ids(list(phrases))
    length = tokenizer.context_length if tokenizer.full_rows else max(map(len, ids))
    return tokenizer.pad(ids, length)


def _live_text(ids_DxT: Any, concepts_DxE: Any, inputs: Inputs) -> LiveText:
    """Ids of the phrases, and how their embeddings became the input map (both are linear)."""
    kernel: Any = inputs.layer.kernel if inputs.base_kernel is None else inputs.base_kernel
    rows_E = None
    if inputs.base_kernel is not None and inputs.layer.kernel is not None:
        rows_E = 1.0 / jnp.diagonal(inputs.layer.kernel)
        kernel = kernel / rows_E[:, None]
    columns_D = jnp.sum(kernel * concepts_DxE.T, axis=0)
    return LiveText(jnp.asarray(ids_DxT), columns_D, rows_E)


def _model(best: dict[str, np.ndarray], fixed: Fixed, recipe: Recipe) -> Model:
    encoder = recipe.encoder
    arrays = {k: v for k, v in best.items() if k.split(".")[0] in ("encoder", "lora")}
    finetuned = FinetunedWeights(encoder.name, encoder.content_hash, recipe.lora, arrays)
    finetuned_encoder = apply_finetuned(encoder, finetuned)
    texts = embed_words(finetuned_encoder, recipe.concepts, recipe.classes)
    return make_model(
        finetuned_encoder,
        recipe.concepts,
        texts,
        recipe.config.bottleneck,
        {path: value for path, value in best.items() if path not in arrays},
        live_maps(fixed, texts.concepts_DxE)[0],
        finetuned,
    )
