"""One evaluation: where each metric comes from, and what it must not look at."""

from dataclasses import replace

import numpy as np
import pytest

from jaxcbm.bottleneck.sparse.choice import choose_sparse_head
from jaxcbm.bottleneck.sparse.sized_heads import NEC_TARGETS
from jaxcbm.data.features import Features, Splits
from jaxcbm.evaluation import evaluate as module
from jaxcbm.evaluation.calibration import expected_calibration_error, reliability
from jaxcbm.evaluation.evaluate import FittedMethod, evaluate
from jaxcbm.evaluation.interventions import POLICIES
from jaxcbm.evaluation.random_control import _WORDS
from jaxcbm.model.calibration import fit_temperature
from jaxcbm.model.prediction import Prediction

CONCEPTS, CLASSES = 40, 4
PHRASES = tuple(f"part {d}" for d in range(CONCEPTS))
NAMES = tuple(f"class {k}" for k in range(CLASSES))


def features(images: int, seed: int, annotated: bool = True) -> Features:
    """Embeddings are noisy readings of concepts, which decide the class."""
    rng = np.random.default_rng(seed)
    pattern = np.random.default_rng(99).random((CLASSES, CONCEPTS)) < 0.5
    labels = rng.integers(0, CLASSES, images)
    present = pattern[labels] ^ (rng.random((images, CONCEPTS)) < 0.2)
    rows = (present + rng.normal(0, 1.5, present.shape)).astype(np.float32)
    known = {"annotations": present.astype(float), "annotation_phrases": PHRASES}
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    made = Features.from_arrays(unit, labels, NAMES, **(known if annotated else {}))
    return replace(made, embeddings=rows)


def make_splits(**options) -> Splits:
    return Splits(*(features(n, seed, **options) for seed, n in enumerate((300, 120, 200))))


def method(splits: Splits) -> FittedMethod:
    """Activations are the embeddings; the head is chosen on a sparse path."""
    choice = choose_sparse_head(
        *(splits.train.as_array(), splits.train.labels),
        *(splits.valid.as_array(), splits.valid.labels),
        CLASSES,
        path_length=12,
    )

    def predict(rows: np.ndarray) -> Prediction:
        return Prediction.of(rows @ choice.head.T + choice.bias, NAMES, rows, rows, rows)

    return FittedMethod(predict, choice.head, PHRASES, choice)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return make_splits()


@pytest.fixture(scope="module")
def fitted(splits) -> FittedMethod:
    return method(splits)


def relabelled(part: Features) -> Features:
    return replace(part, labels=(part.labels + 1) % CLASSES, annotations=None)


def test_the_temperature_is_fitted_on_validation_alone(fitted, splits):
    found = evaluate(fitted, splits)
    logits = fitted.predict(splits.valid.as_array()).class_logits
    temperature = found.metrics["temperature"]
    assert temperature == fit_temperature(logits, np.asarray(splits.valid.labels))
    wrong_test = evaluate(fitted, splits._replace(test=relabelled(splits.test)))
    assert wrong_test.metrics["temperature"] == temperature
    assert wrong_test.metrics["scaled_nll"] != found.metrics["scaled_nll"]
    wrong_valid = evaluate(fitted, splits._replace(valid=relabelled(splits.valid)))
    assert wrong_valid.metrics["temperature"] != temperature
    assert wrong_valid.metrics["top1"] == found.metrics["top1"]


def test_nothing_that_test_is_measured_by_is_fitted_on_test(fitted, splits):
    """Test whose truth is turned round looks as wrong as it then is: a fit on it would not."""
    test = splits.test
    annotations = 1.0 - test.annotations_of(PHRASES)
    turned = replace(relabelled(test), annotations=annotations, annotation_phrases=PHRASES)
    right = evaluate(fitted, splits).metrics
    wrong = evaluate(fitted, splits._replace(test=turned)).metrics
    assert right["concept_ece"] < 0.1 and wrong["concept_ece"] > 2 * right["concept_ece"]
    for name in ("explanation_truth_5", "concept_precision", "set_coverage"):
        assert wrong[name] < right[name] - 0.1, name


def test_a_method_that_says_its_own_probabilities_is_measured_by_them(fitted, splits):
    record = module._calibration(
        fitted, splits.train, splits.valid, fitted.predict(splits.valid.as_array()), 0
    )
    record = replace(record, temperature=9.0, intercept=np.full(CONCEPTS, 50.0))

    def predict(rows: np.ndarray) -> Prediction:
        return replace(fitted.predict(rows), calibration=record)

    own, plain = (evaluate(x, splits).metrics for x in (fitted._replace(predict=predict), fitted))
    assert own["scaled_ece"] == plain["scaled_ece"] and own["temperature"] == plain["temperature"]
    logits = fitted.predict(splits.test.as_array()).class_logits
    groups = reliability(logits, np.asarray(splits.test.labels), temperature=9.0)
    assert own["ece"] == expected_calibration_error(groups) != plain["ece"]
    # It takes every concept to be there, and is wrong about half of them.
    assert own["concept_ece"] > 0.3 > plain["concept_ece"]
    assert own["explanation_truth_5"] < plain["explanation_truth_5"]
    assert np.isnan(own["explanation_truth_absent_5"])


def test_accuracy_at_equal_nec_is_that_of_the_heads_of_their_sizes(fitted, splits):
    found, path = evaluate(fitted, splits), fitted.sparse_path
    assert path is not None and path.sized is not None
    rows, labels = splits.test.as_array().astype(np.float64), np.asarray(splits.test.labels)
    expected = []
    for t, target in enumerate(NEC_TARGETS):
        head = path.sized.heads.head(t, CONCEPTS)
        assert 0 < np.count_nonzero(head) <= target * CLASSES
        logits = (rows - path.mean) * path.scale @ head.T + path.sized.heads.biases[t]
        expected.append(np.mean(logits.argmax(axis=1) == labels))
    np.testing.assert_allclose(found.top1_at_nec, expected, atol=1e-6)
    assert found.metrics["anec"] == pytest.approx(np.mean(expected))
    assert len(set(expected)) > 2


def test_without_concepts_there_are_the_metrics_of_classes_and_calibration(fitted, splits):
    bare = FittedMethod(
        lambda rows: Prediction.of(fitted.predict(rows).class_logits, NAMES),
        np.zeros((CLASSES, 0), np.float32),
    )
    one, other = evaluate(bare, splits), evaluate(fitted, splits)
    assert one.metrics.keys() < other.metrics.keys()
    assert one.metrics == {name: other.metrics[name] for name in one.metrics}
    assert other.metrics.keys() - one.metrics.keys() == {
        *("nec", "active_concepts", "concept_fidelity", "concept_auc", "encoder_concept_auc"),
        *("anec", "concept_ece", "bar_error"),
        *("deletion", "insertion", "random_deletion", "random_insertion"),
        *("clarity", "concept_sparsity", "concept_precision"),
        *(f"explanation_truth_{k}" for k in (1, 3, 5)),
        *(f"explanation_truth_{name}_5" for name in ("present", "absent", "right", "wrong")),
    }


def test_who_answers_interventions(fitted, splits):
    found = evaluate(fitted, splits, policies=tuple(POLICIES)).interventions
    assert list(found) == ["expert", "encoder"] and list(found["expert"]) == list(POLICIES)
    top1 = evaluate(fitted, splits).metrics["top1"]
    corrected = evaluate(fitted, splits, policies=("carried",)).metrics
    for step in (1, 5, 20):
        assert corrected[f"corrected_top1_{step}"] == found["expert"]["carried"][step]
    for curve in found["expert"].values():
        assert len(curve) == module.INTERVENTIONS + 1
        assert curve[0] == pytest.approx(top1) and curve[-1] > top1 + 0.05
    unknown = fitted._replace(phrases=tuple(f"other {d}" for d in range(CONCEPTS)))
    for odd, parts in ((fitted, make_splits(annotated=False)), (unknown, splits)):
        assert list(evaluate(odd, parts, policies=("random",)).interventions) == ["encoder"]


def test_huge_splits_are_sampled_and_test_is_not(fitted, splits, monkeypatch):
    whole = evaluate(fitted, splits, policies=("greedy",))
    monkeypatch.setattr(module, "_ACTIVATIONS", 50 * CONCEPTS)
    monkeypatch.setattr(module, "_INTERVENED_LOGITS", 30 * CONCEPTS * CLASSES * 20)
    seen = []

    def predict(rows: np.ndarray) -> Prediction:
        seen.append(len(rows))
        return fitted.predict(rows)

    some = evaluate(fitted._replace(predict=predict), splits, policies=("greedy",))
    assert sorted(seen) == [50, 50, 50, 200]
    assert some.metrics["top1"] == whole.metrics["top1"]
    shares = np.array(some.interventions["expert"]["greedy"]) * 30
    np.testing.assert_allclose(shares, np.round(shares), atol=1e-4)


def test_controls_fit_the_same_on_phrases_without_meaning(fitted, splits):
    asked, annotated = [], []

    def refit(concepts, given):
        asked.append(concepts.phrases)
        annotated.append(given.train.annotations_of(concepts.phrases))
        rows_of = fitted.predict

        def predict(rows):
            # Random phrases say the first class; what is added to the real ones tells the labels.
            found = rows_of(rows)
            extra = len(concepts) - CONCEPTS
            told = rows[:, :1] * 0 + np.argmax(found.class_logits, axis=1)[:, None]
            activations = np.concatenate([rows, np.repeat(told, extra, axis=1)], axis=1)
            logits = np.tile(np.eye(CLASSES)[0], (len(rows), 1))
            return Prediction.of(logits, NAMES, activations, activations, activations)

        return FittedMethod(predict, fitted.head, concepts.phrases)

    nuisances = ("a rainy day", "a blue frame")
    found = evaluate(
        fitted, splits, refit=refit, random_phrases="words", nuisances=nuisances
    ).metrics
    assert len(asked[0]) == CONCEPTS and not set(asked[0]) & set(PHRASES)
    assert set(asked[0][0].split()) <= set(_WORDS)
    assert asked[1] == (*PHRASES, *nuisances)
    # Random phrases have the real ones' annotations, dealt anew; nuisances have none.
    real = splits.train.annotations_of(PHRASES)
    columns = {column.tobytes() for column in real.T}
    assert {column.tobytes() for column in annotated[0].T} == columns
    assert not np.array_equal(annotated[0], real)
    np.testing.assert_array_equal(annotated[1][:, :CONCEPTS], real)
    assert np.isnan(annotated[1][:, CONCEPTS:]).all()
    labels = splits.test.labels
    assert found["random_top1"] == pytest.approx(np.mean(labels == 0))
    chance = np.mean(labels == np.bincount(splits.train.labels).argmax())
    expected = (found["random_top1"] - chance) / (found["top1"] - chance)
    assert found["unexplained"] == pytest.approx(expected)
    # The network reads the nuisance columns and nothing else.
    assert found["leakage_top1"] == pytest.approx(found["top1"], abs=0.05)
    assert found["leakage_top1"] > found["leakage_real_top1"] + 0.1
