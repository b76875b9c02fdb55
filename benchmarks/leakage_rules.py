"""Rules against leakage, each from a fitted layer to one whose head is still to be solved."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcbm.bottleneck.erasure import erase, erase_classes
from jaxcbm.bottleneck.scores import apply_map
from jaxcbm.data.features import Splits
from jaxcbm.model.model import Model

# Logits of what is told as yes or no lie so far from zero.
_STEEP = 1e4


class Layer(NamedTuple):
    """A fitted layer.

    Attributes:
        model: of D concepts, with a bias each; its head does not matter.
        splits: what the head is solved on, with the annotations that it may know of.
        unknown: bool [D], concepts without annotations.
    """

    model: Model
    splits: Splits
    unknown: np.ndarray

    @property
    def inputs(self) -> np.ndarray:
        """What the layer reads of the train images, float64 [N, I]."""
        rows = jnp.asarray(self.splits.train.as_array())
        return np.asarray(apply_map(self.model.input_map, rows), np.float64)

    @property
    def labels(self) -> np.ndarray:
        """Of the train images, int [N]."""
        return np.asarray(self.splits.train.labels)

    def changed(
        self, rule: Callable[[np.ndarray], np.ndarray], bias: Callable | None = None
    ) -> "Layer":
        """With the weights [I, U] and biases [U] of its unannotated concepts put through rules."""
        weights_IxD, bias_D = (
            np.array(self.model.params[name], np.float64) for name in ("cbl.kernel", "cbl.bias")
        )
        weights_IxD[:, self.unknown] = rule(weights_IxD[:, self.unknown])
        if bias is not None:
            bias_D[self.unknown] = bias(bias_D[self.unknown])
        told = {"cbl.kernel": weights_IxD, "cbl.bias": bias_D}
        params = {name: value.astype(np.float32) for name, value in told.items()}
        return self._replace(model=replace(self.model, params={**self.model.params, **params}))


def erased(layer: Layer, share: float) -> Layer:
    """No class information in unannotated concepts: what `config.sparse_head.erasure` does."""
    return layer.changed(lambda w: erase_classes(w, layer.inputs, layer.labels, share))


def penalised(layer: Layer, weight: float) -> Layer:
    """Smallest mean squared change plus a penalty on the variance between classes.

    w' = (S + weight S_b)^-1 S w, with S the inputs' covariance and S_b that of their class means.
    """
    x_NxI = layer.inputs - layer.inputs.mean(axis=0)
    kinds, places_N = np.unique(layer.labels, return_inverse=True)
    means_KxI = np.stack([x_NxI[layer.labels == k].mean(axis=0) for k in kinds])
    whole, between = (rows.T @ rows / len(rows) for rows in (x_NxI, means_KxI[places_N]))
    whole += 1e-6 * np.trace(whole) / len(whole) * np.eye(len(whole))
    return layer.changed(lambda w: np.linalg.solve(whole + weight * between, whole @ w))


def own_scores(layer: Layer) -> Layer:
    """Unannotated concepts as the encoder's own standardised scores."""
    texts_UxE = layer.model.concept_embeddings[layer.unknown]
    psi_NxU = standardised(layer.splits.train.as_array() @ texts_UxE.T)
    exact_IxU = np.linalg.lstsq(layer.inputs, psi_NxU, rcond=None)[0]
    return layer.changed(lambda w: exact_IxU, np.zeros_like)


def bits(layer: Layer) -> Layer:
    """Unannotated concepts as yes or no: whether a logit exceeds its median in train."""
    weights_IxU = np.asarray(layer.model.params["cbl.kernel"], np.float64)[:, layer.unknown]
    median_U = np.median(layer.inputs @ weights_IxU, axis=0)
    return layer.changed(lambda w: _STEEP * w, lambda bias: -_STEEP * median_U)


def erased_beyond(layer: Layer, share: float) -> Layer:
    """Annotated concepts that tell of the class what their own annotations do, and no more."""
    present_NxD = layer.splits.train.annotations_of(layer.model.concepts.phrases)
    assert present_NxD is not None
    inputs_NxI, known = layer.inputs, ~layer.unknown
    member_NxK = np.eye(layer.labels.max() + 1)[layer.labels]

    def rule(weights_IxA: np.ndarray) -> np.ndarray:
        columns = []
        for w, present_N in zip(weights_IxA.T, present_NxD[:, known].T, strict=True):
            told_Nx2 = np.stack([np.ones_like(present_N), present_N], axis=1)
            fitted_2xK = np.linalg.lstsq(told_Nx2, member_NxK, rcond=None)[0]
            columns.append(erase(w[:, None], inputs_NxI, member_NxK - told_Nx2 @ fitted_2xK, share))
        return np.concatenate(columns, axis=1)

    return layer._replace(unknown=known).changed(rule)._replace(unknown=layer.unknown)


def standardised(values_NxD: np.ndarray) -> np.ndarray:
    """With mean 0 and deviation 1 in every column."""
    return (values_NxD - values_NxD.mean(axis=0)) / values_NxD.std(axis=0)
