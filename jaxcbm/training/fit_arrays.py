"""The arrays that a fit reads: from embeddings and phrases to inputs, labels and positives."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from jaxcbm.bottleneck import positives
from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import Bottleneck, ConceptBottleneck, Params, build_bottleneck
from jaxcbm.bottleneck.scores import (
    InputMap,
    apply_map,
    embedding_moments,
    raw_map,
    standardised_map,
    statistics_of_moments,
)
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.distributed.mesh import shardings_for
from jaxcbm.distributed.placement import place
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.errors import UserError
from jaxcbm.flat_params import abstract, split_flat
from jaxcbm.training.step import TrainData

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
    moments = embedding_moments(embeddings_NxE) if config.standardise else None
    return inputs_of_moments(config, moments, concepts_DxE, scale, bias)


def inputs_of_moments(
    config: BottleneckConfig,
    moments: tuple[jax.Array, jax.Array] | None,
    concepts_DxE: jax.Array,
    scale: float,
    bias: float,
) -> Inputs:
    """The input map from mean [E] and covariance [E, E] of the train embeddings.

    Without `standardise` it needs none.
    """
    if moments is not None:
        mean_D, std_D = statistics_of_moments(*moments, concepts_DxE, scale, bias)
        scores = standardised_map(concepts_DxE, mean_D, std_D, scale, bias)
    else:
        scores = raw_map(concepts_DxE, scale, bias)
    if config.layer != "factored":
        return Inputs(scores, None)
    if moments is None:
        return Inputs(InputMap(None, jnp.zeros(concepts_DxE.shape[1])), scores.kernel)
    # Unit deviation: one learning rate then suits every encoder.
    mean_E, std_E = moments[0], jnp.sqrt(jnp.diag(moments[1]))
    std_E = jnp.maximum(std_E, 1e-3 * jnp.median(std_E) + 1e-6)
    unit = InputMap(jnp.diag(1.0 / std_E), -mean_E / std_E)
    assert scores.kernel is not None
    return Inputs(unit, std_E[:, None] * scores.kernel)


class FitArrays(NamedTuple):
    """What a fit reads, still on the host.

    Attributes:
        inputs: how embeddings became what the layer reads.
        data: the train split.
        valid_inputs: float32 [M, I], the validation split as the layer reads it; embeddings [M, E]
            where `data.input_map` turns them into that.
        valid_labels: int32 [M].
    """

    inputs: Inputs
    data: TrainData
    valid_inputs: np.ndarray
    valid_labels: np.ndarray


def fit_arrays(
    train: Features,
    valid: Features,
    *,
    concepts_DxE: jax.Array,
    phrases: tuple[str, ...],
    scale: float,
    bias: float,
    class_embeddings_KxE: jax.Array | None,
    config: BottleneckConfig,
) -> FitArrays:
    """Inputs, labels and positives of both splits; they depend on no seed and no learning rate."""
    train_NxE = train.as_array()
    inputs = make_inputs(config, jnp.asarray(train_NxE), concepts_DxE, scale, bias)
    data = _train_data(
        config, train, train_NxE, inputs, concepts_DxE, phrases, class_embeddings_KxE
    )
    valid_labels = np.asarray(valid.labels, np.int32)
    valid_MxE = valid.as_array()
    valid_inputs = _rows(inputs.layer, valid_MxE) if data.input_map is None else valid_MxE
    return FitArrays(inputs, data, valid_inputs, valid_labels)


def start(
    config: BottleneckConfig, inputs: Inputs, concepts: int, classes: int, seed: int
) -> tuple[Bottleneck, Params]:
    """Structure and initial parameters; the factored layer starts as the encoder's own scores."""
    width = inputs.layer.bias.shape[0]
    bottleneck, params = build_bottleneck(config, width, concepts, classes, seed=seed)
    if inputs.base_kernel is not None:
        params["cbl.kernel"] = inputs.base_kernel
    return bottleneck, params


def start_on(
    mesh: Mesh, config: BottleneckConfig, inputs: Inputs, concepts: int, classes: int, seed: int
) -> tuple[Bottleneck, Params]:
    """As `start`, on a mesh: no host and no device ever holds the whole of what is split."""
    width = inputs.layer.bias.shape[0]

    def build() -> ConceptBottleneck:
        rngs = nnx.Rngs(params=seed)
        return ConceptBottleneck(config, width, concepts, classes, rngs=rngs)

    graph, shapes = abstract(build)
    shardings = shardings_for(shapes, mesh)
    known = {} if inputs.base_kernel is None else {"cbl.kernel": inputs.base_kernel}
    drawn = {path: sharding for path, sharding in shardings.items() if path not in known}

    def draw() -> Params:
        params = split_flat(build())[1]
        return {path: params[path] for path in drawn}

    params = jax.jit(draw, out_shardings=drawn)()
    params |= {path: place(value, shardings[path]) for path, value in known.items()}
    return Bottleneck(graph), {path: params[path] for path in shapes}


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
    source = positives_source(config, train)
    per_image: Any = None
    per_class: Any = None
    if source == "annotations":
        per_image = annotated_positives(train, phrases)
    elif source == "classes":
        per_class = class_positives_of(config, class_embeddings_KxE, concepts_DxE)
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


def class_positives_of(
    config: BottleneckConfig, class_embeddings_KxE: jax.Array | None, concepts_DxE: jax.Array
) -> jax.Array | None:
    """The concepts of each class by text similarity, float32 [K, D]; None without embeddings."""
    if class_embeddings_KxE is None:
        return None
    similarity_KxD = jnp.matmul(class_embeddings_KxE, concepts_DxE.T)
    count = min(config.positives_k, concepts_DxE.shape[0])
    return positives.class_positives(similarity_KxD, k=count)


def annotated_positives(
    features: Features, phrases: tuple[str, ...], rows: np.ndarray | None = None
) -> np.ndarray:
    """Annotation columns in the order of the phrases, uint8 [N, D]; unknown counts as absent.

    With `rows` [n], those of these images alone.
    """
    annotations_NxD = features.annotations_of(phrases, rows)
    assert annotations_NxD is not None
    return np.asarray(positives.from_annotations(annotations_NxD)).astype(np.uint8)


def positives_source(config: BottleneckConfig, train: Features) -> str:
    """Which kind of positives this fit uses; `none` where the objective needs none."""
    if config.variant != "paired" or config.objective not in ("contrastive", "gumbel"):
        return "none"
    annotated = train.annotations is not None
    if config.positives == "annotations" and not annotated:
        raise UserError("config.bottleneck.positives=annotations, but the data has none: use auto")
    if config.positives == "auto":
        return "annotations" if annotated else "scores"
    return config.positives


def check_features(
    train: Features,
    valid: Features,
    encoder: DualEncoder,
    concepts: ConceptSet,
    classes: tuple[str, ...],
) -> None:
    """Refuse what no fit can start from.

    Raises:
        UserError: no concepts, no images, another encoder's features, labels outside the classes.
    """
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
