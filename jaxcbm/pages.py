"""Pages from templates: HTML in which text is never markup, and Markdown in which it is text."""

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jaxcbm.palette import PALETTE

# Markup anywhere, and addresses that viewers turn into links by themselves.
_SPECIAL = re.compile(r"[\\`*_\[\]|#~]|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)
# What makes a list, a rule or a heading where it begins a line.
_BEGINNING = re.compile(r"^(\d{0,9})([-+.)](?=\s|$)|-(?=-)|=)")


def render(template: str, **values: Any) -> str:
    """A template of `jaxcbm/templates` with its values.

    Args:
        template: its file; in `.html` what is no `Markup` is escaped, in `.md` what is not marked
            as `safe`.
        values: by the names that the template uses.
    """
    return _environment(template.endswith(".md")).get_template(template).render(values)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line.

    >>> escape_markdown("<b> a_b\\n| c")
    '&lt;b&gt; a\\\\_b \\\\| c'
    """
    tame = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _SPECIAL.sub(r"\\\g<0>", " ".join(tame.split()))
    return _BEGINNING.sub(r"\1\\\2", line)


def code_markdown(text: str) -> Markup:
    """Text as code in Markdown, on one line, whatever backticks are in it.

    >>> print(code_markdown("a `b`"))
    `` a `b` ``
    """
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, room = "`" * (longest + 1), " " * (longest > 0)
    return Markup(f"{fence}{room}{' '.join(text.split())}{room}{fence}")


def policy_hash(text: str) -> Markup:
    """By what a Content-Security-Policy knows a script or a stylesheet, as one of its sources.

    >>> print(policy_hash(""))
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return Markup(f"'sha256-{base64.b64encode(digest).decode('ascii')}'")


class Bar(NamedTuple):
    """A named, signed value as a bar to the left or right of zero.

    Attributes:
        label: its name.
        text: the value with its sign.
        kind: `positive`, `negative` or `neutral`.
        start: left end of the bar, per cent of the room.
        width: per cent of the room.
    """

    label: str
    text: str
    kind: str
    start: float
    width: float


class Bars(NamedTuple):
    """Bars on one scale, and where zero is, per cent of the room."""

    zero: float
    lines: tuple[Bar, ...]


def bars(
    values: Sequence[tuple[str, float]],
    rest: tuple[str, float] | None = None,
    scale: Sequence[float] = (),
) -> Bars:
    """Lay out bars on a scale from the least to the greatest value, zero among them.

    Args:
        values: label and value.
        rest: a last one, in a neutral colour.
        scale: values that the scale must hold too.

    >>> zero, lines = bars([("long tail", 3.0), ("red crown", -1.0)])
    >>> zero, lines[0].start, lines[0].width, lines[1].start, lines[1].width, lines[1].text
    (25.0, 25.0, 75.0, 0.0, 25.0, '\\u22121.00')
    """
    listed = [*values, *([rest] if rest else [])]
    known = [value for value in (*(v for _, v in listed), *scale, 0.0) if math.isfinite(value)]
    low, span = min(known), max(known) - min(known) or 1.0
    zero = 100.0 * -low / span
    lines = []
    for i, (label, value) in enumerate(listed):
        width = 100.0 * abs(value) / span if math.isfinite(value) else 0.0
        kind = "positive" if value > 0 else "negative"
        kind = "neutral" if rest and i == len(values) else kind
        start = zero - width if value < 0 else zero
        lines.append(Bar(label, signed(value), kind, start, width))
    return Bars(zero, tuple(lines))


def signed(value: float) -> str:
    """A value to two digits with its sign, a true minus; an en dash where there is none.

    >>> signed(0.5), signed(-0.001), signed(float("nan"))
    ('+0.50', '0.00', '\\u2013')
    """
    if not math.isfinite(value):
        return "\u2013"
    text = f"{value:+.2f}"
    return text.lstrip("+-") if not text.strip("+-0.") else text.replace("-", "\u2212")


@cache
def _environment(markdown: bool) -> Environment:
    def tame(value: Any) -> Any:
        return value if isinstance(value, Markup) else escape_markdown(str(value))

    environment = Environment(
        loader=PackageLoader("jaxcbm"),
        autoescape=not markdown,
        finalize=tame if markdown else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["palette"] = PALETTE
    environment.filters["code"] = code_markdown
    environment.filters["policy_hash"] = policy_hash
    return environment
