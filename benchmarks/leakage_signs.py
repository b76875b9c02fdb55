"""Whether anything but annotations tells phrases about the class from nuisances."""

import numpy as np

from benchmarks.leakage_rules import standardised
from jaxcbm.evaluation.metrics import concept_auc

# Of the mean squared length of embeddings, against fitting an embedding by many others.
_RIDGE = 0.1


def signs(scores_NxD: np.ndarray, labels_N: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of each phrase's scores over train images, float64 [D] each."""
    scores_NxD = np.asarray(scores_NxD, np.float64)
    kinds, places_N = np.unique(labels_N, return_inverse=True)
    means_KxD = np.stack([scores_NxD[labels_N == k].mean(axis=0) for k in kinds])
    within_NxD = scores_NxD - means_KxD[places_N]
    return {
        "mean score": scores_NxD.mean(axis=0),
        "highest score": scores_NxD.max(axis=0),
        "deviation of scores": scores_NxD.std(axis=0),
        "share of variance between classes": 1 - within_NxD.var(axis=0) / scores_NxD.var(axis=0),
        "skewness of class means": (standardised(means_KxD) ** 3).mean(axis=0),
        "kurtosis of class means": (standardised(means_KxD) ** 4).mean(axis=0),
        "skewness within classes": (standardised(within_NxD) ** 3).mean(axis=0),
        "kurtosis within classes": (standardised(within_NxD) ** 4).mean(axis=0),
    }


def explained_by(texts_AxE: np.ndarray, texts_UxE: np.ndarray) -> np.ndarray:
    """How well embeddings are combinations of those of annotated phrases: R^2 by ridge, [U]."""
    centre_E = texts_AxE.mean(axis=0)
    known_AxE, told_UxE = texts_AxE - centre_E, texts_UxE - centre_E
    gram_AxA = known_AxE @ known_AxE.T
    gram_AxA = gram_AxA + _RIDGE * np.trace(gram_AxA) / len(gram_AxA) * np.eye(len(gram_AxA))
    rest_UxE = told_UxE - np.linalg.solve(gram_AxA, known_AxE @ told_UxE.T).T @ known_AxE
    return 1 - (rest_UxE**2).sum(axis=1) / (told_UxE**2).sum(axis=1)


def separability(
    texts_DxE: np.ndarray, images_NxE: np.ndarray, labels_N: np.ndarray, own: int, seeds: int = 5
) -> dict[str, list[float]]:
    """Areas under the ROC curve of statistics that ought to be higher for the first `own` phrases.

    Where embeddings of annotated phrases are needed, a share of the first is hidden by the seed.
    """
    about_D = np.arange(len(texts_DxE)) < own

    def auc(values_U: np.ndarray, about_U: np.ndarray) -> float:
        return float(concept_auc(values_U[:, None], about_U[:, None].astype(float))[0])

    statistics = signs(images_NxE @ texts_DxE.T, labels_N)
    found = {name: [auc(values, about_D)] for name, values in statistics.items()}
    for share in (0.25, 0.5):
        areas = found.setdefault(f"explained by other phrases, {100 * share:.0f} % hidden", [])
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(own)
            hidden, known = np.split(order, [round(share * own)])
            rest = np.concatenate([hidden, np.arange(own, len(texts_DxE))])
            areas.append(auc(explained_by(texts_DxE[known], texts_DxE[rest]), about_D[rest]))
    return found
