"""Answers on the disk: whole or absent, under exactly their request."""

import json
import os
import threading

import pytest

from jaxcbm.concepts.sources.cache import AnswerCache
from jaxcbm.errors import UserError


def files(folder) -> list:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_answer_belongs_to_its_request(tmp_path):
    cache = AnswerCache(tmp_path / "cache")
    assert cache.find({"a": 1}) is None and not (tmp_path / "cache").exists()
    cache.keep({"a": 1, "b": ["é鳥", None]}, {"text": "x"})
    assert cache.find({"b": ["é鳥", None], "a": 1}) == {"text": "x"}
    assert cache.find({"a": 1}) is None
    assert AnswerCache(tmp_path / "cache").find({"a": 1, "b": ["é鳥", None]}) == {"text": "x"}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"3", b'{"request": {"a": 2}}'])
def test_a_broken_entry_counts_as_none_and_is_replaced(tmp_path, content):
    cache = AnswerCache(tmp_path)
    cache.keep({"a": 1}, "whole")
    (path,) = files(tmp_path)
    path.write_bytes(content)
    assert cache.find({"a": 1}) is None
    cache.keep({"a": 1}, "again")
    assert cache.find({"a": 1}) == "again"


def test_half_a_surrogate_does_not_stop_it(tmp_path):
    AnswerCache(tmp_path).keep({"a": 1}, "\ud800")
    (path,) = files(tmp_path)
    json.loads(path.read_bytes())


def test_threads_share_a_folder(tmp_path):
    cache = AnswerCache(tmp_path)
    threads = [
        threading.Thread(target=lambda n=n: [cache.keep({"k": k}, k) for k in range(n % 3, 10)])
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [cache.find({"k": k}) for k in range(10)] == list(range(10))
    assert len(files(tmp_path)) == 10


@pytest.mark.skipif(os.name != "posix", reason="a file where a folder should be")
def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match="cache"):
        AnswerCache(tmp_path / "cache").keep({"a": 1}, 1)
    with pytest.raises(UserError, match="cannot read the cache"):
        AnswerCache(tmp_path / "cache").find({"a": 1})
