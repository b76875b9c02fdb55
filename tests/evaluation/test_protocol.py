"""Splits are honest, stratified and the same everywhere; overlaps are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.errors import UserError
from jaxcbm.evaluation.protocol import check_overlap, pooled_split, stratified_split

LABELS = st.lists(st.integers(-1, 6), min_size=1, max_size=120).map(np.array)
FRACTIONS = st.floats(0, 0.99)


@given(LABELS, FRACTIONS, st.integers(0, 2**32))
def test_the_parts_are_a_stratified_partition(labels, fraction, seed):
    train, valid = stratified_split(labels, fraction, seed)
    assert train.dtype == valid.dtype == np.int64
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(len(labels)))
    assert (np.diff(train) > 0).all() and (np.diff(valid) > 0).all()
    assert set(labels[train]) == set(labels), "a class has no training image"
    for label in np.unique(labels):
        share = fraction * (labels == label).sum()
        held = (labels[valid] == label).sum()
        assert held < share + 1 and (held > share - 1 or held == (labels == label).sum() - 1)


@given(st.lists(st.integers(2, 30), min_size=1, max_size=8), st.floats(0, 0.5), st.integers(0, 9))
def test_the_whole_has_the_size_that_was_asked_for(sizes, fraction, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    _, valid = stratified_split(labels, fraction, seed)
    assert len(valid) == round(fraction * len(labels))


@given(LABELS, FRACTIONS)
def test_the_seed_decides(labels, fraction):
    first = stratified_split(labels, fraction, 3)
    again = stratified_split(labels.astype(np.int32), fraction, 3)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_gives_another_split():
    labels = np.repeat(np.arange(10), 50)
    parts = [stratified_split(labels, 0.2, seed)[1] for seed in range(20)]
    assert len({part.tobytes() for part in parts}) == 20
    # Every image has its turn: 20 draws of a fifth leave one out with probability 0.8 ** 20.
    assert len(np.unique(np.concatenate(parts))) > 480


def test_the_split_is_the_same_on_every_machine_and_numpy_version():
    _, valid = stratified_split(np.arange(40) % 3, 0.25, seed=7)
    assert valid.tolist() == GOLDEN_VALID, (
        "the split of a given seed has moved: results are no longer comparable with those that "
        "were published before. If that is wanted, say so in the release notes and store this."
    )
    train, _, test = pooled_split(20, seed=7)
    assert [train[:4].tolist(), test.tolist()] == GOLDEN_RELEASED


GOLDEN_VALID = [4, 6, 21, 23, 24, 31, 32, 35, 37, 39]
GOLDEN_RELEASED = [[6, 3, 12, 11], [2, 16]]


@given(LABELS, FRACTIONS, st.data())
def test_copies_of_one_image_stay_together_in_train(labels, fraction, data):
    content = data.draw(st.lists(st.integers(0, 40), min_size=len(labels), max_size=len(labels)))
    digests = np.zeros((len(labels), 32), np.uint8)
    digests[:, 0] = content
    train, valid = stratified_split(labels, fraction, 0, digests=digests)
    check_overlap(train=digests[train], valid=digests[valid])
    assert len(train) + len(valid) == len(labels) and set(labels[train]) == set(labels)


def test_a_class_with_one_image_goes_to_train_and_is_told(caplog):
    train, valid = stratified_split(np.array([0] * 10 + [1]), 0.5, 0)
    assert 10 in train and len(valid) == 5
    assert "1 of 2 classes have a single image" in caplog.text


def test_one_large_class_does_not_pay_for_many_small_ones():
    labels = np.concatenate([np.arange(90), np.full(10, 90)])
    assert len(stratified_split(labels, 0.1, 0)[1]) == 1


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2, float("nan")])
def test_a_fraction_outside_its_range(fraction):
    with pytest.raises(UserError, match="validation fraction must be"):
        stratified_split(np.zeros(4, int), fraction, 0)


@given(st.integers(0, 200), st.integers(0, 5))
def test_pooled_split_has_the_released_sizes(n, seed):
    train, valid, test = pooled_split(n, seed)
    sizes = (int(0.8 * n), int(0.9 * n) - int(0.8 * n), n - int(0.9 * n))
    assert (len(train), len(valid), len(test)) == sizes
    for part in (train, valid, test):
        assert len(set(part.tolist())) == len(part) and set(part) <= set(range(n))


def test_pooled_split_leaks_as_the_released_code_does():
    train, valid, test = pooled_split(11_788, seed=0)
    assert np.isin(test, train).mean() == pytest.approx(0.8, abs=0.03)
    assert np.isin(valid, train).mean() == pytest.approx(0.8, abs=0.03)


def digests(*contents: int) -> np.ndarray:
    rows = np.zeros((len(contents), 32), np.uint8)
    rows[:, 31] = contents
    return rows


def test_overlap_names_how_many_and_the_first_few():
    with pytest.raises(UserError, match=r"4 of 5 test images are also in train \((.*), \.\.\.\)"):
        check_overlap(train=digests(9, 1, 2, 3, 4), valid=digests(7), test=digests(4, 8, 3, 2, 1))
    with pytest.raises(UserError, match=r"1 of 1 test images is also in valid \(test\[0\] = valid"):
        check_overlap(train=digests(1), valid=digests(7), test=digests(7))
    with pytest.raises(UserError, match=r"\(test\[0\] = train\[4\], test\[2\] = train\[3\], test"):
        check_overlap(train=digests(9, 1, 2, 3, 4), test=digests(4, 8, 3, 2, 1))


def test_repeats_within_a_split_are_told_and_not_fatal(caplog):
    check_overlap(train=digests(1, 1, 1, 2), valid=digests(3), test=digests())
    assert "train holds 2 images more than once" in caplog.text


def test_the_honest_split_passes_and_the_released_one_does_not():
    rows = digests(*range(200))
    train, valid = stratified_split(np.arange(200) % 4, 0.2, 0)
    check_overlap(train=rows[train], valid=rows[valid])
    train, valid, test = pooled_split(200, 0)
    with pytest.raises(UserError, match="also in train"):
        check_overlap(train=rows[train], valid=rows[valid], test=rows[test])
