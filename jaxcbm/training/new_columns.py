"""Columns of the Concept Bottleneck Layer for phrases that a fitted model does not have yet."""

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from jaxcbm.bottleneck.objectives.table import OBJECTIVES
from jaxcbm.bottleneck.positives import positives_source
from jaxcbm.bottleneck.scores import (
    embedding_moments,
    raw_map,
    standardised_map,
    statistics_of_moments,
)
from jaxcbm.data.annotations import match_phrases
from jaxcbm.data.features import Features
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import fetch
from jaxcbm.model.edited_columns import NewColumn
from jaxcbm.model.model import Model
from jaxcbm.model.texts import Texts
from jaxcbm.training.config import FitConfig
from jaxcbm.training.fit import fit_features

TRAINED, OWN_SCORE = "trained alone on its annotations", "the encoder's own score"


def new_columns(
    model: Model, train: Features, valid: Features, phrases: Sequence[str], config: FitConfig
) -> dict[str, NewColumn]:
    """A column for each phrase: trained alone where that is what the fit would do, else the score.

    An objective that treats each concept by itself trains the same column with others beside it or
    without. All others would need every concept trained again.

    Args:
        model: what the columns are for.
        train: what they are trained and standardised on.
        valid: M images.
        phrases: none of the model's.
        config: of the fit.
    """
    if not phrases:
        return {}
    embeddings_AxE = np.asarray(model.loaded_encoder.embed_texts(list(phrases)))
    own = _own_scores(model, train, embeddings_AxE)
    found = {}
    for phrase, embedding_E, column in zip(phrases, embeddings_AxE, own, strict=True):
        known = match_phrases([phrase], train.annotation_phrases)[0] >= 0
        source = positives_source(model.config, bool(known))
        alone = OBJECTIVES[model.config.objective].separable and source == "annotations"
        slope_E, offset = (
            _trained(model, train, valid, phrase, embedding_E, config) if alone else column
        )
        origin = TRAINED if alone else OWN_SCORE
        found[phrase] = NewColumn(embedding_E, slope_E, offset, origin)
    return found


def _own_scores(
    model: Model, train: Features, embeddings_AxE: np.ndarray
) -> list[tuple[np.ndarray, float]]:
    """Slope and offset of the encoder's own scores, standardised where the model's are."""
    concepts_AxE, scale, bias = jnp.asarray(embeddings_AxE), model.logit_scale, model.logit_bias
    if model.config.standardise:
        moments = embedding_moments(jnp.asarray(train.as_array()))
        statistics = statistics_of_moments(*moments, concepts_AxE, scale, bias)
        mapping = standardised_map(concepts_AxE, *statistics, scale, bias)
    else:
        mapping = raw_map(concepts_AxE, scale, bias)
    assert mapping.kernel is not None
    slopes_AxE = np.asarray(mapping.kernel).T
    return list(zip(slopes_AxE, np.asarray(mapping.bias).tolist(), strict=True))


def _trained(
    model: Model,
    train: Features,
    valid: Features,
    phrase: str,
    embedding_E: np.ndarray,
    config: FitConfig,
) -> tuple[np.ndarray, float]:
    """Slope and offset after the fit's own training with this phrase alone."""
    # Classes are embedded for positives that come from them, and these come from annotations.
    classes_KxE = np.zeros((len(model.classes), len(embedding_E)), np.float32)
    texts = Texts(
        *((phrase,), model.classes, jnp.asarray(embedding_E[None]), jnp.asarray(classes_KxE)),
        *(model.logit_scale, model.logit_bias),
    )
    config = replace(config, bottleneck=replace(model.config, parameterisation="factored"))
    mesh = make_mesh(config.mesh.data, config.mesh.model)
    inputs, progress = fit_features(train, valid, texts, config=config, mesh=mesh)
    # The best epoch is that of a head, and a head of one concept says little.
    params = fetch(progress.state.params)
    kernel_E = params["cbl.kernel"][:, 0]
    offset = float(np.asarray(inputs.layer.bias) @ kernel_E)
    offset += float(params["cbl.bias"][0]) if "cbl.bias" in params else 0.0
    widths = inputs.layer.kernel
    return kernel_E if widths is None else np.asarray(widths) @ kernel_E, offset
