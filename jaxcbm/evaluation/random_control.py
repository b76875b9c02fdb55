"""The random-concept control: how much accuracy needs no meaning in the phrases.

A bottleneck over as many phrases of the same length that have nothing to do with the images is
fitted like the real one, on the real ones' annotations where there are any. What it reaches is
accuracy that the concepts' meaning does not explain.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.annotations import match_phrases
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError

# No English word begins like this, so no nonsense word is an English one by accident.
_FIRST_ONSETS = ("zl", "zn", "zm", "zv", "dl", "dv", "gv", "gz", "kj", "mv", "pv", "tj", "vj", "vl")
_ONSETS = (*"bdfghklmnprstvz", "br", "dr", "fl", "gr", "kl", "pl", "st", "tr")
_VOWELS = tuple("aeiou")
_CODAS = ("", "", "", *"nlrstmk")
_TRIES = 20
# Common words that name no colour, shape, part, material, animal, plant, garment or scene.
_COMMON = """
ah as if is it me no oh so to us we ago ask ban due era may own put say try use yet act aim bid fee
law sum tax vote word idea fact rule plan loan debt duty news poem rent term year hope luck mood
pace rank risk role task test theory answer appeal belief budget career chance choice credit degree
effect effort energy excuse future habit income lesson manner market memory method moment motive
notice number office option policy praise prayer profit reason record refund remark report result
reward salary saying secret series speech status system talent thanks treaty advice agenda bonus
claim clause comma debate decade demand denial essay event guess honour index issue logic merit
minute month motto offer pause phase pledge power price proof quota quote ratio rumour scheme score
sense shift skill slogan style theme thesis title topic total trade trend trial trust truth union
value verb version visit voice wages week wish absence account address archive article average
balance bargain capital century chapter comment company concept concern council culture deadline
decision delivery deposit dialogue difference discount division economy election emphasis estimate
exchange exercise expense formula freedom fortune grammar heritage history increase industry
interest interval justice language lecture majority meaning message mistake monopoly narrative
objective occasion opinion outcome payment percent permission philosophy platform pleasure politics
position practice presence principle priority privilege procedure proposal protocol purchase quarter
question reaction reform relation reminder research resource revenue sentence session settlement
signature solution strategy subject summary sympathy tendency tradition transfer translation
treatment vacation variable verdict warranty yesterday tomorrow almost already always because before
between during either enough hardly instead maybe mostly neither never nobody often perhaps quite
rather seldom since somehow soon still therefore though together twice unless until usually whether
while accept admit agree allow apply argue arrange assume avoid become begin borrow cancel choose
compare complain decide deny depend describe discuss earn elect explain forget forgive guarantee
happen imagine inform intend invest involve lend manage mention negotiate obey order owe participate
persuade postpone predict prefer pretend promise pronounce prove publish quarrel realize refuse
regret reject rely remember repeat replace require resign respond retire revise select solve speak
spend study suggest suppose teach tell thank think translate understand wonder worry
"""
_WORDS = tuple(_COMMON.split())


def random_concepts(like: ConceptSet, *, kind: str = "nonsense", seed: int = 0) -> ConceptSet:
    """As many phrases without meaning for the images, each as long as the real one.

    Args:
        like: the real concept set.
        kind: `nonsense`: pronounceable words that are not English; `words`: common words that name
            nothing one can see.
        seed: another seed, other phrases.

    Returns:
        D phrases; phrase d has as many words as phrase d of `like`, of about as many letters. None
        of its words occurs in `like`.

    Raises:
        UserError: an unknown kind.

    Reference: Srivastava et al. 2024 (arXiv 2408.01432) for random concepts as control.

    >>> random_concepts(ConceptSet.from_phrases(["red crown", "hooked bill"])).phrases
    ('...', '...')
    """
    if kind not in KINDS:
        raise UserError(f"no kind of random concepts {kind!r}: choose one of {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    taken = frozenset(word.casefold() for phrase in like.phrases for word in phrase.split())
    phrases: list[str] = []
    seen: set[str] = set()
    for phrase in like.phrases:
        lengths = [len(word) for word in phrase.split()]
        for attempt in itertools.count(1):
            drawn = " ".join(KINDS[kind](rng, length, taken) for length in lengths)
            if drawn not in seen and taken.isdisjoint(drawn.split()):
                break
            # More phrases of this length than words for them: one word more must do.
            lengths += [4] if attempt % _TRIES == 0 else []
        seen.add(drawn)
        phrases.append(drawn)
    provenance = {"source": f"random {kind}", "seed": seed, "as_long_as": like.content_hash}
    return ConceptSet.from_phrases(phrases, provenance)


def deal_annotations(
    features: Features, phrases: Sequence[str], random_phrases: Sequence[str], seed: int
) -> Features:
    """The annotations of real phrases under the names of random ones.

    Args:
        features: their annotations may be None: then they stay as they are.
        phrases: D real ones; those that no annotation speaks of deal nothing.
        random_phrases: D of them.
        seed: which phrase is dealt whose annotation; the same for all splits.

    Returns:
        The same images; every annotation of a real phrase is now one of some random phrase, so that
        a fit finds as many positives. Other annotations are left out.

    >>> features = Features.from_arrays(np.eye(2), [0, 1], ["owl", "wren"],
    ...     annotations=np.array([[1.0, 0.0], [0.0, 0.0]]), annotation_phrases=["ear", "fin"])
    >>> deal_annotations(features, ["an ear", "a tail"], ["zlo na", "zno ki"], 0).annotations
    array([[1.],
           [0.]], dtype=float32)
    """
    if features.annotations is None:
        return features
    order_D = np.random.default_rng(seed).permutation(len(phrases))
    columns_D = match_phrases(phrases, features.annotation_phrases)[order_D]
    dealt = np.flatnonzero(columns_D >= 0)
    return replace(
        features,
        annotations=features.annotations[:, columns_D[dealt]],
        annotation_phrases=tuple(random_phrases[d] for d in dealt.tolist()),
    )


def unexplained_accuracy(top1: float, random_top1: float, chance: float) -> float:
    """The part of the accuracy above chance that needs no meaning, as random phrases reach it too.

    0 to 1; above 1 where random concepts do better than the real ones, below 0 where they do worse
    than chance, NaN where the model is no better than chance.

    >>> unexplained_accuracy(0.7, 0.4, chance=0.1)
    0.5
    """
    above = top1 - chance
    return round((random_top1 - chance) / above, 12) if above > 0 else float("nan")


def _nonsense_word(rng: np.random.Generator, length: int, taken: frozenset[str]) -> str:
    """Syllables until the length is reached, cut to it; two letters at least."""
    word = ""
    while len(word) < length:
        onsets = _ONSETS if word else _FIRST_ONSETS
        word += "".join(part[rng.integers(len(part))] for part in (onsets, _VOWELS, _CODAS))
    return word[: max(length, 2)]


def _common_word(rng: np.random.Generator, length: int, taken: frozenset[str]) -> str:
    near = _common_words_of(length, taken)
    return near[rng.integers(len(near))]


@functools.cache
def _common_words_of(length: int, taken: frozenset[str]) -> list[str]:
    """The words whose length is nearest, a dozen of them at least."""
    free = [word for word in _WORDS if word not in taken]
    distances = np.abs(np.array([len(word) for word in free]) - length)
    farthest = np.sort(distances)[min(11, len(free) - 1)]
    return [word for word, distance in zip(free, distances, strict=True) if distance <= farthest]


KINDS: dict[str, Callable[[np.random.Generator, int, frozenset[str]], str]] = {
    "nonsense": _nonsense_word,
    "words": _common_word,
}
