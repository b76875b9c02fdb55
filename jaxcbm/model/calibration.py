"""What a model's numbers mean: class probabilities, concept probabilities, percentiles.

All of it is learnt after the fit, from images: the temperature of the class logits and the
probability of each concept on validation, where activations usually lie on train.
"""

from dataclasses import dataclass

import numpy as np

from jaxcbm.bottleneck.sparse.corrected_copy import typical_activations
from jaxcbm.model.concept_values import presence_curves

# Of 1 / T; a model that errs nowhere (or everywhere) on validation ends at one of them.
_INVERSE_TEMPERATURES = (1e-3, 1e3)
# Which concepts activations are of: int of their shape, or all.
Columns = np.ndarray | slice
_ALL = slice(None)
# Percentiles are read between so many train quantiles.
QUANTILES = 101


@dataclass(frozen=True, eq=False)
class Calibration:
    """What turns logits into probabilities, and tells a usual activation from a rare one.

    Attributes:
        temperature: class probabilities are softmax(logits / temperature); above 0.
        slope: concept d is there with probability sigmoid(slope[d] a[d] + intercept[d]), float64
            [D]; NaN where annotations of validation do not tell.
        intercept: see `slope`.
        mean: mean activation of train images, float64 [D].
        quantiles: of train activations at the levels 0, 0.01, ... 1, float32 [101, D].
        absent: mean activation of train images without the concept, float64 [D]. Where annotations
            do not tell which these are, those whose activation is at most the mean.
        present: the same of those with it.
        frequencies: share of each class's train images with the concept, float32 [K, D], within
            0.001 and 0.999.
    """

    temperature: float
    slope: np.ndarray
    intercept: np.ndarray
    mean: np.ndarray
    quantiles: np.ndarray
    absent: np.ndarray
    present: np.ndarray
    frequencies: np.ndarray

    def concept_probabilities(
        self, activations_NxD: np.ndarray, columns: Columns = _ALL
    ) -> np.ndarray:
        """How likely each concept is to be there, float64 [N, D]; NaN where nothing tells.

        Args:
            activations_NxD: of images.
            columns: which concepts these are, int [N, D]; all by default, here and below.
        """
        slope, intercept = self.slope[columns], self.intercept[columns]
        logits_NxD = slope * np.asarray(activations_NxD, np.float64) + intercept
        return 0.5 + 0.5 * np.tanh(0.5 * logits_NxD)

    def percentiles(self, activations_NxD: np.ndarray, columns: Columns = _ALL) -> np.ndarray:
        """Share of train images whose activation of the same concept is lower, float64 [N, D].

        >>> few, labels = np.array([[0.0], [1.0], [1.0], [3.0]], np.float32), np.arange(4)
        >>> record = fit_calibration(few, labels, few, np.eye(4), labels)
        >>> [round(float(record.percentiles(np.array([x]))[0]), 2) for x in (-1.0, 2.0, 9.0)]
        [0.0, 0.83, 1.0]
        """
        last = len(self.quantiles) - 1
        above_NxD = np.sum([level[columns] < activations_NxD for level in self.quantiles], axis=0)
        upper_NxD, places = np.clip(above_NxD, 1, last), np.arange(len(self.mean))[columns]
        low_NxD, high_NxD = self.quantiles[upper_NxD - 1, places], self.quantiles[upper_NxD, places]
        width_NxD = np.where(high_NxD > low_NxD, high_NxD - low_NxD, 1.0)
        part_NxD = np.clip((activations_NxD - low_NxD) / width_NxD, 0.0, 1.0)
        return np.where(above_NxD == 0, 0.0, (upper_NxD - 1 + part_NxD) / last)

    @property
    def neutral(self) -> np.ndarray:
        """The activation that speaks neither for nor against a concept, float64 [D].

        It is the one at which the concept is as likely there as not, within the middle 98 % of
        train images; where nothing tells how likely it is, the train mean. Contributions count
        from here, so that what supports a class with a positive weight is a concept that is there.
        """
        slope_D = np.where(np.abs(self.slope) > 1e-12, self.slope, 1e-12)
        low_D, high_D = (self.quantiles[at].astype(np.float64) for at in (1, -2))
        even_D = np.clip(-self.intercept / slope_D, low_D, high_D)
        return np.where(np.isnan(even_D), self.mean, even_D)

    def is_present(self, activations_NxD: np.ndarray, columns: Columns = _ALL) -> np.ndarray:
        """Whether each concept counts as there, bool [N, D].

        It does where that is likelier than not; where nothing tells how likely it is, where the
        activation is above the train mean.
        """
        probabilities_NxD = self.concept_probabilities(activations_NxD, columns)
        above_NxD = activations_NxD > self.mean[columns]
        return np.where(np.isnan(probabilities_NxD), above_NxD, probabilities_NxD > 0.5)


def fit_calibration(
    train_NxD: np.ndarray,
    train_labels_N: np.ndarray,
    valid_MxD: np.ndarray,
    valid_logits_MxK: np.ndarray,
    valid_labels_M: np.ndarray,
    train_present_NxD: np.ndarray | None = None,
    valid_present_MxD: np.ndarray | None = None,
) -> Calibration:
    """Learn from train and validation images what a model's numbers mean.

    Each concept has a logistic regression of its own, with a small ridge on its slope.

    Args:
        train_NxD: activations of train images.
        train_labels_N: int [N].
        valid_MxD: of validation images, which the model was not fitted on.
        valid_logits_MxK: their class logits.
        valid_labels_M: int [M].
        train_present_NxD: annotations: 1 present, 0 absent, NaN unknown; None without any.
        valid_present_MxD: the same of validation.

    Reference: Guo et al. 2017 (arXiv 1706.04599) for the temperature; Platt 1999 for concepts.
    """
    mean_D = np.asarray(train_NxD, np.float64).mean(axis=0)
    slope = intercept = np.full(len(mean_D), np.nan)
    if valid_present_MxD is not None:
        slope, intercept = presence_curves(valid_MxD, valid_present_MxD)
    present_NxD = (train_NxD > mean_D).astype(np.float32)
    if train_present_NxD is not None:
        told_D = ~np.isnan(train_present_NxD).all(axis=0)
        present_NxD = np.where(told_D, train_present_NxD, present_NxD)
    absent_D, there_D = (
        np.where(np.isnan(values_D), mean_D, values_D)
        for values_D in typical_activations(train_NxD, present_NxD)
    )
    levels = np.linspace(0.0, 1.0, QUANTILES)
    return Calibration(
        fit_temperature(valid_logits_MxK, valid_labels_M),
        slope,
        intercept,
        mean_D,
        np.quantile(train_NxD, levels, axis=0).astype(np.float32),
        absent_D,
        there_D,
        class_frequencies(present_NxD, train_labels_N, valid_logits_MxK.shape[1]),
    )


def class_frequencies(present_NxD: np.ndarray, labels_N: np.ndarray, classes: int) -> np.ndarray:
    """Share of each class's images with each concept, float32 [K, D], within 0.001 and 0.999.

    NaN is unknown. Each class counts one image more, in which concepts are as frequent as in all.

    >>> present, labels = np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([0, 0, 0, 1])
    >>> class_frequencies(present, labels, 2).ravel().tolist()
    [0.625, 0.25]
    """
    known_NxD = ~np.isnan(present_NxD)
    with_NxD = np.nan_to_num(present_NxD) > 0.5
    shares_D = with_NxD.sum(axis=0) / np.maximum(known_NxD.sum(axis=0), 1)
    counted = [
        (with_NxD[labels_N == k].sum(0), known_NxD[labels_N == k].sum(0)) for k in range(classes)
    ]
    rows = [(positive_D + shares_D) / (known_D + 1) for positive_D, known_D in counted]
    return np.clip(np.stack(rows), 1e-3, 1.0 - 1e-3).astype(np.float32)


def log_probabilities(logits_NxK: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Log-softmax of the logits over the temperature, float64 [N, K]."""
    scaled = np.asarray(logits_NxK, np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def fit_temperature(logits_NxK: np.ndarray, labels_N: np.ndarray) -> float:
    """The temperature under which the labels are likeliest; fit it on validation, never on test.

    The loss is convex in 1 / T: Newton's method inside a bracket that bisection keeps closing.

    Args:
        logits_NxK: class logits [N, K] of images the model was not trained on.
        labels_N: int [N].

    Returns:
        T, 0.001 to 1000; above 1 for a model that is too sure of itself.

    Reference: Guo et al. 2017 (arXiv 1706.04599), section 4.2.

    >>> logits = 3.0 * np.log([[0.75, 0.25]] * 4)
    >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 6)
    3.0
    """
    logits_NxK = np.asarray(logits_NxK, np.float64)
    own_N = logits_NxK[np.arange(len(labels_N)), labels_N]
    low, high = _INVERSE_TEMPERATURES
    inverse = 1.0
    for _ in range(100):
        p_NxK = np.exp(log_probabilities(logits_NxK, 1.0 / inverse))
        mean_N = (p_NxK * logits_NxK).sum(axis=1)
        slope = float(np.mean(mean_N - own_N))
        curvature = float(np.mean((p_NxK * (logits_NxK - mean_N[:, None]) ** 2).sum(axis=1)))
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        if slope == 0 or high - low <= 1e-12 * high:
            break
        step = inverse - slope / curvature if curvature > 0 else low
        # The middle of the logarithms: the bracket spans six powers of ten.
        following = step if low < step < high else float(np.sqrt(low * high))
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    return 1.0 / inverse
