"""Which annotation says what a concept phrase says, and whether enough phrases have one."""

import difflib
import functools
from collections.abc import Sequence

import numpy as np

from jaxcbm.data.phrase_key import phrase_key
from jaxcbm.errors import UserError

# As a concept set: the phrases that the data's images are annotated with.
ANNOTATIONS = "annotations"
# Phrases without an annotation that an error names.
_NAMED = 3


def match_phrases(concepts: Sequence[str], annotations: Sequence[str]) -> np.ndarray:
    """For each concept phrase, the index of the annotation that says the same, or -1; int32 [D].

    Two texts say the same where their `phrase_key` is the same: case, blanks, articles, hyphens,
    number and a leading "has" or "with" do not matter, the order of words does. Of annotations that
    say the same the first counts.

    >>> match_phrases(["has a Red-Crown", "long tail"], ["a beak", "red crowns"]).tolist()
    [1, -1]
    """
    return _matches(tuple(concepts), tuple(annotations)).copy()


def check_coverage(concepts: Sequence[str], annotations: Sequence[str]) -> None:
    """Refuse to train by annotations where fewer than half of the phrases have one.

    Raises:
        UserError: it says how many have one, and the closest annotation to a few that have none.

    >>> check_coverage(["red crown", "some other thing"], ["a red crown"])
    """
    columns_D = match_phrases(concepts, annotations)
    known = int((columns_D >= 0).sum())
    if 2 * known >= len(concepts):
        return
    lost = [phrase for phrase, column in zip(concepts, columns_D, strict=True) if column < 0]
    named = "; ".join(f"{phrase!r} ({_closest(phrase, annotations)})" for phrase in lost[:_NAMED])
    raise UserError(
        f"only {known} of {len(concepts)} phrases have an annotation of the train images, fewer "
        f"than half; without one: {named}{'; ...' if len(lost) > _NAMED else ''}: choose another "
        f"concept set (--config.concepts={ANNOTATIONS}: the annotations' own phrases) or train "
        "without annotations (--config.bottleneck.positives=scores)"
    )


@functools.lru_cache(maxsize=8)  # a stream asks for every batch
def _matches(concepts: tuple[str, ...], annotations: tuple[str, ...]) -> np.ndarray:
    where = {phrase_key(phrase): i for i, phrase in reversed(list(enumerate(annotations)))}
    return np.array([where.get(phrase_key(phrase), -1) for phrase in concepts], np.int32)


def _closest(phrase: str, annotations: Sequence[str]) -> str:
    keys = [phrase_key(annotation) for annotation in annotations]
    found = difflib.get_close_matches(phrase_key(phrase), keys, n=1, cutoff=0.5)
    return f"closest: {annotations[keys.index(found[0])]!r}" if found else "nothing close"
