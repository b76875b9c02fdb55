"""When not to trust a model: images unlike all of train, and images that may be of many classes."""

from dataclasses import dataclass, replace

import numpy as np

from jaxcbm.model.prediction_sets import set_threshold

# Share of validation images that are called unlike train.
UNFAMILIAR = 0.05
# The caution where a model cannot tell, as there were fewer.
UNTOLD = "too few validation images to tell whether train has anything like it"
# Share of images whose prediction set holds their class.
COVERAGE = 0.95
# Validation images without which no familiarity is so low, and every set holds all classes.
FEWEST_VALID = 19
# Share of images on which the model does not abstain.
ANSWERED = 0.8
# No decision as sure as this is called unsure, however sure the model is of validation images.
SURE = 0.99
# Validation distances that are kept; more are replaced by as many quantiles.
_KEPT = 1000
# Rows of a step: 32 MiB of distances to a thousand classes.
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Where the image embeddings of train lie, and what validation tells of trust.

    Attributes:
        center: mean of train, float32 [E].
        axes: columns that make the shrunk covariance within classes the identity, float32 [E, E].
        means: of each class of train behind `center` and `axes`, float32 [K', E]; K' classes have
            train images.
        valid_distances: of validation images, sorted, float32 [M]; M is at most 1000.
        set_threshold: the probability that puts a class into a set of coverage 95 %.
        least_probability: what the predicted class has at least on 80 % of validation images, but
            no more than 99 %; the model abstains below it.
    """

    center: np.ndarray
    axes: np.ndarray
    means: np.ndarray
    valid_distances: np.ndarray
    set_threshold: float
    least_probability: float

    @property
    def can_tell(self) -> bool:
        """Whether there were validation images enough to call any image unfamiliar."""
        return len(self.valid_distances) >= FEWEST_VALID

    def distances(self, embeddings_NxE: np.ndarray) -> np.ndarray:
        """Mahalanobis distance of each image to the nearest class of train, float32 [N]."""
        rows_NxE = np.asarray(embeddings_NxE)
        parts = [self._distances(rows_NxE[i : i + _ROWS]) for i in range(0, len(rows_NxE), _ROWS)]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def _distances(self, rows_NxE: np.ndarray) -> np.ndarray:
        means_KxE = self.means.astype(np.float64)
        rows_NxE = (rows_NxE.astype(np.float64) - self.center) @ self.axes.astype(np.float64)
        squares_NxK = np.sum(rows_NxE**2, axis=1, keepdims=True) + np.sum(means_KxE**2, axis=1)
        squares_NxK -= 2.0 * rows_NxE @ means_KxE.T
        return np.sqrt(np.maximum(squares_NxK.min(axis=1), 0.0)).astype(np.float32)

    def familiarity(self, distances_N: np.ndarray) -> np.ndarray:
        """Share of validation images that lie as far from train as each image, float64 [N].

        It is a conformal p-value, above 0 and at most 1: of images like those of validation, 5 %
        at most have one of 0.05 or less. With fewer than 19 validation images none could have it,
        so that it would tell nothing: NaN.

        Reference: Vovk et al. 2005, Algorithmic Learning in a Random World, section 2.2.
        """
        if not self.can_tell:
            return np.full(len(distances_N), np.nan)
        nearer_N = np.searchsorted(self.valid_distances, distances_N, side="left")
        count = len(self.valid_distances)
        return (1 + count - nearer_N) / (1 + count)


def fit_familiarity(
    train_NxE: np.ndarray,
    train_labels_N: np.ndarray,
    valid_MxE: np.ndarray,
    valid_probabilities_MxK: np.ndarray,
    valid_labels_M: np.ndarray,
    shrinkage: float = 1.0,
) -> Familiarity:
    """Learn where train lies, and from validation where trust ends.

    A Gaussian for each class with one covariance for all, which is shrunk towards a multiple of the
    identity, as there may be fewer images than the covariance has numbers.

    Args:
        train_NxE: image embeddings.
        train_labels_N: int [N]; -1 for an unknown class, which is left out.
        valid_MxE: image embeddings that the model was not fitted on.
        valid_probabilities_MxK: what the model says of them.
        valid_labels_M: int [M].
        shrinkage: what is added to every variance, in parts of their mean; docs/familiarity.md says
            what it does.

    Reference: Lee et al. 2018 (arXiv 1807.03888), section 2.1; Ledoit and Wolf 2004 for shrinkage.
    """
    known_N = np.asarray(train_labels_N) >= 0
    rows_NxE = np.asarray(train_NxE)[known_N].astype(np.float64)
    _, place_N, counts_K = np.unique(
        np.asarray(train_labels_N)[known_N], return_inverse=True, return_counts=True
    )
    center = rows_NxE.mean(axis=0)
    rows_NxE -= center
    sums_KxE = np.zeros((len(counts_K), rows_NxE.shape[1]))
    np.add.at(sums_KxE, place_N, rows_NxE)
    means_KxE = sums_KxE / counts_K[:, None]
    within_ExE = (rows_NxE.T @ rows_NxE - sums_KxE.T @ means_KxE) / len(rows_NxE)
    variances_E, axes_ExE = np.linalg.eigh(within_ExE)
    # A class of one image each varies in nothing.
    ridge = max(shrinkage * float(variances_E.mean()), 1e-12)
    axes_ExE /= np.sqrt(np.maximum(variances_E, 0.0) + ridge)
    highest_M = valid_probabilities_MxK.max(axis=1)
    found = Familiarity(
        center.astype(np.float32),
        axes_ExE.astype(np.float32),
        (means_KxE @ axes_ExE).astype(np.float32),
        np.zeros(0, np.float32),
        set_threshold(valid_probabilities_MxK, valid_labels_M, COVERAGE),
        min(SURE, float(np.quantile(highest_M, 1.0 - ANSWERED))),
    )
    distances_M = np.sort(found.distances(valid_MxE))
    if len(distances_M) > _KEPT:
        levels = np.linspace(0.0, 1.0, _KEPT)
        distances_M = np.quantile(distances_M, levels).astype(np.float32)
    return replace(found, valid_distances=distances_M)


def caution(familiarity: float, probability: float, least_probability: float) -> str:
    """Why not to trust a decision, in words; "" where nothing speaks against it.

    Args:
        familiarity: of the image, see `Familiarity.familiarity`; NaN cautions of nothing.
        probability: of the predicted class.
        least_probability: below it the model abstains.

    >>> caution(0.5, 0.9, 0.4), caution(0.03, 0.998, 0.4), caution(0.5, 0.31, 0.4)
    ('', 'unlike all train images (97 % of validation images are more like them): do not rely on \
the decision', 'unsure: the likeliest class has 31 %, and 40 % or more on 80 % of validation \
images')
    """
    if familiarity <= UNFAMILIAR:
        share = f"{min(100.0 * (1.0 - familiarity), 99.9):.3g}"
        return (
            f"unlike all train images ({share} % of validation images are more like them): "
            "do not rely on the decision"
        )
    if probability < least_probability:
        rule = f"{least_probability:.0%} or more on {ANSWERED:.0%} of validation images"
        return f"unsure: the likeliest class has {probability:.0%}, and {rule}".replace("%", " %")
    return ""
