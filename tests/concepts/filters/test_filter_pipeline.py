"""Filters one after the other, the pick of phrases a class, and the log that a set keeps."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.filters.class_cover import cover_classes, uncovering
from jaxcbm.concepts.filters.run import DEFAULT_STEPS, Evidence, Step, filter_concepts
from jaxcbm.concepts.filters.table import FILTERS
from jaxcbm.errors import UserError

PHRASES = ("red crown", "the red crowns", "a crown that is as red as it can be", "wren", "tail")
TEXTS = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0.96, 0, 0.28]], np.float32)
CLASSES = np.array([[0, 0.8, 0.6]], np.float32)
# Every decision of the default filters on the set above.
DROPS = [
    ("length", "a crown that is as red as it can be", "35 characters"),
    ("duplicates", "the red crowns", "same as 'red crown'"),
    ("classes", "wren", "says the class 'Wren'"),
    ("similar", "tail", "0.960 like 'red crown'"),
]


def small_world(seed: int, classes: int, phrases: int, each: int = 25):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    centres = rng.normal(size=(classes, 8))
    rows = centres[labels] + 0.7 * rng.normal(size=(len(labels), 8))
    texts = rng.normal(size=(phrases, 8))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows, texts)]
    return unit[0].astype(np.float32), labels, unit[1].astype(np.float32)


def test_the_log_says_what_each_filter_dropped_and_why():
    concepts = ConceptSet.from_phrases(PHRASES, {"by": "hand"})
    kept = filter_concepts(concepts, Evidence(TEXTS, ("Wren",), CLASSES))
    assert kept.phrases == ("red crown",) and kept.provenance == {"by": "hand"}
    found = [(run.name, drop.phrase, drop.reason) for run in kept.filters for drop in run.dropped]
    assert found == DROPS
    assert [run.settings for run in kept.filters] == [
        {"at_most": 30},
        {},
        {"below": 0.85},
        {"below": 0.90},
    ]
    assert [run.kept for run in kept.filters] == [4, 3, 2, 1]


def test_the_hash_of_a_filtered_set_does_not_move():
    """Stored models and reports name it; the same phrases survive on every machine."""
    concepts = ConceptSet.from_phrases(PHRASES)
    kept = filter_concepts(concepts, Evidence(TEXTS, ("Wren",), CLASSES))
    assert kept.content_hash == ConceptSet.from_phrases(["red crown"]).content_hash
    assert kept.content_hash.startswith("54d52097")


def test_a_filtered_set_is_saved_with_its_log(tmp_path):
    kept = filter_concepts(ConceptSet.from_phrases(PHRASES), Evidence(TEXTS, ("Wren",), CLASSES))
    kept.save(tmp_path / "kept.json")
    again = ConceptSet.from_file(tmp_path / "kept.json")
    assert again == kept and again.filters == kept.filters
    assert again.content_hash == kept.content_hash


@given(seed=st.integers(0, 5), below=st.sampled_from([0.3, 0.5, 0.7]))
@settings(max_examples=8)
def test_a_pipeline_run_twice_drops_nothing_more(seed, below):
    rows, labels, texts = small_world(seed, classes=3, phrases=12)
    concepts = ConceptSet.from_phrases(f"phrase {n}" for n in range(12))
    steps = [
        *DEFAULT_STEPS[:2],
        Step("similar", {"below": below}),
        Step("informative", {"at_least": 0.01}),
        Step("cover", {"per_class": 2}),
    ]
    evidence = Evidence(texts, images=rows, labels=labels)
    once = filter_concepts(concepts, evidence, steps)
    stays = np.isin(concepts.phrases, once.phrases)
    again = filter_concepts(once, evidence.of(stays), steps)
    assert again == once
    assert not any(run.dropped for run in again.filters[len(steps) :])


def test_text_of_other_encoders_does_not_reach_the_images():
    rows, labels, texts = small_world(0, classes=2, phrases=3)
    wide = np.concatenate([texts, texts], axis=1) / np.sqrt(2)
    evidence = Evidence(wide, pictured=texts, images=rows, labels=labels)
    concepts = ConceptSet.from_phrases("abc")
    for name in ("visible", "varying", "informative", "cover"):
        least = {} if name == "cover" else {"at_least": -1.0}
        assert len(filter_concepts(concepts, evidence, [Step(name, least)])) >= 1


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([Step("lenght")], f"no filter 'lenght': one of {', '.join(FILTERS)}"),
        ([Step("length", {"below": 3})], "filter length has no setting 'below'; it has at_most"),
        ([Step("duplicates", {"a": 1})], "it has none"),
        ([Step("similar")], "filter similar needs text embeddings"),
        ([Step("length"), Step("classes")], "filter classes needs text embeddings"),
        ([Step("visible")], "needs text embeddings"),
        ([Step("length", {"at_most": 2})], "filter length would drop all 2 phrases"),
    ],
)
def test_bad_steps_are_one_line(steps, message):
    concepts = ConceptSet.from_phrases(["red crown", "long tail"])
    with pytest.raises(UserError, match=message) as caught:
        filter_concepts(concepts, Evidence(), steps)
    assert "\n" not in str(caught.value)


def test_a_set_of_one_phrase_survives_itself():
    concepts = ConceptSet.from_phrases(["red crown"])
    evidence = Evidence(TEXTS[:1], ("wren",), CLASSES)
    assert filter_concepts(concepts, evidence) == concepts
    with pytest.raises(UserError, match="would drop all 1 phrases"):
        filter_concepts(concepts, Evidence(TEXTS[:1], ("Red Crown",), CLASSES))


def test_embeddings_of_another_set_are_a_fault():
    with pytest.raises(ValueError, match="5 text embeddings for 1 phrases"):
        filter_concepts(ConceptSet.from_phrases(["a"]), Evidence(TEXTS), [Step("similar")])


def worth(chosen, own, told_KxKxD):
    """The sum over other classes of the best chance that a chosen phrase tells them apart."""
    if not chosen:
        return 0.0
    return sum(
        max(told_KxKxD[own, other, d] for d in chosen)
        for other in range(len(told_KxKxD))
        if other != own
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_pick_is_greedy_and_near_the_best(seed):
    from scipy.stats import norm

    rows, labels, texts = small_world(seed, classes=4, phrases=7)
    scores = rows.astype(np.float64) @ texts.T.astype(np.float64)
    means = np.stack([scores[labels == c].mean(axis=0) for c in range(4)])
    deviation = np.sqrt(np.mean((scores - means[labels]) ** 2, axis=0))
    chance = norm.cdf((means[:, None] - means[None]) / (np.sqrt(2) * deviation)) - 0.5
    told_KxKxD = np.maximum(chance, 0.0)
    picks = cover_classes(texts, rows, labels, per_class=3)
    for own in range(4):
        chosen: list[int] = []
        for _ in range(3):
            gains = [worth([*chosen, d], own, told_KxKxD) for d in range(7)]
            if max(gains) > worth(chosen, own, told_KxKxD) + 1e-9:
                chosen.append(int(np.argmax(gains)))
        assert set(np.flatnonzero(picks[own])) == set(chosen)
        best = max(worth(c, own, told_KxKxD) for c in itertools.combinations(range(7), 3))
        assert worth(chosen, own, told_KxKxD) >= (1 - 1 / np.e) * best


def test_every_class_is_covered_by_a_phrase_that_it_scores_higher_on():
    rows, labels = np.repeat(np.eye(3), 10, axis=0), np.repeat([0, 1, 2], 10)
    texts = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [-1, 0, 0]])
    picks = cover_classes(texts, rows, labels, per_class=1)
    np.testing.assert_array_equal(picks[:, :3], np.eye(3, dtype=bool))
    assert not picks[:, 3:].any()
    # More are allowed, but nothing is left for them to tell apart.
    many = cover_classes(texts, rows, labels, per_class=5)
    assert not many[:, 3].any()


def test_unknown_labels_and_single_classes():
    rows, labels, texts = small_world(0, classes=3, phrases=5)
    marked = np.where(labels == 2, -1, labels)
    np.testing.assert_array_equal(
        cover_classes(texts, rows, marked, 2), cover_classes(texts, rows[:50], labels[:50], 2)
    )
    with pytest.raises(UserError, match="for each of 1 classes"):
        uncovering(["a"] * 5, texts, rows, np.zeros(75, int), 2)
    with pytest.raises(UserError, match="0 phrases for each of 3 classes"):
        uncovering(["a"] * 5, texts, rows, labels, 0)
