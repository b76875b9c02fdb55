"""What a streamed fit reads: rows on disk, and the few arrays that all rows share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.data.features import Features
from jaxcbm.data.stream.batches import FeatureRows
from jaxcbm.data.stream.moments import Moments, choose_pivot, sum_moments
from jaxcbm.model.texts import Texts
from jaxcbm.training.fit_arrays import (
    Inputs,
    annotated_positives,
    inputs_of_moments,
    shared_data,
    source_of,
)
from jaxcbm.training.step import TrainData


class Stream(NamedTuple):
    """Both splits, still on disk.

    Attributes:
        inputs: how embeddings become what the layer reads.
        train: N rows.
        valid: M rows.
        shared: what every batch is read with; its rows are None.
    """

    inputs: Inputs
    train: FeatureRows
    valid: FeatureRows
    shared: TrainData


def make_stream(config: BottleneckConfig, texts: Texts, train: Features, valid: Features) -> Stream:
    """One pass over the train embeddings settles the input map; no array of N rows is made."""
    source = source_of(config, train, texts.phrases)
    per_image = None
    if source == "annotations":
        per_image = annotated_positives(train, texts.phrases)
    rows = FeatureRows(train.embeddings, train.labels, per_image)
    moments = train_moments(rows) if config.standardise else None
    inputs = inputs_of_moments(config, moments, texts)
    shared = shared_data(config, texts, inputs, source)
    return Stream(inputs, rows, FeatureRows(valid.embeddings, valid.labels), shared)


def train_moments(rows: FeatureRows) -> tuple[jax.Array, jax.Array]:
    """Mean float32 [E] and covariance float32 [E, E]; each process reads its share of the blocks.

    All processes must call it, with the same rows.
    """
    logging.info("mean and covariance of %d embeddings", len(rows.labels))
    pivot_E = choose_pivot(rows)
    own = sum_moments(rows, pivot_E, jax.process_index(), jax.process_count())
    whole = own if jax.process_count() == 1 else _add_up(own)
    mean_E, covariance_ExE = whole.mean(pivot_E), whole.covariance()
    return jnp.asarray(mean_E, jnp.float32), jnp.asarray(covariance_ExE, jnp.float32)


def _add_up(own: Moments) -> Moments:
    """The sum over processes, in the same order on all of them."""

    def add(part: np.ndarray) -> np.ndarray:
        # Without 64-bit types in JAX, doubles travel as pairs of words.
        words = np.ascontiguousarray(np.atleast_1d(part)).view(np.uint32)
        gathered = np.ascontiguousarray(multihost_utils.process_allgather(words))
        return gathered.view(np.float64).sum(axis=0).reshape(part.shape)

    return Moments(*(add(part) for part in own))
