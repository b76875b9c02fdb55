"""What a fit leaves knows what its numbers mean, whichever head it keeps."""

import re
from dataclasses import replace

import numpy as np
import pytest

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.model.calibration import fit_temperature
from jaxcbm.training import calibrate as module
from jaxcbm.training import fit_arrays, split_warnings
from jaxcbm.training.config import FitConfig
from jaxcbm.training.fit import fit

PHRASES = ("a red crown", "a long tail", "white spots", "a short bill")


@pytest.fixture(scope="module")
def parts(tiny_encoder_folder):
    encoder = load_encoder(tiny_encoder_folder)
    rng = np.random.default_rng(0)

    def features(images: int) -> Features:
        labels = rng.integers(0, 3, images)
        present = (rng.random((images, 3)) < 0.2 + 0.3 * (labels[:, None] == np.arange(3))) * 1.0
        rows = rng.normal(size=(images, encoder.embed_dim)) * 0.3
        rows[:, :3] += present
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        known = {"annotations": present, "annotation_phrases": PHRASES[:3]}
        return Features.from_arrays(
            rows.astype(np.float32), labels, ("amber", "blue", "coral"), **known
        )

    return features(200), features(80), encoder


@pytest.mark.parametrize("sparse", [True, False])
def test_a_fit_is_calibrated_on_validation(parts, sparse):
    train, valid, encoder = parts
    config = FitConfig()
    config = replace(
        config,
        training=replace(config.training, epochs=3),
        sparse_head=replace(config.sparse_head, enabled=sparse, path_length=5),
    )
    model = fit(train, valid, encoder=encoder, concepts=PHRASES, config=config)
    record = model.calibration
    assert record is not None
    seen = model.predict_embeddings(valid.as_array())
    assert record.temperature == fit_temperature(seen.class_logits, np.asarray(valid.labels))
    # Nothing is annotated of the last phrase.
    assert np.isnan(record.slope).tolist() == [False, False, False, True]
    here = model.predict_embeddings(train.as_array()).concept_activations
    np.testing.assert_allclose(record.mean, here.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_huge_splits_are_sampled(parts, monkeypatch):
    train, valid, encoder = parts
    config = replace(FitConfig(), training=replace(FitConfig().training, epochs=1))
    model = fit(train, valid, encoder=encoder, concepts=PHRASES, config=config)
    monkeypatch.setattr(module, "_ACTIVATIONS", 50 * len(PHRASES))
    few = module.calibrate(model, train, valid, seed=1).calibration
    same = module.calibrate(model, train.sample(50, 1), valid.sample(50, 1)).calibration
    assert few is not None and same is not None and model.calibration is not None
    for one, other in zip(vars(few).values(), vars(same).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert few.mean[0] != model.calibration.mean[0]


@pytest.mark.parametrize("objective", ["contrastive", "sigmoid"])
def test_phrases_that_no_annotation_speaks_of_fit_by_scores_where_that_is_said(parts, objective):
    train, valid, encoder = parts
    base = FitConfig()
    config = replace(
        base,
        bottleneck=replace(base.bottleneck, objective=objective),
        training=replace(base.training, epochs=2),
        sparse_head=replace(base.sparse_head, enabled=False),
    )
    strange = ["a door", "a wooden table", "rain"]
    with pytest.raises(UserError, match="only 0 of 3 phrases have an annotation"):
        fit(train, valid, encoder=encoder, concepts=strange, config=config)
    config = replace(config, bottleneck=replace(config.bottleneck, positives="scores"))
    plain = (replace(part, annotations=None, annotation_phrases=()) for part in (train, valid))
    models = [
        fit(*splits, encoder=encoder, concepts=strange, config=config)
        for splits in ((train, valid), plain)
    ]
    for path, value in models[0].params.items():
        np.testing.assert_array_equal(value, models[1].params[path], err_msg=path)


def test_a_validation_split_too_small_to_choose_on_is_said_once(parts, caplog):
    train, valid, encoder = parts
    split_warnings._warn_once.cache_clear()

    def said_of(count):
        few, concepts = valid.select(np.arange(count)), ConceptSet.from_phrases(PHRASES)
        fit_arrays.check_features(train, few, encoder, concepts, train.classes)
        return [record.getMessage() for record in caplog.records]

    assert said_of(30) == []
    for _ in range(2):
        (said,) = said_of(29)
        assert "only 29 validation images for 3 classes" in said
        share = re.search(r"Give 30 or more: .*valid_fraction=([\d.]+)", said)
        assert share and float(share[1]) * (len(train) + 29) >= 30
    assert "unfamiliar" not in said_of(19)[-1]
    assert "and 19 are needed to tell unfamiliar pictures" in said_of(18)[-1]


def test_where_no_split_is_enough_more_pictures_are_asked_for(caplog):
    split_warnings._warn_once.cache_clear()
    labels = np.arange(30) % 3
    split_warnings.warn_of_splits(labels[:20], labels[20:], ("a", "b", "c"))
    (said,) = (record.getMessage() for record in caplog.records)
    assert "Add pictures: with 30 no split" in said and "valid_fraction" not in said


def test_classes_that_a_split_lacks_are_named(caplog):
    split_warnings._warn_once.cache_clear()
    sorted_M = np.full(40, 2)
    split_warnings.warn_of_splits(np.arange(200) % 2, sorted_M, ("apple", "leaf", "sea"))
    (missing,) = (record.getMessage() for record in caplog.records)
    assert missing.startswith("no training image of 1 class (sea)")
    caplog.clear()
    split_warnings.warn_of_splits(np.arange(200) % 3, sorted_M, ("apple", "leaf", "sea"))
    (chosen,) = (record.getMessage() for record in caplog.records)
    assert chosen.startswith("validation shows 1 of 3 classes") and "every n-th" in chosen
