"""Label-free CBM: a projection learned to say what the encoder says, and a sparse head on it.

The objective, its steps and rate, the look at validation every 50 steps and both cutoffs are the
published code's. What departs from it, and why:

* The table's rows explain the encoder that also teaches: one encoder is at hand. Pass features of
  any backbone, and its teacher's embeddings as `teacher`, for the published arrangement.
* Validation is a part of train; the published code stops the training and drops concepts by the
  official test set.
* No concept is dropped for low activation unless a cutoff is given: the published ones are cosines
  of CLIP ViT-B/16, and other encoders have others.
* Inputs are centred and scaled for the optimizer (the objective ignores that of its outputs), and a
  concept that never varies is not divided by a deviation of zero.
* The head comes from `with_sparse_path`: the whole path to a certified gap, a point on it chosen on
  validation; the published solver takes one given penalty and a number of passes.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.baselines.concept_classifier import ConceptClassifier, bottleneck_only, standardised
from jaxcbm.bottleneck.minimise import minimise_by_adam
from jaxcbm.bottleneck.objectives.similarity import similarity
from jaxcbm.bottleneck.unit_scale import unit_scale
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError

_CHECK_EVERY = 50  # Steps between looks at validation, as in the released code.


def cos_cubed(targets_NxD: np.ndarray, values_NxD: np.ndarray) -> np.ndarray:
    """Cosine over images of the cubes of standardised columns: how well each concept is learned.

    The encoder's concept scores are compared with what the projection says; float32 [D] in -1 to 1,
    0 for a column that does not vary.

    Reference: Oikarinen et al. 2023 (arXiv 2304.06129), equation 2.

    >>> targets = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> cos_cubed(targets, np.array([[3.0, 5.0], [1.0, 5.0], [1.0, 5.0]])).round(3).tolist()
    [1.0, 0.0]
    """

    def unit_cubes(rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows, np.float64)
        centred = rows - rows.mean(axis=0)
        std_D = centred.std(axis=0)
        moving_D = std_D > 1e-6 * np.abs(rows).max(axis=0, initial=0.0)
        cubes = (centred / np.where(moving_D, std_D, 1.0)) ** 3 * moving_D
        return cubes / np.maximum(np.linalg.norm(cubes, axis=0), 1e-12)

    return np.sum(unit_cubes(targets_NxD) * unit_cubes(values_NxD), axis=0).astype(np.float32)


def label_free_bottleneck(
    train: Features,
    valid: Features,
    concepts_DxE: np.ndarray,
    phrases: Sequence[str],
    *,
    teacher: tuple[np.ndarray, np.ndarray] | None = None,
    activation_cutoff: float | None = None,
    similarity_cutoff: float = 0.45,
    learning_rate: float = 1e-3,
    max_steps: int = 1000,
    batch_size: int | None = None,
    seed: int = 0,
) -> ConceptClassifier:
    """Learn the projection, drop the concepts that were not learned, standardise the rest.

    Args:
        train: embeddings of the backbone that is to be explained.
        valid: stops the training and decides which concepts were learned.
        concepts_DxE: unit-norm text embeddings of the concepts, by the teacher.
        phrases: D texts.
        teacher: unit-norm embeddings of the train and valid images by the encoder whose scores are
            the target; None: the features are that encoder's own.
        activation_cutoff: drop concepts whose five highest cosines on train average at most this
            (the paper: 0.25 to 0.28 for CLIP ViT-B/16). It depends on the encoder; None drops none.
        similarity_cutoff: drop concepts whose `cos_cubed` on valid is at most this.
        learning_rate: of Adam.
        max_steps: validation every 50; training stops when it gets worse.
        batch_size: None takes all images at every step.
        seed: of the initial projection.

    Returns:
        Concepts with an empty head; activations have mean 0 and deviation 1 on train.

    Raises:
        UserError: no concept is left.

    Reference: Oikarinen et al. 2023 (arXiv 2304.06129), sections 3.1 to 3.3.
    """
    train_NxE, valid_MxE = train.as_array(), valid.as_array()
    teacher_NxT, teacher_MxT = teacher or (train_NxE, valid_MxE)
    concepts = np.asarray(concepts_DxE, np.float32)
    targets_NxD, targets_MxD = teacher_NxT @ concepts.T, teacher_MxT @ concepts.T
    kept = np.arange(len(concepts))
    if activation_cutoff is not None:
        highest_D = np.sort(targets_NxD, axis=0)[-5:].mean(axis=0)
        kept = _some(np.flatnonzero(highest_D > activation_cutoff), "activation", highest_D)
    kernel, bias = _project(
        train_NxE,
        valid_MxE,
        targets_NxD[:, kept],
        targets_MxD[:, kept],
        learning_rate=learning_rate,
        rounds=max(max_steps // _CHECK_EVERY, 1),
        batch_size=batch_size,
        seed=seed,
    )
    learned_D = cos_cubed(targets_MxD[:, kept], valid_MxE @ kernel + bias)
    good = _some(np.flatnonzero(learned_D > similarity_cutoff), "similarity", learned_D)
    names = [phrases[int(d)] for d in kept[good]]
    model = bottleneck_only(kernel[:, good], bias[good], names, len(train.classes))
    return standardised(model, train_NxE)


def _loss(params: dict, batch: tuple, context: None, key: jax.Array | None) -> jax.Array:
    inputs_BxE, targets_BxD = batch
    return similarity(targets_BxD, jnp.matmul(inputs_BxE, params["kernel"]), cubed=True)


def _project(
    train_NxE: np.ndarray,
    valid_MxE: np.ndarray,
    targets_NxD: np.ndarray,
    targets_MxD: np.ndarray,
    *,
    learning_rate: float,
    rounds: int,
    batch_size: int | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [E, D] and bias [D] on the embeddings as they are."""
    # Adam needs inputs of one size; the objective itself ignores shifts and scales of the output.
    mean_E, inverse_E = unit_scale(train_NxE)
    inputs_NxE, inputs_MxE = ((part - mean_E) * inverse_E for part in (train_NxE, valid_MxE))
    width = train_NxE.shape[1]
    initial = jax.random.uniform(
        jax.random.key(seed), (width, targets_NxD.shape[1]), minval=-1.0, maxval=1.0
    )
    steps_a_pass = len(train_NxE) // min(batch_size or len(train_NxE), len(train_NxE))
    fit = minimise_by_adam(
        _loss,
        {"kernel": initial / np.sqrt(width)},
        (inputs_NxE, targets_NxD),
        (inputs_MxE, targets_MxD),
        learning_rates={"kernel": learning_rate},
        rounds=rounds,
        batch_size=batch_size,
        passes=max(_CHECK_EVERY // steps_a_pass, 1),
        patience=1,
        seed=seed,
    )
    kernel = fit.params["kernel"] * inverse_E[:, None]
    return kernel, -mean_E @ kernel


def _some(kept: np.ndarray, cutoff: str, values_D: np.ndarray) -> np.ndarray:
    if not len(kept):
        raise UserError(
            f"{cutoff}_cutoff leaves none of {len(values_D)} concepts, the best reaches "
            f"{values_D.max():.3f}: lower it"
        )
    return kept
