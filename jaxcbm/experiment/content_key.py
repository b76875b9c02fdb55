"""What finished work is known by: it is done again where anything differs that it came from."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from jaxcbm.code_version import this_code
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.encoders.dual_encoder import DualEncoder


def content_key(
    encoder: DualEncoder, concepts: ConceptSet, parts: Iterable[Features], facts: Any = None
) -> str:
    """A hash of all that results depend on besides a method and its seed, 16 hex digits.

    The code is known by its modules and not by its commit: text may change without a fit anew.

    Args:
        encoder: what embedded images and texts.
        concepts: the phrases.
        parts: the splits that are read; their labels and annotations count.
        facts: what else there is, as JSON: the settings, say.
    """
    known = [
        this_code().source,
        encoder.content_hash,
        concepts.content_hash,
        [_content(part) for part in parts],
        facts,
    ]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def _content(part: Features) -> list[Any]:
    """What a method sees of a split; its key says nothing of labels and annotations."""
    known = part.annotations
    return [
        part.key,
        part.classes,
        hashlib.sha256(part.labels.tobytes()).hexdigest(),
        part.annotation_phrases,
        None if known is None else hashlib.sha256(known.tobytes()).hexdigest(),
    ]
