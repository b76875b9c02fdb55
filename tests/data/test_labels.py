"""Labels by position and by name mean the same, and a wrong one is told by its row."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.data.labels import class_names, label_ids
from jaxcbm.errors import UserError

CLASSES = ("owl", "wren", "kite")


@given(st.lists(st.integers(-1, 2), max_size=20))
def test_every_form_of_a_label_is_the_same(ids):
    want = np.array(ids, np.int32)
    names = [None if k < 0 else CLASSES[k] for k in ids]
    mixed = [k if n % 2 else name for n, (k, name) in enumerate(zip(ids, names, strict=True))]
    forms = [ids, names, mixed, want.astype(np.int64), want.astype(np.float32), jnp.asarray(want)]
    for labels in forms:
        found, classes = label_ids(labels, CLASSES, len(ids))
        assert found.dtype == np.int32 and classes == CLASSES
        np.testing.assert_array_equal(found, want)


@given(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=9))
def test_names_alone_give_the_classes_in_alphabetical_order(names):
    found, classes = label_ids(names, None, len(names))
    assert list(classes) == sorted(set(names))
    assert [classes[k] for k in found] == names


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=9),
    st.data(),
    st.sampled_from([3, -2, 0.5, float("nan"), float("inf"), "gull", b"owl", (1,)]),
)
def test_the_first_wrong_row_is_named(ids, data, wrong):
    row = data.draw(st.integers(0, len(ids) - 1))
    labels: list = list(ids)
    labels[row] = wrong
    forms = [labels] if isinstance(wrong, str | bytes | tuple) else [labels, np.array(labels)]
    for form in forms:
        with pytest.raises(UserError, match=rf"^labels\[{row}\] is ") as caught:
            label_ids(form, CLASSES, len(ids))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ([0, 1], CLASSES, "2 labels for 3 images"),
        (np.eye(3), CLASSES, r"labels of shape \[3, 3\]"),
        ("owl", CLASSES, "labels='owl': give one label an image"),
        (7, CLASSES, "labels=7: give one label an image"),
        ([0, 1, 2], None, r"give classes=\["),
        ([0, 1, 2], "owl", "one text"),
        ([0, 1, 2], ["owl", 7, "kite"], r"classes\[1\] is 7"),
    ],
)
def test_other_mistakes_are_one_line(labels, classes, said):
    with pytest.raises(UserError, match=said) as caught:
        label_ids(labels, classes, 3)
    assert "\n" not in str(caught.value)


def test_names_may_come_as_any_sequence():
    assert class_names(["a", "b"]) == class_names(("a", "b")) == ("a", "b")
