"""What the rows of the table give their methods: annotations, descriptions, the path's settings."""

from dataclasses import replace
from typing import Any, cast
from unittest.mock import ANY

import numpy as np
import pytest

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.provenance import Candidate, Origin
from jaxcbm.data.features import Features, Splits
from jaxcbm.encoders.load import load_encoder
from jaxcbm.experiment import fit_baselines, fit_ours
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.methods import DEFAULT, METHODS, table_of
from jaxcbm.experiment.study import Study
from jaxcbm.training.config import TrainingConfig

PHRASES = ("red crown", "blue wings", "white eye ring", "forked tail")
CLASSES = ("robin", "jay")
HAS = np.array([[1, 0, 1, 0], [0, 1, 0, 1]])


def study_of(concepts=None, **changes) -> Study:
    """Two classes of two phrases each, images near their phrases."""
    concepts = concepts or ConceptSet.from_phrases(PHRASES)
    encoder, rng = load_encoder("jaxcbm/tiny"), np.random.default_rng(0)
    texts = np.asarray(encoder.embed_texts(list(PHRASES)))

    def part(count):
        labels = np.arange(count) % 2
        present = np.where(rng.random((count, 4)) < 0.1, 1 - HAS[labels], HAS[labels])
        rows = present @ texts + 0.02 * rng.normal(size=(count, texts.shape[1]))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return Features.from_arrays(
            rows.astype(np.float32),
            labels,
            CLASSES,
            annotations=present.astype(np.float32),
            annotation_phrases=PHRASES,
        )

    names = np.asarray(encoder.embed_texts(list(CLASSES)))
    splits = Splits(part(60), part(20), part(40))
    experiment = read_experiment("quickstart", {"sparse_head.path_length": 6, **changes})
    phrases = np.asarray(encoder.embed_texts(list(concepts.phrases)))
    return Study(experiment, encoder, concepts, splits, names, names, phrases)


def described() -> ConceptSet:
    own = [(c, p) for k, c in enumerate(CLASSES) for d, p in enumerate(PHRASES) if HAS[k, d]]
    return ConceptSet.from_candidates(
        [Candidate(phrase, Origin("a guide", class_name=name)) for name, phrase in own]
    )


@pytest.mark.parametrize(
    "row, share, length",
    [
        ("VLG-CBM", 0.5, 100),
        ("Post-hoc CBM, learned vectors", 0.5, 6),
        ("Post-hoc CBM, SVM vectors", 0.5, 6),
        ("Post-hoc CBM, text vectors", 0.0, 6),
        ("Label-free CBM", 0.0, 6),
    ],
)
def test_whoever_has_annotations_has_the_corrected_copy(row, share, length, monkeypatch):
    """The copy's share and weight, and the path, are those of ours."""
    changes = {"intervened": 0.5, "copy_weight": 0.3, "tolerance": 0.01}
    study = study_of(**{f"sparse_head.{name}": value for name, value in changes.items()})
    seen: dict[str, Any] = {}

    def remember(bottleneck, train, valid, **settings):
        seen.update(settings)
        return bottleneck, None

    monkeypatch.setattr(fit_baselines, "with_sparse_path", remember)
    for bottleneck in ("grounded", "learned", "label_free"):
        monkeypatch.setattr(fit_baselines, f"{bottleneck}_bottleneck", lambda *_, **__: None)
    monkeypatch.setattr(fit_baselines, "_of_classifier", lambda *_: None)
    METHODS[row].run(study, 0)
    assert (seen["intervened"], seen["copy_weight"], seen["tolerance"]) == (share, 0.3, 0.01)
    assert seen["path_length"] == length
    assert ("annotations" in METHODS[row].given) == (share > 0)


def test_the_default_without_annotations_sees_none(monkeypatch):
    study, seen = study_of(), []
    plain = METHODS["zero-shot, templates"].run(study, 0)

    def remember(*what):
        seen.append(what)
        return plain._replace(predict=lambda rows: replace(plain.predict(rows), calibration=ANY))

    monkeypatch.setattr(fit_ours, "fit_on", remember)
    row = METHODS[f"{DEFAULT}, no annotations"]
    assert row.annotated and row.given == ("labels",)
    fitted = row.run(study, 3)
    ((bare, config, concepts),) = seen
    for part, own in zip(bare.splits[:2], study.splits[:2], strict=True):
        assert part.annotations is None and part.annotation_phrases == ()
        np.testing.assert_array_equal(part.embeddings, own.embeddings)
    assert concepts is study.concepts
    # The quick start has its own objective and sampler; data without annotations has the defaults.
    assert (config.bottleneck.objective, config.bottleneck.sampler) == ("contrastive", "identity")
    assert config.training.cbl == TrainingConfig().cbl and config.training.seed == 3
    assert config.sparse_head == study.experiment.sparse_head
    # What its numbers mean is measured as for every other row.
    assert fitted.predict(study.splits.test.as_array()).calibration is None
    assert study.splits.train.annotations is not None


def test_a_set_that_knows_its_classes_is_a_gift():
    with_it, without = table_of(study_of(described())), table_of(study_of())
    for row, told in (("DescriptionCLS", ()), ("LaBo", ("labels",))):
        assert with_it[row].given == (*told, "class descriptions")
        assert without[row].given == told
    assert with_it["CDM"].given == without["CDM"].given == ("labels",)


def test_descriptions_are_read_by_the_methods_own_prompt():
    study = study_of(described())
    fitted = METHODS["DescriptionCLS"].run(study, 0)
    prompts = [
        f"{CLASSES[k]}, which has {PHRASES[d]}" for k in (0, 1) for d in range(4) if HAS[k, d]
    ]
    assert sorted(fitted.phrases) == sorted(prompts)
    texts = np.asarray(study.encoder.embed_texts(prompts)).reshape(2, 2, -1)
    rows = study.splits.test.as_array()
    expected = study.encoder.logit_scale * rows @ texts.mean(axis=1).T
    np.testing.assert_allclose(fitted.predict(rows).class_logits, expected, rtol=1e-4)


def test_labo_chooses_among_a_classs_own_phrases(monkeypatch):
    seen = []
    monkeypatch.setattr(fit_baselines, "labo", lambda *what, **how: seen.append((what[4], how)))
    monkeypatch.setattr(fit_baselines, "as_path_of_one", lambda *_: None)
    monkeypatch.setattr(fit_baselines, "_of_classifier", lambda *_: None)
    own = study_of(described())
    METHODS["LaBo"].run(own, 0)
    METHODS["LaBo"].run(study_of(), 0)
    columns = [own.concepts.phrases.index(phrase) for phrase in PHRASES]
    np.testing.assert_array_equal(seen[0][0][:, columns], HAS)
    np.testing.assert_array_equal(seen[1][0].sum(axis=1), [2, 2])


@pytest.mark.parametrize("row, steps", [("CDM", 4000), ("LaBo", 20_000)])
def test_dense_rows_have_a_curve_and_take_as_many_steps_on_any_data(row, steps, monkeypatch):
    study, taken = study_of(), []
    name = {"CDM": "concept_discovery", "LaBo": "labo"}[row]
    train = getattr(fit_baselines, name)

    def few(*what, epochs, batch_size, **how):
        taken.append(epochs * max(len(what[0]) // batch_size, 1))
        return train(*what, epochs=3, batch_size=batch_size, **how)

    monkeypatch.setattr(fit_baselines, name, few)
    fitted = METHODS[row].run(study, 0)
    assert taken == [steps]
    rows, labels = study.splits.test.as_array(), cast(Any, study.splits.test.labels)
    prediction = fitted.predict(rows)
    assert fitted.sparse_path is not None
    curve = fitted.sparse_path.curve(prediction.concept_activations, labels, (1, 4))
    whole = np.mean(prediction.label_ids == labels)
    assert float(curve.accuracies[1]) == pytest.approx(whole)
