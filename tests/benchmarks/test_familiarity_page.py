"""What the pages on trust, maps and edits are computed by, and that they render their results."""

import json
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks import concept_maps, editing, familiarity

DOCS = Path(__file__).parents[2] / "docs"


def test_auroc_is_that_of_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    familiar, strange = np.round(rng.normal(size=60), 1), np.round(rng.normal(0.5, 1, 40), 1)
    labels = np.repeat([0, 1], [60, 40])
    expected = roc_auc_score(labels, np.concatenate([familiar, strange]))
    np.testing.assert_allclose(familiarity.auroc(familiar, strange), expected)


def test_adaptive_scores_by_brute_force():
    p = np.random.default_rng(1).dirichlet(np.ones(6), 20)
    found = familiarity._adaptive(p, np.random.default_rng(2), 0.1)
    parts = np.random.default_rng(2).random((20, 1))[:, 0]
    for row, part, scores in zip(p, parts, found, strict=True):
        for k in range(6):
            likelier = row[row > row[k]]
            late = max(len(likelier) + 1 - 3, 0)
            mass = likelier.sum() + (1 - part) * row[k] + 0.1 * late
            np.testing.assert_allclose(scores[k], 1 - mass)


def test_the_pages_are_what_their_results_say():
    trust = json.loads((DOCS / "results" / "familiarity.json").read_text("utf-8"))
    maps = json.loads((DOCS / "results" / "concept_maps.json").read_text("utf-8"))
    assert (DOCS / "familiarity.md").read_text("utf-8") == familiarity.render(trust)
    edits = json.loads((DOCS / "results" / "editing.json").read_text("utf-8"))
    assert (DOCS / "editing.md").read_text("utf-8") == editing.render(edits)
    page = concept_maps.render(maps, "pictures/concept_maps.png")
    assert (DOCS / "concept_maps.md").read_text("utf-8") == page
