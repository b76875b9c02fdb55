import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from synthetic_result import OURS, synthetic_result

from jaxcbm.errors import UserError
from jaxcbm.evaluation.results.file import read_result, write_result
from jaxcbm.evaluation.results.parts import best_and_worst, explained_image
from jaxcbm.model.explanation import Contribution, Explanation
from jaxcbm.typed_json import from_json, to_json


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    file = tmp_path_factory.mktemp("results") / "birds.json"
    write_result(file, synthetic_result())
    return file


def test_a_result_survives_the_file(written):
    assert read_result(written) == synthetic_result()
    assert [path.name for path in written.parent.iterdir()] == ["birds.json"]


def test_what_is_not_a_number_is_null_in_the_file_and_nan_in_memory(tmp_path):
    result = synthetic_result()
    row = dataclasses.replace(result.rows[0], metrics={"top1": (0.5, math.nan, math.inf, 0.1, 0.2)})
    write_result(tmp_path / "a.json", dataclasses.replace(result, rows=(row, *result.rows[1:])))
    text = (tmp_path / "a.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    values = read_result(tmp_path / "a.json").rows[0].metrics["top1"]
    assert np.isnan(values[1:3]).all() and values[0] == 0.5


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_half_written_file_is_one_clear_line(written, tmp_path, share):
    text = written.read_text().rstrip()
    (tmp_path / "half.json").write_text(text[: int(share * len(text))])
    with pytest.raises(UserError, match=r"half\.json: not whole JSON.*again$") as caught:
        read_result(tmp_path / "half.json")
    assert "\n" not in str(caught.value)


def changed(value, place, new):
    """A copy of parsed JSON with one value replaced, or removed where `new` is `...`."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    if new is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = new
    return copy


@pytest.mark.parametrize(
    "place,new,words",
    [
        (("format",), ..., "not a result file"),
        (("version",), 2, "version 2"),
        (("dataset",), ..., "dataset is missing"),
        (("dataset",), 3, "dataset must be a text, not 3"),
        (("protocol",), "honest", "protocol must be 'official' or 'released'"),
        (("images", "test"), 1.5, "images.test must be a whole number"),
        (("images", "test"), True, "images.test must be a whole number"),
        (("seeds",), [], "seeds must not be empty"),
        (("rows",), [], "rows must not be empty"),
        (("rows", 0, "nmae"), "x", "rows[0].nmae is unknown"),
        (("rows", 1, "name"), OURS, "rows[1].name"),
        (("rows", 2, "sparse"), 1, "rows[2].sparse must be true or false"),
        (("rows", 0, "metrics", "top1"), [0.5, 0.5], "has 2 values for 5 seeds"),
        (("rows", 0, "metrics", "top1", 3), "0.5", "rows[0].metrics['top1'][3] must be a number"),
        (("rows", 0, "metrics"), [], "rows[0].metrics must be an object"),
        (("rows", 0, "seconds"), [1.0, 2.0], "rows[0].seconds has 2 values"),
        (("rows", 0, "nec_curve", "targets"), [5, 10], "accuracies[0] has 6 values for 2 points"),
        (("reliability", 1, "counts"), [1], "reliability[1] has lists of different lengths"),
        (("interventions", 0, "accuracies"), [], "interventions[0].accuracies has 0 values"),
        (("interventions", 0, "row"), "nobody", "interventions[0].row 'nobody'"),
        (("class_weights", "row"), "nobody", "class_weights.row 'nobody'"),
        (("explanations", "images", 0, "picture"), "AAAA", "images[0].picture is not a PNG"),
        (("explanations", "images", 0, "picture"), "'><script>", "images[0].picture is not a PNG"),
        (("explanations", "images", 0, "group"), "good", "'best' or 'worst'"),
    ],
)
def test_every_mistake_is_named_with_its_place(written, tmp_path, place, new, words):
    broken = changed(json.loads(written.read_text()), place, new)
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    with pytest.raises(UserError) as caught:
        read_result(tmp_path / "broken.json")
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "broken.json")) and words in message
    assert "\n" not in message and len(message) < 300


@pytest.mark.parametrize("text", ["[]", "null", "3", '{"rows": []}', "[" * 100_000, "\ufeff{}"])
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "other.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.json: not "):
        read_result(tmp_path / "other.json")


def test_no_file_no_text_and_a_folder(tmp_path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name, words in (("none.json", "No such file"), ("binary.json", "not whole"), ("", "read")):
        with pytest.raises(UserError, match=words):
            read_result(tmp_path / name)


def test_the_writer_refuses_what_the_reader_would(tmp_path):
    result = synthetic_result()
    with pytest.raises(UserError, match="has 5 values for 2 seeds"):
        write_result(tmp_path / "a.json", dataclasses.replace(result, seeds=(0, 1)))
    assert not list(tmp_path.iterdir())


@dataclasses.dataclass(frozen=True)
class Anything:
    text: str
    numbers: tuple[float, ...]
    named: dict[str, tuple[int, ...]]
    maybe: float | None = None


@given(
    st.builds(
        Anything,
        st.text(),
        st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
        st.dictionaries(st.text(), st.lists(st.integers()).map(tuple)),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_any_dataclass_comes_back_from_json(value):
    assert from_json(Anything, json.loads(json.dumps(to_json(value))), "file") == value


def test_a_number_too_large_for_a_float_is_no_number():
    value = {"text": "", "numbers": [10**400], "named": {}}
    assert math.isnan(from_json(Anything, value, "file", null_is_nan=True).numbers[0])


def test_best_and_worst_order_by_margin():
    logits = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 0.5]])
    assert best_and_worst(logits, np.zeros(4, int), 2) == ([1, 0], [2, 3])


def test_an_explanation_keeps_its_sum_and_says_what_is_absent(tmp_path):
    parts = (
        Contribution("crown", 2.0, 1.0, 2.0, 0.3, present=True),
        Contribution("bill", 0.5, -1.0, -0.5, 0.1, present=False),
    )
    image = Image.new("RGB", (300, 200), "red")
    explanation = Explanation(image, "finch", "finch", 0.9, parts, -0.25, ())
    explained = explained_image(explanation, "worst", "wren")
    assert [c.label for c in explained.contributions] == ["crown", "no bill"]
    assert sum(c.value for c in explained.contributions) + explained.rest == explanation.logit
    assert (explained.true, explained.predicted) == ("wren", "finch")
