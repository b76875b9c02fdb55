"""Phrases find the annotation that says the same; a set of which too few do is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.data.annotations import check_coverage, match_phrases
from jaxcbm.errors import UserError

ANNOTATIONS = ("blue wing", "curved bill", "bill longer than head", "owl-like bird")


@pytest.mark.parametrize(
    ("phrase", "column"),
    [
        ("Blue  WING", 0),
        ("has blue wings", 0),
        ("it has a blue wing", 0),
        ("with curved bill", 1),
        ("the bill longer than the head", 2),
        ("an owl like bird", 3),
        ("head longer than bill", -1),
        ("blue", -1),
        ("with", -1),
    ],
)
def test_wording_does_not_matter_and_meaning_does(phrase, column):
    assert match_phrases([phrase], ANNOTATIONS).tolist() == [column]


@given(st.permutations(range(4)), st.sampled_from(["a ", "The ", "has ", "with an "]))
def test_matches_follow_the_order_of_both(order, before):
    phrases = [before + ANNOTATIONS[i] for i in order]
    assert match_phrases(phrases, ANNOTATIONS).tolist() == list(order)


def test_half_is_enough_and_less_is_refused_by_name():
    check_coverage(["a blue wing", "curved bills", "snow", "rain"], ANNOTATIONS)
    given = ["a blue wing", "curved bills", "a blue wing bar", "zzz", "rain"]
    with pytest.raises(UserError) as caught:
        check_coverage(given, ANNOTATIONS)
    message = str(caught.value)
    assert message.startswith("only 2 of 5 phrases have an annotation")
    assert "'a blue wing bar' (closest: 'blue wing'); 'zzz' (nothing close); 'rain' (" in message
    assert "\n" not in message
    assert "--config.bottleneck.positives=scores" in message
