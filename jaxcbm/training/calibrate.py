"""What a fitted model's numbers mean, learnt from the images it was fitted and chosen on."""

from dataclasses import replace

import numpy as np

from jaxcbm.data.features import Features
from jaxcbm.model.calibration import fit_calibration
from jaxcbm.model.familiarity import fit_familiarity
from jaxcbm.model.model import Model

# Images that tell enough, and activations that are held at once: half a GiB.
_IMAGES, _ACTIVATIONS = 50_000, 2**27


def calibrate(model: Model, train: Features, valid: Features, seed: int = 0) -> Model:
    """Add the records that turn a model's numbers into probabilities, and say when not to trust it.

    Args:
        model: fitted, with the head that it keeps.
        train: where activations usually lie.
        valid: the temperature and the probabilities of concepts.
        seed: of what is sampled where a split is huge.

    Returns:
        The model with its `calibration` and `familiarity`.
    """
    phrases = model.concepts.phrases
    most = max(min(_IMAGES, _ACTIVATIONS // len(phrases)), 1)
    train, valid = train.sample(most, seed), valid.sample(most, seed)
    on_valid = model.predict_embeddings(valid.as_array())
    record = fit_calibration(
        model.predict_embeddings(train.as_array()).concept_activations,
        np.asarray(train.labels),
        on_valid.concept_activations,
        on_valid.class_logits,
        np.asarray(valid.labels),
        train.annotations_of(phrases),
        valid.annotations_of(phrases),
    )
    familiarity = fit_familiarity(
        train.as_array(),
        np.asarray(train.labels),
        valid.as_array(),
        replace(on_valid, calibration=record).class_probabilities,
        np.asarray(valid.labels),
    )
    return replace(model, calibration=record, familiarity=familiarity)
