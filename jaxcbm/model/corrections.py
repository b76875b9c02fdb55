"""Corrections that carry: what a concept's true value says about the concepts that go with it.

Classes are what ties concepts together: an answer makes some classes likelier, and with them their
concepts. Each class is a pattern of train frequencies in which concepts are independent, so that
everything is closed-form.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.errors import UserError
from jaxcbm.model.calibration import Calibration
from jaxcbm.model.prediction import Prediction

_PRESENCE = {"present": True, "absent": False}


def known_values(
    calibration: Calibration | None,
    columns: np.ndarray,
    known: Mapping[str, float | bool | str],
) -> np.ndarray:
    """The activations that concepts are set to, float32 [S].

    Args:
        calibration: of the model; without it nothing is present or absent.
        columns: of the concepts, int [S].
        known: phrase -> "present" or True, "absent" or False, or an activation.

    Raises:
        UserError: anything else, or presence without a calibration.
    """
    values = np.zeros(len(known), np.float32)
    for place, (phrase, given) in enumerate(known.items()):
        there = _PRESENCE.get(given) if isinstance(given, str) else given
        if isinstance(there, bool | np.bool_):
            if calibration is None:
                raise UserError("this model was saved without a calibration: give activations")
            there = (calibration.present if there else calibration.absent)[columns[place]]
        try:
            values[place] = there
        except (TypeError, ValueError):
            values[place] = np.nan
        if not np.isfinite(values[place]):
            raise UserError(f"{phrase!r}: {given!r}: give a finite number, 'present' or 'absent'")
    return values


def soft_answers(values: jax.Array, absent: jax.Array, present: jax.Array) -> jax.Array:
    """How far activations lie from their value where a concept is absent to that where it is there.

    0 to 1; one half for a concept whose two values are alike.

    >>> soft_answers(jnp.array([3.0, 0.0]), jnp.array([-1.0, -1.0]), jnp.array([3.0, 3.0])).tolist()
    [1.0, 0.25]
    """
    gap = present - absent
    part = (values - absent) / jnp.where(gap == 0.0, 1.0, gap)
    return jnp.where(gap == 0.0, 0.5, jnp.clip(part, 0.0, 1.0))


def answer_log_likelihoods(answers: jax.Array, frequencies: jax.Array) -> jax.Array:
    """Log-likelihood of answers under concepts' frequencies, both 0 to 1; a Bernoulli's."""
    return answers * jnp.log(frequencies) + (1.0 - answers) * jnp.log1p(-frequencies)


def carried(
    activations_D: jax.Array,
    presence_D: jax.Array,
    before_K: jax.Array,
    after_K: jax.Array,
    frequencies_KxD: jax.Array,
    gap_D: jax.Array,
) -> jax.Array:
    """Activations after what is known of the class has changed, float32 [D].

    The probability of each concept moves by as much as its mean over classes, and the activation
    by as much of the gap between absent and present.

    Args:
        activations_D: the model's own.
        presence_D: how likely it takes each concept to be there, 0 to 1.
        before_K: class probabilities before any answer.
        after_K: the same after the answers.
        frequencies_KxD: share of each class's train images with each concept, 0 to 1.
        gap_D: from the activation where a concept is absent to that where it is present.

    >>> told = jnp.array([1.0, 0.0]), jnp.array([[1.0], [0.0]])
    >>> carried(jnp.zeros(1), jnp.full(1, 0.5), jnp.full(2, 0.5), *told, jnp.full(1, 4.0)).tolist()
    [2.0]
    """
    shifted_D = jnp.clip(presence_D + (after_K - before_K) @ frequencies_KxD, 0.0, 1.0)
    return activations_D + gap_D * (shifted_D - presence_D)


def correct(
    prediction: Prediction, calibration: Calibration, columns: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Activations with some concepts set by hand and the others moved along, float32 [N, D].

    Args:
        prediction: of N images.
        calibration: of the same model.
        columns: which concepts are set, int [S].
        values: what to, [S].

    Reference: the closed form for concepts that are jointly Gaussian: Vandenhirtz et al. 2024
    (arXiv 2406.19272); on the class as what they have in common, docs/decisions.md.
    """
    absent_D, present_D, frequencies_KxD = (
        jnp.asarray(x, jnp.float32)
        for x in (calibration.absent, calibration.present, calibration.frequencies)
    )
    answers_S = soft_answers(
        jnp.asarray(values, jnp.float32), absent_D[columns], present_D[columns]
    )
    evidence_K = jax.vmap(answer_log_likelihoods, (None, 0))(
        answers_S, frequencies_KxD[:, columns]
    ).sum(axis=1)

    def one_image(activations_D: jax.Array, presence_D: jax.Array, before_K: jax.Array):
        presence_D = jnp.where(
            jnp.isnan(presence_D), soft_answers(activations_D, absent_D, present_D), presence_D
        )
        after_K = jax.nn.softmax(jnp.log(before_K) + evidence_K)
        gap_D = present_D - absent_D
        return carried(activations_D, presence_D, before_K, after_K, frequencies_KxD, gap_D)

    rows = (
        prediction.concept_activations,
        prediction.concept_probabilities,
        prediction.class_probabilities,
    )
    moved_NxD = np.array(jax.vmap(one_image)(*(jnp.asarray(x, jnp.float32) for x in rows)))
    moved_NxD[:, columns] = values
    return moved_NxD
