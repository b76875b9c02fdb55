"""The large store's benchmark at toy size: its own checks hold, and the page says what it found."""

import json

import pytest

from benchmarks.large_store import QUICK, check, measure
from benchmarks.large_store_page import render


@pytest.mark.slow
def test_all_stages_at_toy_size(tmp_path):
    result = measure(tmp_path, QUICK, quick=True)
    assert [stage["rows"] for stage in result["stages"][:3]] == [QUICK["images"]] * 3
    assert not (tmp_path / "large_store").exists()
    page = render(json.loads(json.dumps(result)))
    assert "A smoke test" in page and f"{result['stages'][0]['checksum']:016x}" in page
    result["stages"][1]["checksum"] += 1
    with pytest.raises(AssertionError, match="not what was written"):
        check(result["stages"], quick=True)
