"""The page around a payload: what it allows, and that data stays data."""

import base64
import hashlib
import json
import re

import pytest

from jaxcbm.explore.page import page


def test_the_policy_allows_this_style_and_this_script_and_the_data_is_whole():
    payload = {"title": "<b>&\"'", "names": ["</script><!--", "é\u2028"]}
    text = page(payload)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    allowed = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert allowed["default-src"] == "'none'" and allowed["img-src"] == "data:"
    for tag, rule in (("style", "style-src"), ('script type="module"', "script-src")):
        inside = re.search(rf"<{tag}>(.*?)</{tag.split()[0]}>", text, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert allowed[rule] == f"'sha256-{digest}'"
    data = re.search(r'id="explorer-payload">(.*?)</script>', text, re.S)[1]
    assert json.loads(data) == payload and "<" not in data
    assert "<title>&lt;b&gt;" in text
    assert not re.search(r'(?:src|href)="(?!#|data:)', text.split("<style>")[0])


def test_a_number_that_json_has_not_is_refused():
    with pytest.raises(ValueError):
        page({"title": "", "x": float("nan")})
