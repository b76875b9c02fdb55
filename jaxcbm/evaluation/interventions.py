"""What an expert is worth: accuracy after setting 0, 1, 2, ... concepts to their true values.

Setting concept d to a value moves the class logits by F[:, d] (value - a[d]), so that nothing but
the head is read. A policy says which concept of an image is asked for next; it may know

| policy    | the model's own activations | possible answers | true answer | label |
|-----------|-----------------------------|------------------|-------------|-------|
| random    | -                           | -                | -           | -     |
| uncertain | yes                         | -                | -           | -     |
| greedy    | yes                         | yes              | -           | -     |
| oracle    | yes                         | yes              | yes         | yes   |
| carried   | yes                         | yes              | -           | -     |

so that `oracle` is no policy anybody could follow: it shows what the best questions would give.
Where answers are `carried`, each of them also moves the concepts that go with the one asked for
(`jaxcbm.model.corrections`).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.errors import UserError
from jaxcbm.model.calibration import Calibration, log_probabilities
from jaxcbm.model.concept_values import ConceptValues, predicted_presence
from jaxcbm.model.corrections import answer_log_likelihoods, carried, soft_answers

# Numbers that one block of images may hold for every concept and class: 64 MiB.
_BLOCK = 2**24


class InterventionCurve(NamedTuple):
    """What happens as more and more concepts of each image are set.

    Attributes:
        counts: concepts set, int32 [M + 1], 0 to M.
        accuracies: share of images that are right, float32 [M + 1]; ties count against the model.
        asked: the concept that each image was asked for at each step, int32 [N, M]; -1 after the
            last one whose value is known.
    """

    counts: np.ndarray
    accuracies: np.ndarray
    asked: np.ndarray


class Situation(NamedTuple):
    """One image on the way; outside of policies, a batch of them along a leading axis.

    Attributes:
        logits_K: class logits after what was set so far.
        activations_D: the model's own.
        presence_D: the model's belief that each concept is there, 0 to 1.
        noise_D: uniform, drawn once an image.
        replacements_D: the true answers as activations (for `oracle` alone).
        label: int (for `oracle` alone).
        posterior_K: log-probabilities of the classes given the answers so far (for `carried`
            alone).
    """

    logits_K: jax.Array
    activations_D: jax.Array
    presence_D: jax.Array
    noise_D: jax.Array
    replacements_D: jax.Array
    label: jax.Array
    posterior_K: jax.Array


class Shared(NamedTuple):
    """What is the same for all images.

    Attributes:
        head_KxD: F.
        absent_D: what an answer sets a concept to that is not there.
        present_D: the same of one that is.
        frequencies_KxD: share of each class's train images with each concept.
    """

    head_KxD: jax.Array
    absent_D: jax.Array
    present_D: jax.Array
    frequencies_KxD: jax.Array


def intervention_curve(
    class_logits_NxK: np.ndarray,
    activations_NxD: np.ndarray,
    head_KxD: np.ndarray,
    labels_N: np.ndarray,
    *,
    replacements_NxD: np.ndarray,
    values: ConceptValues,
    calibration: Calibration,
    policy: str = "uncertain",
    steps: int | None = None,
    seed: int = 0,
) -> InterventionCurve:
    """Accuracy after each of 0 .. M concepts of every image is replaced.

    Args:
        class_logits_NxK: the model's class logits [N, K], with whatever it adds to F a.
        activations_NxD: its concept activations a.
        head_KxD: F.
        labels_N: int [N] in [0, K).
        replacements_NxD: the value each concept is set to when asked for, NaN where nobody knows
            it; see `jaxcbm.model.concept_values.replacements`.
        values: typical activations and beliefs, from train images.
        calibration: of the model, which tells the class by concepts, for `carried`.
        policy: one of `POLICIES`.
        steps: M; every concept that is known for any image by default.
        seed: of `random`.

    Returns:
        InterventionCurve.

    Raises:
        UserError: an unknown policy, or no concept whose true value is known.

    Reference: Koh et al. 2020 (arXiv 2007.04612) for interventions; Shin et al. 2023 (arXiv
    2302.14260) for policies.

    >>> from jaxcbm.model.calibration import fit_calibration
    >>> from jaxcbm.model.concept_values import concept_values
    >>> activations, present = np.array([[1.0], [-1.0]]), np.array([[1.0], [0.0]])
    >>> values, labels = concept_values(activations, present), np.array([0, 1])
    >>> head, wrong = np.array([[1.0], [-1.0]]), np.array([[-0.2], [0.2]])
    >>> record = fit_calibration(activations, labels, wrong, wrong @ head.T, labels)
    >>> curve = intervention_curve(
    ...     wrong @ head.T, wrong, head, labels, replacements_NxD=activations, values=values,
    ...     calibration=record)
    >>> curve.accuracies.tolist()
    [0.0, 1.0]
    """
    if policy not in POLICIES:
        raise UserError(f"no intervention policy {policy!r}: choose one of {', '.join(POLICIES)}")
    known_NxD = ~np.isnan(replacements_NxD)
    most = int(known_NxD.sum(axis=1).max(initial=0))
    if most == 0:
        raise UserError("no concept's true value is known for any image: nothing to intervene with")
    images, concepts = known_NxD.shape
    batch = Situation(
        logits_K=_float32(class_logits_NxK),
        activations_D=_float32(activations_NxD),
        presence_D=_float32(predicted_presence(values, activations_NxD)),
        noise_D=jax.random.uniform(jax.random.key(seed), (images, concepts)),
        replacements_D=_float32(np.where(known_NxD, replacements_NxD, 0.0)),
        label=jnp.asarray(labels_N, jnp.int32),
        posterior_K=_float32(log_probabilities(class_logits_NxK, calibration.temperature)),
    )
    # NaN stands where nothing was learnt of a concept; its replacement is NaN as well.
    absent, present = (_float32(np.nan_to_num(x)) for x in (values.absent, values.present))
    shared = Shared(_float32(head_KxD), absent, present, _float32(calibration.frequencies))
    right, asked = _follow(
        batch,
        shared,
        jnp.asarray(known_NxD),
        policy=policy,
        steps=most if steps is None else min(steps, most),
        batch_size=int(np.clip(_BLOCK // head_KxD.size, 1, images)),
    )
    counts = np.arange(right.shape[0], dtype=np.int32)
    return InterventionCurve(counts, *map(np.asarray, (right, asked)))


@partial(jax.jit, static_argnames=("policy", "steps", "batch_size"))
def _follow(
    batch: Situation,
    shared: Shared,
    known_NxD: jax.Array,
    *,
    policy: str,
    steps: int,
    batch_size: int,
) -> tuple[jax.Array, jax.Array]:
    """Accuracies [M + 1], asked [N, M]."""

    def ask(image: Situation, open_D: jax.Array) -> tuple[Situation, jax.Array, jax.Array]:
        priority_D = POLICIES[policy](image, shared)
        d = jnp.argmax(jnp.where(open_D, priority_D, -jnp.inf)).astype(jnp.int32)
        # With no concept left, argmax gives a closed one: nothing changes.
        change = jnp.where(open_D[d], image.replacements_D[d] - image.activations_D[d], 0.0)
        moved_K = image.logits_K + shared.head_KxD[:, d] * change
        asked = jnp.where(open_D[d], d, -1)
        image = image._replace(logits_K=moved_K, posterior_K=_told(image, shared, d, open_D[d]))
        return image, open_D.at[d].set(False), asked

    def carry(start: Situation, image: Situation, set_D: jax.Array) -> Situation:
        moved_D = carried(
            start.activations_D,
            start.presence_D,
            jnp.exp(start.posterior_K),
            jnp.exp(image.posterior_K),
            shared.frequencies_KxD,
            shared.present_D - shared.absent_D,
        )
        changed_D = jnp.where(set_D, start.replacements_D, moved_D) - start.activations_D
        return image._replace(logits_K=start.logits_K + shared.head_KxD @ changed_D)

    def is_right(image: Situation) -> jax.Array:
        right = jnp.sum(image.logits_K >= image.logits_K[image.label]) == 1
        return right.astype(jnp.float32)

    def one_image(start: tuple[Situation, jax.Array]):
        def step(situation: tuple[Situation, jax.Array], _: None):
            image, open_D, asked = ask(*situation)
            if policy == "carried":
                image = carry(start[0], image, start[1] & ~open_D)
            return (image, open_D), (is_right(image), asked)

        _, (right_M, asked_M) = jax.lax.scan(step, start, None, length=steps)
        return jnp.append(is_right(start[0]), right_M), asked_M

    right, asked = jax.lax.map(one_image, (batch, known_NxD), batch_size=batch_size)
    return jnp.mean(right, axis=0), asked


def _random(image: Situation, shared: Shared) -> jax.Array:
    """Any order, another one for every image."""
    return image.noise_D


def _uncertain(image: Situation, shared: Shared) -> jax.Array:
    """The concept whose predicted presence is nearest to a coin toss."""
    return -jnp.abs(image.presence_D - 0.5)


def _greedy(image: Situation, shared: Shared) -> jax.Array:
    """The concept whose answer is expected to tell most about the class, in the model's own eyes.

    This is the mutual information of answer and class, where the model believes in `present` as
    much as it says and answers count as independent of each other: the entropy of the mean of the
    two class distributions less the mean of their entropies. The expected entropy alone would ask
    for whatever makes the model surer, right or wrong.
    """
    return _information(
        image.presence_D,
        jax.nn.softmax(_logits_after(image, shared, shared.absent_D), axis=1),
        jax.nn.softmax(_logits_after(image, shared, shared.present_D), axis=1),
    )


def _carried(image: Situation, shared: Shared) -> jax.Array:
    """As `greedy`, where an answer tells of the class by how frequent the concept is in each."""
    absent_DxK, present_DxK = (
        jax.nn.softmax(image.posterior_K[None, :] + log_q_KxD.T, axis=1)
        for log_q_KxD in (jnp.log1p(-shared.frequencies_KxD), jnp.log(shared.frequencies_KxD))
    )
    present_D = jnp.exp(image.posterior_K) @ shared.frequencies_KxD
    return _information(present_D, absent_DxK, present_DxK)


def _oracle(image: Situation, shared: Shared) -> jax.Array:
    """The concept whose true value lowers the cross-entropy of the true label most."""
    logits_DxK = _logits_after(image, shared, image.replacements_D)
    return jax.nn.log_softmax(logits_DxK, axis=1)[:, image.label]


POLICIES: dict[str, Callable[[Situation, Shared], jax.Array]] = {
    "random": _random,
    "uncertain": _uncertain,
    "greedy": _greedy,
    "oracle": _oracle,
    "carried": _carried,
}


def _information(present_D: jax.Array, absent_DxK: jax.Array, present_DxK: jax.Array) -> jax.Array:
    """Mutual information of an answer and the class, from class probabilities after either."""
    present_Dx1 = present_D[:, None]
    mean_DxK = present_Dx1 * present_DxK + (1.0 - present_Dx1) * absent_DxK
    expected_D = present_D * _entropies(present_DxK) + (1.0 - present_D) * _entropies(absent_DxK)
    return _entropies(mean_DxK) - expected_D


def _told(image: Situation, shared: Shared, d: jax.Array, is_asked: jax.Array) -> jax.Array:
    """Log-probabilities of the classes after the true answer about concept d."""
    answer = soft_answers(image.replacements_D[d], shared.absent_D[d], shared.present_D[d])
    evidence_K = answer_log_likelihoods(answer, shared.frequencies_KxD[:, d])
    return jax.nn.log_softmax(image.posterior_K + jnp.where(is_asked, evidence_K, 0.0))


def _logits_after(image: Situation, shared: Shared, values_D: jax.Array) -> jax.Array:
    """Class logits after each concept alone is set to its value, [D, K]."""
    change_D = values_D - image.activations_D
    return image.logits_K[None, :] + (shared.head_KxD * change_D[None, :]).T


def _entropies(p_DxK: jax.Array) -> jax.Array:
    return jnp.sum(jax.scipy.special.entr(p_DxK), axis=1)


def _float32(array: np.ndarray) -> jax.Array:
    return jnp.asarray(np.asarray(array, np.float32))
