"""The words for a reason: whether a concept is there, what it adds, and how likely it is there."""

import math
import re

from jaxcbm.pages import signed

REST = "class bias and all others"
REST_MEANING = f"“{REST}”: where the class starts from, and the sum of all concepts not shown."

_ARTICLE = re.compile(r"^((?:has|have|with) )?(?:(?:an?|the|some) )?", re.IGNORECASE)
_LATER_ARTICLE = re.compile(r"\b(or|nor) (?:an?|the|some) ", re.IGNORECASE)
# Where "no" cannot stand: before what is denied already, before quantities, and before what says
# how or where something is.
_NO_NOUN = re.compile(
    r"^((has|have|with) )?(no|not|without|a few|a lot|a couple|a number|many|several|few|much|more|"
    r"most|all|both|only|two|three|four|five|six|seven|eight|nine|ten|\d+|very|made|is|are|in|on|at|"
    r"of|under|over|near|behind) ",
    re.IGNORECASE,
)


def said(phrase: str, present: bool) -> str:
    """A concept as it is there, or as it is not: with "no" where that can stand, else "not:".

    >>> said("a waistband", True), said("a waistband", False), said("has an orange bill", False)
    ('a waistband', 'no waistband', 'has no orange bill')
    >>> said("red legs", False), said("a flap or a clasp", False)
    ('no red legs', 'no flap or clasp')
    >>> said("no collar", False), said("many windows", False), said("made of wood", False)
    ('not: no collar', 'not: many windows', 'not: made of wood')
    """
    if present:
        return phrase
    if _NO_NOUN.match(phrase):
        return f"not: {phrase}"
    return _LATER_ARTICLE.sub(r"\1 ", _ARTICLE.sub(lambda found: f"{found[1] or ''}no ", phrase))


def chance(probability: float, percentile: float = math.nan) -> str:
    """How likely a concept is there; where nothing tells, how its score ranks among train images.

    Args:
        probability: 0 to 1, or NaN.
        percentile: share of train images that score lower, 0 to 1, or NaN.

    >>> chance(0.031), chance(0.9999), chance(math.nan, 0.25), chance(math.nan)
    ('3 % likely there', 'over 99 % likely there', 'scores above 25 % of train images', '')
    """
    if not math.isnan(probability):
        return f"{_percent(probability)} likely there"
    if not math.isnan(percentile):
        return f"scores above {percentile:.0%} of train images".replace("%", " %")
    return ""


def reason(label: str, value: float, likely: str = "") -> str:
    """A whole reason on one line.

    Args:
        label: from `said`.
        value: what it adds to the class logit.
        likely: from `chance`.

    >>> reason(said("a waistband", False), 4.36, chance(0.03))
    'no waistband +4.36 (3 % likely there)'
    """
    return f"{label} {signed(value)}" + (f" ({likely})" if likely else "")


def _percent(share: float) -> str:
    """No chance between the two is called 0 or 100 %."""
    if share < 0.01:
        return "under 1 %"
    return "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"
