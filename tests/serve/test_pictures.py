"""Bodies of any kind are pictures with their names, or refused in a line."""

import base64
import contextlib
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.errors import UserError
from jaxcbm.serve.limits import Refusal
from jaxcbm.serve.pictures import InterveneBody, read_object, read_pictures

FORM = "multipart/form-data; boundary=XX"


def form(*files: tuple[str, bytes]) -> tuple[str, bytes]:
    """A form as a client writes it."""
    request = httpx.Request("POST", "http://a/", files=[("image", file) for file in files])
    return request.headers["content-type"], request.read()


def as_json(*files: tuple[str, bytes]) -> tuple[str, bytes]:
    images = [{"name": name, "data": base64.b64encode(data).decode()} for name, data in files]
    return "application/json", json.dumps({"images": images}).encode()


# Of these clients escape some, and not all alike.
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'),
    min_size=1,
    max_size=100,
)


@given(files=st.lists(st.tuples(NAMES, st.binary(max_size=500)), min_size=1, max_size=5))
def test_forms_and_json_give_back_what_was_put_in(files):
    for kind, body in (form(*files), as_json(*files)):
        assert read_pictures(kind, body, "", most=5) == files
        with pytest.raises(Refusal, match="more than") as told:
            read_pictures(kind, body, "", most=len(files) - 1)
        assert told.value.status == 413


def test_a_body_that_is_a_picture_has_a_name_too():
    assert read_pictures("image/png", b"x", "a.png", 1) == [("a.png", b"x")]
    assert read_pictures("image/png", b"x", "", 1) == [("picture 1", b"x")]
    assert read_pictures("image/png", b"x", "a" * 500, 1)[0].name == "a" * 200


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("image/png", b"", "no picture"),
        ("application/json", b"", "no JSON"),
        ("application/json", b"\xff", "no JSON"),
        ("application/json", b"[" * 90_000, "no JSON .RecursionError"),
        ("application/json", b"[" * 200_000, "too many values"),
        ("application/json", b"[" + b"{}," * 90_000 + b"{}]", "too many values"),
        ("application/json", b"1" * 5_000, "no JSON .ValueError"),
        ("application/json", b"NaN", "must be an object"),
        ("application/json", b"{}", "images is missing"),
        ("application/json", b'{"images": []}', "no picture"),
        ("application/json", b'{"images": [{"data": 1}]}', r"images\[0\].data must be a text"),
        ("application/json", b'{"images": [{"data": "?"}]}', "picture 1: data is no base64"),
        ("application/json", '{"images": [{"data": "é"}]}'.encode(), "no base64"),
        ("application/json", b'{"images": [{"data": "", "path": "/etc/passwd"}]}', "is unknown"),
        ("multipart/form-data", b"x", "no boundary"),
        (f"multipart/form-data; boundary={'x' * 999}", b"x", "cannot be read"),
        (FORM, b"", "middle of a part"),
        (FORM, b"hello", "cannot be read"),
        (FORM, form(("a", b"x"))[1], "cannot be read"),
        (FORM, b"--XX\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\nx", "middle"),
        (FORM, b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--XX--", "part 1"),
        (FORM, b"--XX\r\n\r\nx\r\n--XX--", "part 1 of the form is no file"),
        (FORM, b"--XX\r\n" + b"a: b\r\n" * 10_000 + b"\r\nx\r\n--XX--", "cannot be read"),
    ],
    ids=range(23),
)
def test_what_is_no_such_body_is_refused_in_a_line(kind, body, reason):
    with pytest.raises(UserError, match=reason) as told:
        read_pictures(kind, body, "", 100)
    assert "\n" not in str(told.value) and len(str(told.value)) < 300


@given(body=st.binary(max_size=300), kind=st.sampled_from([FORM, "application/json"]))
def test_nothing_else_comes_of_any_bytes(body, kind):
    for given_body in (body, b"--XX\r\n" + body + b"\r\n--XX--"):
        with contextlib.suppress(UserError, Refusal):
            assert read_pictures(kind, given_body, "", 100)


@given(damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
def test_a_damaged_form_is_read_or_refused(damage):
    kind, body = form(("a.png", b"x" * 50), ("b.png", b"y" * 50))
    changed = bytearray(body)
    for place, value in damage:
        changed[place % len(changed)] = value
    with contextlib.suppress(UserError, Refusal):
        assert read_pictures(kind, bytes(changed), "", 100)


def test_a_name_that_no_text_can_hold_becomes_one():
    body = b'{"images": [{"data": "", "name": "\\ud800"}]}'
    assert read_pictures("application/json", body, "", 1)[0].name == "?"


def test_corrections_have_types():
    good = b'{"image": {"data": ""}, "activations": {"a": 1}, "presence": {"b": false}}'
    found = read_object(InterveneBody, good)
    assert found.activations == {"a": 1.0} and found.presence == {"b": False}
    for wrong in (b'{"a": true}', b'{"a": "1"}', b"[1]", b'{"a": 1e999}'):
        with pytest.raises(UserError, match="activations"):
            read_object(InterveneBody, good.replace(b'{"a": 1}', wrong))
