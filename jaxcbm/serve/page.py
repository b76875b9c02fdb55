"""The pages of a server, and what they may do."""

import re
from typing import Any

from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from jaxcbm.data.labels import some_of
from jaxcbm.explore.page import script, stylesheet
from jaxcbm.model.model import Model
from jaxcbm.pages import policy_hash, render

# What is sent beside a page may do nothing at all.
NOTHING = "default-src 'none'; frame-ancestors 'none'"
_NONE = "'none'"
_SCRIPT = re.compile(r'<script(?: type="module")?>(.*?)</script>', re.S)


def front_page(model: Model) -> Response:
    """The page at `/`: pictures in, the explorer of them out."""
    lines = some_of(model.classes, "classes"), f"{len(model.concepts)} concepts"
    return _page(
        render(
            "serve.html",
            title="jaxcbm",
            model=", ".join(lines),
            style=Markup(stylesheet()),
            script=Markup(script()),
        )
    )


def documentation_page(openapi: dict[str, Any]) -> Response:
    """The routes for people, without anything from elsewhere."""
    return _page(render("serve_docs.html", title="jaxcbm: routes", openapi=openapi))


def _page(html: str) -> Response:
    """A page whose own scripts run, by their hashes, and no other; it talks to its server alone."""
    scripts = " ".join(map(policy_hash, _SCRIPT.findall(html)))
    policy = (
        f"{NOTHING}; script-src {scripts or _NONE}; style-src 'unsafe-inline'; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    return HTMLResponse(html, headers={"content-security-policy": policy})
