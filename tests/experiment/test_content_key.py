"""Finished work is found by everything that it came from, and by nothing else."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from jaxcbm.code_version import this_code
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.experiment import content_key


def key_of(encoder="encoder", phrases=("beak", "tail"), facts=None, parts=3, **changes) -> str:
    given: dict[str, Any] = {
        "labels": np.array([0, 1, 0, 1, 0, 1]),
        "classes": ["owl", "wren"],
        "annotations": np.eye(6, 2),
        "annotation_phrases": ("beak", "tail"),
        **changes,
    }
    part = Features.from_arrays(np.eye(4, dtype=np.float32)[np.arange(6) % 4], **given)
    known: Any = SimpleNamespace(content_hash=encoder)
    return content_key.content_key(known, ConceptSet.from_phrases(phrases), [part] * parts, facts)


def test_work_is_found_by_data_labels_annotations_phrases_and_code(monkeypatch):
    changed: tuple[dict[str, Any], ...] = (
        {},
        {"labels": np.array([0, 1, 0, 1, 0, 0])},
        {"classes": ["owl", "tern"]},
        {"annotations": np.eye(6, 2)[::-1]},
        {"annotation_phrases": ("beak", "crest")},
        {"annotations": None, "annotation_phrases": ()},
        {"encoder": "another"},
        {"phrases": ("beak", "crest")},
        {"facts": {"training.seed": 1}},
        {"parts": 2},
    )
    keys = [key_of(**changes) for changes in changed]
    assert len(set(keys)) == len(keys)
    assert key_of() == keys[0]
    # Another commit of the same modules finds it, other modules do not.
    now = this_code()
    other = replace(now, commit="f" * 40, dirty=True)
    monkeypatch.setattr(content_key, "this_code", lambda: other)
    assert key_of() == keys[0]
    monkeypatch.setattr(content_key, "this_code", lambda: replace(now, source="0" * 16))
    assert key_of() not in keys
