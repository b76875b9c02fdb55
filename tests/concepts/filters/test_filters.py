"""Every filter: what it drops and why, against brute force, again, and in another order."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.filters.image import not_varying, not_visible, top_scores, uninformative
from jaxcbm.concepts.filters.run import Evidence, Step, filter_concepts
from jaxcbm.concepts.filters.score_information import mutual_information
from jaxcbm.concepts.filters.similarity import centred, join_embeddings, like_a_class, like_another
from jaxcbm.concepts.filters.table import FILTERS
from jaxcbm.concepts.filters.text import near_duplicates, too_long
from jaxcbm.data.phrase_key import phrase_key
from jaxcbm.errors import UserError

# Vectors whose products are multiples of a quarter: exact in float32, so that thresholds are hit
# exactly, as no rounding decides.
HALVES = np.array(list(itertools.product([0.5, -0.5], repeat=4)), np.float32)
UNITS = np.concatenate([HALVES, np.eye(4, dtype=np.float32)])
rows_of_units = st.lists(st.integers(0, len(UNITS) - 1), min_size=1, max_size=8)
words = st.text(alphabet="abesAÉ鳥Жßİ' -", min_size=1, max_size=9)


def images(seed: int, classes: int = 3, each: int = 40):
    """Classes of pictures around their own direction, in 4 dimensions."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    rows = np.eye(4)[labels] + rng.normal(0, 0.4, (len(labels), 4))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def evidence_of(texts, seed=0):
    rows, labels = images(seed)
    return Evidence(texts, ("class a", "class b"), UNITS[[3, 17]], images=rows, labels=labels)


THRESHOLDS = {
    "length": {"at_most": 9},
    "duplicates": {},
    "classes": {"below": 0.5},
    "similar": {"below": 0.5},
    "visible": {"at_least": 0.55},
    "varying": {"at_least": 0.3},
    "informative": {"at_least": 0.2},
    "cover": {"per_class": 2},
}


def survivors(name, phrases, texts, seed=0):
    """Positions that one filter keeps; none where it would drop everything."""
    try:
        kept = filter_concepts(
            ConceptSet(tuple(phrases)), evidence_of(texts, seed), [Step(name, THRESHOLDS[name])]
        )
    except UserError as error:
        assert "would drop all" in str(error)
        return []
    stay = set(kept.phrases)
    return [row for row, phrase in enumerate(phrases) if phrase in stay]


def test_every_filter_is_tried_here():
    assert list(THRESHOLDS) == list(FILTERS)


@pytest.mark.parametrize("name", FILTERS)
@settings(max_examples=20)
@given(rows=rows_of_units, seed=st.integers(0, 3), data=st.data())
def test_filters_are_idempotent_and_never_silent(name, rows, seed, data):
    phrases = data.draw(st.lists(words, min_size=len(rows), max_size=len(rows), unique=True))
    texts = UNITS[rows]
    stay = survivors(name, phrases, texts, seed)
    if stay:
        again = survivors(name, [phrases[i] for i in stay], texts[stay], seed)
        assert again == list(range(len(stay)))


@pytest.mark.parametrize("name", ["length", "classes", "visible", "varying", "informative"])
@settings(max_examples=20)
@given(rows=rows_of_units, data=st.data())
def test_filters_of_single_phrases_do_not_depend_on_the_order(name, rows, data):
    phrases = [f"{'x' * (row % 12)} {place}" for place, row in enumerate(rows)]
    order = data.draw(st.permutations(range(len(rows))))
    stay = {phrases[i] for i in survivors(name, phrases, UNITS[rows])}
    moved = [phrases[i] for i in order]
    shuffled = survivors(name, moved, UNITS[[rows[i] for i in order]])
    assert {moved[i] for i in shuffled} == stay


@given(phrases=st.lists(words, min_size=1, max_size=10, unique=True), data=st.data())
def test_the_meanings_that_stay_do_not_depend_on_the_order(phrases, data):
    moved = data.draw(st.permutations(phrases))
    left, right = (
        {phrase_key(p) for p, why in zip(given, near_duplicates(given), strict=True) if not why}
        for given in (phrases, moved)
    )
    assert left == right


@given(words)
def test_a_key_is_its_own_key(phrase):
    assert phrase_key(phrase_key(phrase)) == phrase_key(phrase)
    assert phrase_key(phrase.upper()) == phrase_key(phrase.upper().lower())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Red Crowns", "a red-crown"),
        ("hoodies", "Hoodie"),
        ("ripe cherries", "ripe cherry"),
        ("two boxes", "two box"),
        ("glass dresses", "glass dress"),
        ("webbed feet", "a webbed foot"),
        ("a bird's wing", "bird wings"),
        ("wolves", "wolf"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_phrases_that_say_the_same(one, other):
    assert phrase_key(one) == phrase_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("glass", "glas"), ("iris", "iri"), ("bus", "bu"), ("3", "4"), ("+", "-")]
)
def test_phrases_that_do_not(one, other):
    assert phrase_key(one) != phrase_key(other)


def test_length_counts_letters_of_any_script():
    assert too_long(["a" * 30, "\u9ce5" * 30, "a" * 31]) == ["", "", "31 characters"]
    assert too_long(["a" * 10_000])[0] == "10000 characters"
    with pytest.raises(UserError, match="1 or more"):
        too_long(["a"], 0)


def test_pairs_of_equal_position_are_compared():
    """The released code skips class i beside phrase i: a name at its own class's place stayed."""
    rows = np.eye(3, dtype=np.float32)
    reasons = like_a_class(["p", "q", "r"], rows, ["owl", "wren", "jay"], rows)
    assert reasons == [f"1.000 like the class '{name}'" for name in ("owl", "wren", "jay")]


@given(rows=rows_of_units, classes=st.lists(st.integers(0, 19), min_size=1, max_size=5))
@settings(max_examples=30)
def test_classes_against_brute_force(rows, classes):
    names = [f"name {chr(97 + n)}" for n in range(len(classes))]
    reasons = like_a_class([f"{n}" for n in rows], UNITS[rows], names, UNITS[classes], 0.5)
    for row, why in zip(rows, reasons, strict=True):
        best = max(float(UNITS[row] @ UNITS[k]) for k in classes)
        assert bool(why) == (best >= 0.5)


def brute_force_mutual(texts, below):
    kept = []
    for row in range(len(texts)):
        if all(float(texts[row] @ texts[other]) < below for other in kept):
            kept.append(row)
    return kept


@given(
    rows=rows_of_units,
    below=st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    block=st.sampled_from([1, 2, 4, 8]),
)
@settings(max_examples=60)
def test_the_mutual_filter_is_the_sequential_one_in_any_block(rows, below, block):
    texts, phrases = UNITS[rows], [f"phrase {n}" for n in range(len(rows))]
    reasons = like_another(phrases, texts, below, block=block)
    kept = [row for row, why in enumerate(reasons) if not why]
    assert kept == brute_force_mutual(texts, below)
    for row, why in enumerate(reasons):
        if why:
            value, _, name = why.partition(" like ")
            other = phrases.index(name.strip("'"))
            assert other in kept and other < row
            assert float(value) == max(float(texts[row] @ texts[k]) for k in kept if k < row)


def test_the_mutual_filter_on_many_random_texts():
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(700, 6)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    reasons = like_another([str(n) for n in range(700)], texts, 0.9, block=128)
    assert [row for row, why in enumerate(reasons) if not why] == brute_force_mutual(texts, 0.9)
    assert 20 < sum(map(bool, reasons)) < 680


def test_a_chain_loses_every_second_text():
    """Each is too similar to the one before alone: what goes cannot take another with it."""
    angles = np.deg2rad(20 * np.arange(9))
    texts = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    reasons = like_another([f"t{n}" for n in range(9)], texts, 0.9, block=4)
    assert [n for n, why in enumerate(reasons) if not why] == [0, 2, 4, 6, 8]


def test_joined_embeddings_give_the_weighted_mean_of_cosines():
    rng = np.random.default_rng(1)
    spaces = [rng.normal(size=(5, width)) for width in (3, 7)]
    spaces = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in spaces]
    joined = join_embeddings(spaces, [3.0, 1.0])
    expected = (3 * spaces[0] @ spaces[0].T + spaces[1] @ spaces[1].T) / 4
    np.testing.assert_allclose(joined @ joined.T, expected, atol=1e-6)
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(UserError, match="weights"):
            join_embeddings(spaces, weights)


def test_centring_takes_off_what_all_share():
    rng = np.random.default_rng(2)
    shared = np.array([5.0, 0, 0, 0])
    rows = shared + rng.normal(size=(50, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    plain, moved = rows @ rows.T, centred(rows, rows.mean(axis=0))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1.0, atol=1e-6)
    assert plain.mean() > 0.8 and abs((moved @ moved.T).mean()) < 0.1
    assert not centred(rows[:1], rows[0]).any()


@pytest.mark.parametrize("top", [1, 5, 1000])
def test_top_scores_against_sorting(monkeypatch, top):
    monkeypatch.setattr("jaxcbm.concepts.filters.image._IMAGES", 32)
    monkeypatch.setattr("jaxcbm.concepts.filters.image._PHRASES", 3)
    rows, _ = images(0)
    expected = np.sort(UNITS[:8] @ rows.T, axis=1)[:, ::-1][:, :top].mean(axis=1)
    np.testing.assert_allclose(top_scores(UNITS[:8], rows, top), expected, atol=1e-6)


def test_visible_and_varying_read_the_images():
    rows, _ = images(0)
    seen = not_visible(["seen", "never"], np.eye(4)[[0, 3]], rows, 0.8)
    assert seen[0] == "" and "in the best images" in seen[1]
    flat = np.tile(np.array([[0.5, 0.5, 0.5, 0.5]], np.float32), (10, 1))
    assert not_varying(["a"], np.eye(4)[:1], flat)[0].startswith("deviates by 0.0000")
    expected = np.std(rows @ UNITS.T, axis=0)
    told = not_varying([str(n) for n in range(20)], UNITS, rows, at_least=9.0)
    shown = [float(why.split()[2]) for why in told]
    np.testing.assert_allclose(shown, expected, atol=6e-5)


def test_information_of_perfect_useless_and_half_known_scores():
    labels = np.repeat([0, 1], 500)
    rng = np.random.default_rng(0)
    perfect, useless = labels.astype(np.float64), rng.permutation(labels)
    rows = np.stack([perfect, useless, np.ones(1000)], axis=1).astype(np.float32)
    found = mutual_information(np.eye(3), rows, labels, bins=4)
    np.testing.assert_allclose(found, [np.log(2), 0.0, 0.0], atol=2e-3)


def test_information_agrees_with_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    rows, labels = images(3)
    texts, bins = UNITS[:6], 4
    found = mutual_information(texts, rows, labels, bins=bins)
    scores = np.round(rows @ texts.T, 5)
    for column, value in zip(scores.T, found, strict=True):
        edges = np.sort(column)[[len(column) * q // bins for q in range(1, bins)]]
        cut = np.searchsorted(edges, column, side="right")
        chance = (bins - 1) * (3 - 1) / (2 * len(labels))
        plain = sklearn.mutual_info_score(labels, cut)
        assert value == pytest.approx(max(plain - chance, 0.0), abs=2e-3)


def test_images_without_a_label_are_left_out():
    rows, labels = images(0)
    more = np.concatenate([rows, -rows])
    marked = np.concatenate([labels, np.full(len(labels), -1)])
    both = [mutual_information(UNITS, *pair) for pair in ((rows, labels), (more, marked))]
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: like_a_class(["a"], UNITS[:1], [], UNITS[:0]), "no class names"),
        (lambda: like_a_class(["a"], UNITS[:1], ["b"], UNITS[:1], 1.5), "a cosine of 1.5"),
        (lambda: like_another(["a"], UNITS[:1], float("nan")), "a cosine of nan"),
        (lambda: not_visible(["a"], UNITS[:1], UNITS[:0]), "no train images"),
        (lambda: not_visible(["a"], UNITS[:1], UNITS[:4], top=0), "top=1 or more"),
        (lambda: not_varying(["a"], UNITS[:1], UNITS[:4], float("nan")), "give a number"),
        (lambda: uninformative(["a"], UNITS[:1], UNITS[:4], np.zeros(4, int)), "1 classes"),
        (
            lambda: uninformative(["a"], UNITS[:1], UNITS[:4], np.arange(4), bins=1),
            "4 classes with train images and 1 bins",
        ),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
