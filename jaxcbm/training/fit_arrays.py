"""The arrays that a fit reads: from embeddings and texts to inputs, labels and positives.

What is pure here takes shapes as well as arrays: a plan sends the sizes of a job through the same
functions with `jax.eval_shape`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

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
from jaxcbm.data.annotations import check_coverage, match_phrases
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.distributed.mesh import shardings_for
from jaxcbm.distributed.placement import place, place_rows
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.errors import UserError
from jaxcbm.flat_params import abstract, split_flat
from jaxcbm.model.texts import Texts
from jaxcbm.training.split_warnings import warn_of_splits
from jaxcbm.training.step import TrainData, ValidData

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

    @property
    def width(self) -> int:
        """Numbers that the layer reads of an image."""
        return self.layer.bias.shape[0]


class SplitArrays(NamedTuple):
    """One split as arrays.

    Attributes:
        embeddings_NxE: float32, unit norm.
        labels_N: int32.
        positives_NxD: bool or uint8 from `annotated_positives`, or None.
    """

    embeddings_NxE: Any
    labels_N: Any
    positives_NxD: Any = None


class FitArrays(NamedTuple):
    """What a fit in memory reads.

    Attributes:
        inputs: how embeddings became what the layer reads.
        data: the train split.
        valid: the validation split, as `data` has its inputs.
    """

    inputs: Inputs
    data: TrainData
    valid: ValidData


def make_inputs(config: BottleneckConfig, embeddings_NxE: jax.Array, texts: Texts) -> Inputs:
    """Settle the input map from train statistics (or raw, without `standardise`)."""
    moments = embedding_moments(embeddings_NxE) if config.standardise else None
    return inputs_of_moments(config, moments, texts)


def inputs_of_moments(
    config: BottleneckConfig, moments: tuple[jax.Array, jax.Array] | None, texts: Texts
) -> Inputs:
    """The input map from mean [E] and covariance [E, E] of the train embeddings.

    Without `standardise` it needs none.
    """
    concepts_DxE, scale, bias = texts.concepts_DxE, texts.scale, texts.bias
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


def source_of(config: BottleneckConfig, train: Features | ImageSet, phrases: Sequence[str]) -> str:
    """Where the positives of a fit on these images come from; see `positives.positives_source`.

    Raises:
        UserError: annotations are asked for and there are none, or none of half of the phrases.
    """
    source = positives.positives_source(config, train.annotations is not None)
    if source == "annotations":
        check_coverage(phrases, train.annotation_phrases)
    return source


def shared_data(config: BottleneckConfig, texts: Texts, inputs: Inputs, source: str) -> TrainData:
    """What all batches share; the fields that have a row an image are None."""
    class_positives = None
    if source == "classes":
        similarity_KxD = jnp.matmul(texts.classes_KxE, texts.concepts_DxE.T)
        count = min(config.positives_k, len(texts.phrases))
        class_positives = positives.class_positives(similarity_KxD, k=count)
    no_rows: Any = None
    return TrainData(no_rows, no_rows, None, class_positives, inputs.base_kernel, inputs.layer)


def annotated_positives(
    features: Features, phrases: Sequence[str]
) -> Callable[[np.ndarray | None], np.ndarray]:
    """What annotations say of some phrases, as a function of rows [n] (None: of all images).

    Unknown is a phrase that no annotation speaks of, and an image whose annotation is NaN.

    Returns:
        rows -> bool [n, D] where all is known of every image, so that no step needs the encoder's
        own scores; else uint8 [n, D]: 0, 1, or `positives.UNKNOWN`.
    """
    assert features.annotations is not None
    columns_D = match_phrases(phrases, features.annotation_phrases)
    matched = bool((columns_D >= 0).all())
    known = matched and not np.isnan(features.annotations[:, columns_D]).any()

    def of_rows(rows: np.ndarray | None) -> np.ndarray:
        annotations_NxD = features.annotations_of(phrases, rows)
        assert annotations_NxD is not None
        present_NxD = annotations_NxD > 0.5
        if known:
            return present_NxD
        unknown_NxD = np.isnan(annotations_NxD)
        return np.where(unknown_NxD, positives.UNKNOWN, present_NxD).astype(np.uint8)

    return of_rows


def split_arrays(
    features: Features, source: str = "none", phrases: tuple[str, ...] = ()
) -> SplitArrays:
    """A split read into memory, with the positives that its annotations give if they are asked."""
    annotated = annotated_positives(features, phrases)(None) if source == "annotations" else None
    return SplitArrays(features.as_array(), np.asarray(features.labels, np.int32), annotated)


def fit_arrays(
    config: BottleneckConfig, texts: Texts, train: SplitArrays, valid: SplitArrays, source: str
) -> FitArrays:
    """Inputs, labels and positives of both splits; they depend on no seed and no learning rate.

    A pure function of the arrays in `texts`, `train` and `valid`.

    Args:
        config: of the bottleneck.
        texts: of the encoder.
        train: N images.
        valid: M images.
        source: from `source_of`.
    """
    inputs = make_inputs(config, jnp.asarray(train.embeddings_NxE), texts)
    shared = shared_data(config, texts, inputs, source)
    if inputs.width > max(KEEP_SCORES_UP_TO, train.embeddings_NxE.shape[1]):
        rows = [train.embeddings_NxE, valid.embeddings_NxE]
    else:
        mapped = jax.jit(apply_map)
        rows = [mapped(inputs.layer, jnp.asarray(part.embeddings_NxE)) for part in (train, valid)]
        shared = shared._replace(input_map=None)
    data = shared._replace(inputs=rows[0], labels=train.labels_N, positives=train.positives_NxD)
    mask_M = jnp.ones(valid.labels_N.shape[0], jnp.float32)
    return FitArrays(inputs, data, ValidData(rows[1], valid.labels_N, mask_M))


def place_data(
    data: TrainData, mesh: Mesh, *, rows: Callable = place_rows, whole: Callable = place
) -> TrainData:
    """Train data on a mesh: images over `data`, what is as wide as the concepts by the rules.

    Args:
        data: arrays, or shapes.
        mesh: where they go.
        rows: (array, mesh) to the placed array; `abstract_rows` for shapes.
        whole: (pytree, shardings) to the placed pytree; `abstract_place` for shapes.
    """
    images = {
        name: None if getattr(data, name) is None else rows(getattr(data, name), mesh)
        for name in ("inputs", "labels", "positives")
    }
    wide = {
        name: value
        for name in ("class_positives", "base_kernel")
        if (value := getattr(data, name)) is not None
    }
    replicated = NamedSharding(mesh, PartitionSpec())
    placed = whole(wide, shardings_for(wide, mesh))
    return TrainData(**images, **placed, input_map=whole(data.input_map, replicated))


def place_valid(valid: ValidData, mesh: Mesh, *, rows: Callable = place_rows) -> ValidData:
    """Validation rows on the mesh; padded rows have mask 0. `rows` as in `place_data`."""
    return ValidData(*(rows(array, mesh) for array in valid))


def start(
    config: BottleneckConfig, inputs: Inputs, concepts: int, classes: int, seed: int
) -> tuple[Bottleneck, Params]:
    """Structure and initial parameters; the factored layer starts as the encoder's own scores."""
    bottleneck, params = build_bottleneck(config, inputs.width, concepts, classes, seed=seed)
    if inputs.base_kernel is not None:
        params["cbl.kernel"] = inputs.base_kernel
    return bottleneck, params


def abstract_start(
    config: BottleneckConfig, inputs: Inputs, concepts: int, classes: int
) -> tuple[Bottleneck, Params]:
    """As `start`, with shapes in place of parameters; of `inputs` only shapes are read."""
    graph, shapes = abstract(
        lambda: ConceptBottleneck(config, inputs.width, concepts, classes, rngs=nnx.Rngs(params=0))
    )
    return Bottleneck(graph), shapes


def start_on(
    mesh: Mesh, config: BottleneckConfig, inputs: Inputs, concepts: int, classes: int, seed: int
) -> tuple[Bottleneck, Params]:
    """As `start`, on a mesh: no host and no device ever holds the whole of what is split."""
    bottleneck, shapes = abstract_start(config, inputs, concepts, classes)
    shardings = shardings_for(shapes, mesh)
    known = {} if inputs.base_kernel is None else {"cbl.kernel": inputs.base_kernel}
    drawn = {path: sharding for path, sharding in shardings.items() if path not in known}

    def draw() -> Params:
        rngs = nnx.Rngs(params=seed)
        module = ConceptBottleneck(config, inputs.width, concepts, classes, rngs=rngs)
        params = split_flat(module)[1]
        return {path: params[path] for path in drawn}

    params = jax.jit(draw, out_shardings=drawn)()
    params |= {path: place(value, shardings[path]) for path, value in known.items()}
    return bottleneck, {path: params[path] for path in shapes}


def check_features(
    train: Features,
    valid: Features,
    encoder: DualEncoder,
    concepts: ConceptSet,
    classes: tuple[str, ...],
) -> None:
    """Refuse what no fit can start from; warn of a validation split that is too small to choose on.

    Raises:
        UserError: no concepts, no images, fewer than two classes, another encoder's features,
            labels outside the classes.
    """
    if len(concepts) == 0:
        raise UserError("the concept set is empty: give at least one phrase")
    if len(classes) < 2:
        raise UserError(f"{len(classes)} class ({', '.join(classes)}): a classifier needs two")
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
    warn_of_splits(np.asarray(train.labels), np.asarray(valid.labels), classes)
