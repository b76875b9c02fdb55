"""Sets and abstention as every fitted method is measured by them."""

import numpy as np
from test_evaluate import make_splits, method

from jaxcbm.evaluation.evaluate import evaluate
from jaxcbm.evaluation.trust import selective_accuracy
from jaxcbm.model.calibration import log_probabilities


def test_selective_accuracy_is_the_accuracy_of_the_likeliest_in_any_order():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 50)
    labels = rng.integers(0, 4, 50)
    kept = np.argsort(-p.max(axis=1))[:40]
    assert selective_accuracy(p, labels, 0.8) == np.mean(p[kept].argmax(axis=1) == labels[kept])
    shuffled = rng.permutation(50)
    tied = np.round(p, 1) + np.arange(4) * 1e-6
    one, other = (selective_accuracy(tied[i], labels[i]) for i in (np.arange(50), shuffled))
    assert one == other


def test_sets_are_calibrated_on_validation_with_the_temperature_that_suits_it():
    splits = make_splits()
    fitted = method(splits)
    found = evaluate(fitted, splits).metrics
    valid, test = (
        np.exp(
            log_probabilities(fitted.predict(part.as_array()).class_logits, found["temperature"])
        )
        for part in splits[1:]
    )
    own = valid[np.arange(len(valid)), splits.valid.labels]
    # 95 % of 121 images: the 115th highest of the 120.
    sets = test >= np.sort(own)[::-1][114]
    assert found["set_coverage"] == np.mean(sets[np.arange(len(sets)), splits.test.labels])
    assert found["set_size"] == np.mean(np.maximum(sets.sum(axis=1), 1))
    assert found["selective_top1"] > found["top1"]
    assert "unfamiliar" not in found
