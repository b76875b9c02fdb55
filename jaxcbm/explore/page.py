"""The explorer's page: one file, which may load nothing and run nothing but its own script."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from jaxcbm.pages import render


def page(payload: dict[str, Any]) -> str:
    """The whole page, as HTML.

    Its Content-Security-Policy allows its style and its script by their hashes, pictures within the
    page, and nothing else.

    Args:
        payload: from `explorer_payload`.
    """
    # "<" ends no script element once it is escaped, and is the same text to JSON.
    data = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return render(
        "explorer.html",
        title=payload["title"],
        style=Markup(stylesheet()),
        script=Markup(script()),
        payload=Markup(data.replace("<", "\\u003c")),
    )


@cache
def stylesheet() -> str:
    """The explorer's style, with the house's colours for light and dark."""
    return render("explorer_colours.css") + _asset("explorer.css")


@cache
def script() -> str:
    """The explorer's script, an ES module that exports `mount(element, payload, options)`."""
    return _asset("explorer.js")


def _asset(name: str) -> str:
    return (files("jaxcbm.explore") / "assets" / name).read_text(encoding="utf-8")
