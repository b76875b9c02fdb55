"""`fit`: features and phrases in, a model that explains itself out."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh

from jaxcbm.bottleneck import positives
from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import (
    InputMap,
    apply_map,
    raw_map,
    score_statistics,
    standardised_map,
)
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.feature_store import encode
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.distributed.mesh import make_mesh, place_rows, replicate
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.errors import UserError
from jaxcbm.serving.model import Model
from jaxcbm.training.config import FitConfig
from jaxcbm.training.loop import Progress, place_valid, run
from jaxcbm.training.sparsify import sparsify
from jaxcbm.training.step import TrainData, make_plan

# Scores wider than this are computed from the embeddings batch by batch instead of being kept.
KEEP_SCORES_UP_TO = 512


class Inputs(NamedTuple):
    """How embeddings become what the Concept Bottleneck Layer reads.

    Attributes:
        layer: e(x) -> the layer's inputs.
        base_kernel: the layer's inputs -> concept scores; None where the inputs are the scores.
    """

    layer: InputMap
    base_kernel: jax.Array | None


def make_inputs(
    config: BottleneckConfig,
    embeddings_NxE: jax.Array,
    concepts_DxE: jax.Array,
    scale: float,
    bias: float,
) -> Inputs:
    """Settle the input map from train statistics (or raw, without `standardise`)."""
    if config.standardise:
        mean_D, std_D = score_statistics(embeddings_NxE, concepts_DxE, scale, bias)
        scores = standardised_map(concepts_DxE, mean_D, std_D, scale, bias)
    else:
        scores = raw_map(concepts_DxE, scale, bias)
    if config.parameterisation != "factored":
        return Inputs(scores, None)
    centre_E = (
        jnp.mean(embeddings_NxE.astype(jnp.float32), axis=0)
        if config.standardise
        else jnp.zeros(concepts_DxE.shape[1])
    )
    return Inputs(InputMap(None, -centre_E), scores.kernel)


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

    Returns:
        The fitted model.

    Raises:
        UserError: no concepts, labels outside the classes, features of another encoder's width.
    """
    config = config or FitConfig()
    workdir = None if workdir is None else Path(workdir)
    train, valid = (_features(part, encoder, workdir) for part in (train, valid))
    classes = tuple(classes or train.classes)
    _check(train, valid, encoder, concepts, classes)
    concepts_DxE = jnp.asarray(encoder.embed_texts(list(concepts.phrases)))
    mesh = make_mesh(config.mesh.data, config.mesh.model)
    class_embeddings = (
        jnp.asarray(encoder.embed_texts(list(classes)))
        if _positives_source(config.bottleneck, train) == "classes"
        else None
    )
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
    )
    model = Model(
        config=config.bottleneck,
        params={path: np.asarray(value) for path, value in progress.best.items()},
        input_map=jax.tree.map(np.asarray, inputs.layer),
        concepts=concepts,
        concept_embeddings=np.asarray(concepts_DxE),
        classes=classes,
        encoder_name=encoder.name,
        encoder_hash=encoder.content_hash,
        logit_scale=encoder.logit_scale,
        logit_bias=encoder.logit_bias,
        encoder=encoder,
    )
    if not config.sparse_head.enabled:
        return model
    return sparsify(model, train, valid, config.sparse_head)


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
) -> tuple[Inputs, Progress]:
    """The fit on arrays: no encoder, no pixels."""
    train_NxE = train.as_array()
    inputs = make_inputs(config.bottleneck, jnp.asarray(train_NxE), concepts_DxE, scale, bias)
    bottleneck, params = build_bottleneck(
        config.bottleneck,
        inputs.layer.bias.shape[0],
        concepts_DxE.shape[0],
        len(classes),
        seed=config.training.seed,
    )
    if inputs.base_kernel is not None:
        params["cbl.kernel"] = inputs.base_kernel
    data = _train_data(
        config.bottleneck, train, train_NxE, inputs, concepts_DxE, phrases, class_embeddings_KxE
    )
    valid_inputs = _rows(inputs.layer, valid.as_array())
    logging.info(
        "fitting %d concepts, %d classes on %d images", len(phrases), len(classes), len(train)
    )
    progress = run(
        make_plan(bottleneck, config, len(train)),
        params,
        _place(data, mesh),
        place_valid(valid_inputs, np.asarray(valid.labels, np.int32), mesh),
        mesh,
        workdir,
    )
    return inputs, progress


def _rows(mapping: InputMap, embeddings: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(apply_map)(mapping, jnp.asarray(embeddings)))


def _train_data(
    config: BottleneckConfig,
    train: Features,
    train_NxE: np.ndarray,
    inputs: Inputs,
    concepts_DxE: jax.Array,
    phrases: tuple[str, ...],
    class_embeddings_KxE: jax.Array | None,
) -> TrainData:
    width = inputs.layer.bias.shape[0]
    keep = width <= max(KEEP_SCORES_UP_TO, train_NxE.shape[1])
    source = _positives_source(config, train)
    per_image: Any = None
    per_class: Any = None
    if source == "annotations":
        per_image = annotated_positives(train, phrases)
    elif source == "classes":
        assert class_embeddings_KxE is not None
        similarity_KxD = jnp.matmul(class_embeddings_KxE, concepts_DxE.T)
        per_class = positives.class_positives(
            similarity_KxD, k=min(config.positives_k, len(phrases))
        )
    # Still on the host: `_place` puts each of them on the mesh.
    rows: Any = _rows(inputs.layer, train_NxE) if keep else train_NxE
    labels: Any = np.asarray(train.labels, np.int32)
    return TrainData(
        inputs=rows,
        labels=labels,
        positives=per_image,
        class_positives=per_class,
        base_kernel=inputs.base_kernel,
        input_map=None if keep else inputs.layer,
    )


def _place(data: TrainData, mesh: Mesh) -> TrainData:
    rows = {
        name: None if getattr(data, name) is None else place_rows(getattr(data, name), mesh)
        for name in ("inputs", "labels", "positives")
    }
    whole = {
        name: replicate(getattr(data, name), mesh)
        for name in ("class_positives", "base_kernel", "input_map")
    }
    return TrainData(**rows, **whole)


def annotated_positives(features: Features, phrases: tuple[str, ...]) -> np.ndarray:
    """Annotation columns in the order of the phrases, uint8 [N, D]; unknown counts as absent."""
    assert features.annotations is not None
    columns_D = positives.match_phrases(phrases, features.annotation_phrases)
    return np.asarray(positives.from_annotations(features.annotations, columns_D)).astype(np.uint8)


def _positives_source(config: BottleneckConfig, train: Features) -> str:
    """Which kind of positives this fit uses; `none` where the objective needs none."""
    if config.variant != "paired" or config.objective not in ("contrastive", "gumbel"):
        return "none"
    annotated = train.annotations is not None
    if config.positives == "annotations" and not annotated:
        raise UserError("config.bottleneck.positives=annotations, but the data has none: use auto")
    if config.positives == "auto":
        return "annotations" if annotated else "classes"
    return config.positives


def _features(part: ImageSet | Features, encoder: DualEncoder, workdir: Path | None) -> Features:
    if isinstance(part, Features):
        return part
    if workdir is not None:
        return encode(part, encoder, workdir / "features")
    with tempfile.TemporaryDirectory() as folder:
        features = encode(part, encoder, Path(folder))
        return replace(features, embeddings=features.as_array())


def _check(
    train: Features,
    valid: Features,
    encoder: DualEncoder,
    concepts: ConceptSet,
    classes: tuple[str, ...],
) -> None:
    if len(concepts) == 0:
        raise UserError("the concept set is empty: give at least one phrase")
    for name, part in (("train", train), ("valid", valid)):
        if len(part) == 0:
            raise UserError(f"the {name} split has no images")
        if part.embeddings.shape[1] != encoder.embed_dim:
            raise UserError(
                f"the {name} features have width {part.embeddings.shape[1]}, the encoder "
                f"{encoder.name} gives {encoder.embed_dim}: encode them with this encoder"
            )
        if part.labels.min() < 0 or part.labels.max() >= len(classes):
            raise UserError(f"the {name} labels do not fit {len(classes)} classes")
