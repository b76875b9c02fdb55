"""One evaluation of every fitted method: from what it predicts to every metric that is reported."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from absl import logging

from jaxcbm.bottleneck.sparse.choice import SparseChoice
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features, Splits
from jaxcbm.evaluation.calibration import ReliabilityBins, calibration_metrics, reliability
from jaxcbm.evaluation.explanation_truth import clarity, concept_ece, explanation_truth
from jaxcbm.evaluation.faithfulness import faithfulness
from jaxcbm.evaluation.interventions import intervention_curve
from jaxcbm.evaluation.leakage import leakage
from jaxcbm.evaluation.metrics import class_metrics, evaluate_prediction
from jaxcbm.evaluation.random_control import (
    deal_annotations,
    random_concepts,
    unexplained_accuracy,
)
from jaxcbm.evaluation.trust import trust_metrics
from jaxcbm.model.calibration import Calibration, fit_calibration, log_probabilities
from jaxcbm.model.concept_values import concept_values, encoder_answers, replacements
from jaxcbm.model.model import Model
from jaxcbm.model.prediction import Prediction

INTERVENTIONS = 20
# Corrections of each image, by an expert, after which accuracy is a metric.
_CORRECTED = (1, 5, 20)
# Concept activations that are held at once for what a sample of images tells as well: 1 GiB.
_ACTIVATIONS = 2**28
# Numbers for every class or concept of an image that explanations are measured on.
_EXPLAINED = 2**24
# Logits that the policies of one curve may look at: minutes on two cores.
_INTERVENED_LOGITS = 2**35


class FittedMethod(NamedTuple):
    """A fitted method, of whatever kind, as far as evaluating it goes.

    Attributes:
        predict: image embeddings [N, E] -> Prediction; one without concepts has D = 0 of them.
        head: F, float32 [K, D].
        phrases: of the D concepts.
        sparse_path: the path that its head was chosen on; None where it has none.
        model: one of ours, which explains images; None for others.
    """

    predict: Callable[[np.ndarray], Prediction]
    head: np.ndarray
    phrases: tuple[str, ...] = ()
    sparse_path: SparseChoice | None = None
    model: Model | None = None


class Evaluation(NamedTuple):
    """What is measured on the test split.

    Attributes:
        prediction: of the test images.
        metrics: name -> value, shares 0 to 1.
        top1_at_nec: accuracy at each of `NEC_TARGETS`; empty without a sparse path.
        reliability: calibration as fitted, and with the temperature that suits validation.
        interventions: who answers (`expert`, `encoder`) -> policy -> accuracy after 0, 1, 2, ...
            concepts of each image are set right.
    """

    prediction: Prediction
    metrics: dict[str, float]
    top1_at_nec: tuple[float, ...]
    reliability: dict[str, ReliabilityBins]
    interventions: dict[str, dict[str, list[float]]]


def fitted_model(model: Model) -> FittedMethod:
    """A concept bottleneck as a fitted method.

    Its sparse path is what `jaxcbm.load_model` finds beside it.
    """
    phrases = model.concepts.phrases
    return FittedMethod(model.predict_embeddings, model.head, phrases, model.sparse_path, model)


def evaluate(
    fitted: FittedMethod,
    splits: Splits,
    *,
    policies: Sequence[str] = (),
    refit: Callable[[ConceptSet, Splits], FittedMethod] | None = None,
    random_phrases: str = "nonsense",
    nuisances: Sequence[str] = (),
    seed: int = 0,
) -> Evaluation:
    """Measure a fitted method on the test split.

    Args:
        fitted: what predicts.
        splits: features; train is read for interventions and controls, validation for the
            temperature.
        policies: of interventions (`jaxcbm.evaluation.interventions.POLICIES`); none: no curves.
        refit: fits the same method on other phrases, on features whose annotations may be dealt
            to them; None: no controls.
        random_phrases: their kind (`jaxcbm.evaluation.random_control.KINDS`).
        nuisances: phrases that say nothing about the classes, for the leakage control.
        seed: of random phrases, of policies, and of what is sampled where a split is huge.

    Returns:
        Evaluation. Its metrics are those of `jaxcbm.evaluation.metrics` and of
        `explanation_metrics` (of classes alone where there are no concepts), of
        `calibration_metrics` and `trust_metrics`, with a sparse path `anec`, with the policy
        `carried` and annotations `corrected_top1_1`, `_5` and `_20`, and with `refit` those of
        `controls`.
    """
    test, valid = splits.test, _some(splits.valid, fitted, seed)
    prediction, labels = fitted.predict(test.as_array()), np.asarray(test.labels)
    on_valid, told = fitted.predict(valid.as_array()), prediction
    if fitted.phrases:
        # Other methods learn what their numbers mean as ours do.
        record = prediction.calibration or _calibration(fitted, splits.train, valid, on_valid, seed)
        told = replace(prediction, calibration=record)
        present = test.annotations_of(fitted.phrases)
        metrics = evaluate_prediction(told, labels, fitted.head, present)
        metrics |= explanation_metrics(told, labels, fitted.head, present, seed)
    else:
        metrics = class_metrics(prediction.class_logits, labels)
    metrics |= calibration_metrics(
        on_valid.class_logits,
        np.asarray(valid.labels),
        prediction.class_logits,
        labels,
        own_temperature=prediction.temperature,
    )
    metrics |= trust_metrics(
        np.exp(log_probabilities(on_valid.class_logits, metrics["temperature"])),
        np.asarray(valid.labels),
        prediction,
        np.exp(log_probabilities(prediction.class_logits, metrics["temperature"])),
        labels,
    )
    top1_at_nec: tuple[float, ...] = ()
    if fitted.sparse_path is not None:
        at_nec = fitted.sparse_path.curve(prediction.concept_activations, labels)
        top1_at_nec, metrics["anec"] = tuple(at_nec.accuracies.tolist()), float(at_nec.anec)
    if refit is not None:
        metrics |= controls(
            refit,
            fitted.phrases,
            splits,
            metrics["top1"],
            random_phrases=random_phrases,
            nuisances=nuisances,
            seed=seed,
        )
    curves = intervene(fitted, splits, told, policies, seed) if policies else {}
    if "carried" in curves.get("expert", {}):
        curve = curves["expert"]["carried"]
        at = {count: min(count, len(curve) - 1) for count in _CORRECTED}
        metrics |= {f"corrected_top1_{count}": curve[step] for count, step in at.items()}
    temperature = metrics["temperature"]
    return Evaluation(
        prediction,
        metrics,
        top1_at_nec,
        {
            name: reliability(prediction.class_logits, labels, temperature=value)
            for name, value in (("as fitted", 1.0), (f"temperature {temperature:.2f}", temperature))
        },
        curves,
    )


def explanation_metrics(
    prediction: Prediction,
    labels_N: np.ndarray,
    head_KxD: np.ndarray,
    present_NxD: np.ndarray | None,
    seed: int = 0,
) -> dict[str, float]:
    """Whether explanations are faithful and, where there are annotations, true.

    Args:
        prediction: of the test images, with a calibration.
        labels_N: int [N].
        head_KxD: F.
        present_NxD: annotations in the order of the concepts; None without any.
        seed: of the random order, and of what is sampled where the split is huge.

    Returns:
        Metrics of `faithfulness`; with annotations also `concept_ece` and those of
        `explanation_truth` and `clarity`.
    """
    most = max(_EXPLAINED // max(head_KxD.shape), 1)
    if len(labels_N) > most:
        rows = np.sort(np.random.default_rng(seed).choice(len(labels_N), most, replace=False))
        prediction, labels_N = prediction.select(rows), labels_N[rows]
        present_NxD = None if present_NxD is None else present_NxD[rows]
    metrics = faithfulness(prediction, head_KxD, seed)
    if present_NxD is not None:
        metrics["concept_ece"] = concept_ece(prediction, present_NxD)
        metrics |= explanation_truth(prediction, head_KxD, labels_N, present_NxD)
        metrics |= clarity(prediction, head_KxD, labels_N, present_NxD)
    return metrics


def controls(
    refit: Callable[[ConceptSet, Splits], FittedMethod],
    phrases: Sequence[str],
    splits: Splits,
    top1: float,
    *,
    random_phrases: str,
    nuisances: Sequence[str],
    seed: int,
) -> dict[str, float]:
    """What the same method reaches without meaning, and what its concepts tell beside theirs.

    Args:
        refit: fits the method on other phrases, on features whose annotations may be dealt to them.
        phrases: of the method.
        splits: what to fit and to measure on.
        top1: of the method.
        random_phrases: their kind.
        nuisances: phrases that say nothing about the classes; none: leakage is not measured.
        seed: of the phrases, and of the network that reads the activations.

    Returns:
        `random_top1`: accuracy with random phrases, which are trained as the real ones are: where
        images have annotations, each random phrase is dealt those of a real one
        (`jaxcbm.evaluation.random_control.deal_annotations`); `unexplained`: see
        `unexplained_accuracy`; with nuisances `leakage_top1`, what a small network reads of the
        classes from their activations alone, `leakage_real_top1`, what it reads from as many real
        concepts, and `leakage_chance`, what nothing tells.
    """
    test, real = splits.test, ConceptSet.from_phrases(phrases)
    labels = np.asarray(test.labels)
    drawn = random_concepts(real, kind=random_phrases, seed=seed)
    dealt = Splits(*(deal_annotations(part, phrases, drawn.phrases, seed) for part in splits))
    logging.info("control: the same fit with random phrases, to see what phrases add")
    control = refit(drawn, dealt).predict(test.as_array())
    random_top1 = class_metrics(control.class_logits, labels)["top1"]
    chance = float(np.mean(labels == np.bincount(splits.train.labels).argmax()))
    metrics = {
        "random_top1": random_top1,
        "unexplained": unexplained_accuracy(top1, random_top1, chance),
    }
    if not nuisances:
        return metrics
    logging.info("control: the same fit with nuisances as well, to see what leaks into them")
    both = refit(ConceptSet.from_phrases([*phrases, *nuisances]), splits)
    activations = [both.predict(part.as_array()).concept_activations for part in splits]

    def read(columns: np.ndarray) -> dict[str, float]:
        parts = []
        for values, part in zip(activations, splits, strict=True):
            parts += [values[:, columns], np.asarray(part.labels)]
        return leakage(*parts, seed=seed)

    nuisance = read(np.arange(len(phrases), len(phrases) + len(nuisances)))
    return metrics | {
        "leakage_top1": nuisance["top1"],
        "leakage_chance": nuisance["chance"],
        "leakage_real_top1": read(np.arange(len(nuisances)) * len(phrases) // len(nuisances))[
            "top1"
        ],
    }


def intervene(
    fitted: FittedMethod, splits: Splits, on_test: Prediction, policies: Sequence[str], seed: int
) -> dict[str, dict[str, list[float]]]:
    """Accuracy after 0, 1, 2, ... concepts of each test image are set to what somebody says.

    The expert's answers are the annotations, where there are any of these phrases; the encoder's
    are its own scores, see `encoder_answers`.

    Returns:
        Who answers -> policy -> accuracies [M + 1]; M is at most `INTERVENTIONS`. Nobody is left
        out but those who know no concept's value.
    """
    train, test = _some(splits.train, fitted, seed), splits.test
    assert on_test.calibration is not None
    seen = fitted.predict(train.as_array())
    truth = _known(train.annotations_of(fitted.phrases))
    if truth is None:
        truth = encoder_answers(seen.concept_scores, seen.concept_scores)
    values = concept_values(seen.concept_activations, truth)
    rows = np.arange(len(test))
    most = max(_INTERVENED_LOGITS // (max(fitted.head.size, 1) * INTERVENTIONS), 1)
    if len(rows) > most:
        logging.info("interventions: on %d of %d test images", most, len(rows))
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    told = {
        "expert": _known(test.annotations_of(fitted.phrases, rows)),
        "encoder": encoder_answers(seen.concept_scores, on_test.concept_scores[rows], truth),
    }
    curves: dict[str, dict[str, list[float]]] = {}
    for who, answers in told.items():
        right = None if answers is None else _known(replacements(values, answers))
        if right is None:
            continue
        for policy in policies:
            curve = intervention_curve(
                on_test.class_logits[rows],
                on_test.concept_activations[rows],
                fitted.head,
                np.asarray(test.labels)[rows],
                replacements_NxD=right,
                values=values,
                calibration=on_test.calibration,
                policy=policy,
                steps=INTERVENTIONS,
                seed=seed,
            )
            curves.setdefault(who, {})[policy] = curve.accuracies.tolist()
    return curves


def _known(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None or np.isnan(values).all() else values


def _calibration(
    fitted: FittedMethod, train: Features, valid: Features, on_valid: Prediction, seed: int
) -> Calibration:
    """What the numbers of a method mean that does not say so itself."""
    train = _some(train, fitted, seed)
    return fit_calibration(
        fitted.predict(train.as_array()).concept_activations,
        np.asarray(train.labels),
        on_valid.concept_activations,
        on_valid.class_logits,
        np.asarray(valid.labels),
        train.annotations_of(fitted.phrases),
        valid.annotations_of(fitted.phrases),
    )


def _some(features: Features, fitted: FittedMethod, seed: int) -> Features:
    """All images, or as many as their activations leave room for."""
    return features.sample(max(_ACTIVATIONS // max(len(fitted.phrases), 1), 1), seed)
