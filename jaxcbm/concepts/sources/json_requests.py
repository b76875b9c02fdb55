"""GET requests for JSON with nothing but Python's own library."""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from jaxcbm.concepts.sources.retries import Transient, retry_after_seconds
from jaxcbm.errors import UserError
from jaxcbm.json_text import parse_json
from jaxcbm.lines import printable

_AGENT = "jaxcbm (concept sets; https://pypi.org/project/jaxcbm)"
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOST_BYTES = 64 * 2**20


def checked_base_url(url: str) -> str:
    """A base URL without its last slash.

    It is written to caches and provenance, so that it may hold no name, password or query.

    Raises:
        UserError: not http or https, no host, or something that may be a secret.

    >>> checked_base_url("http://localhost:8000/v1/")
    'http://localhost:8000/v1'
    """
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise UserError(f"{printable(url)!r} is no URL: give http://HOST:PORT/PATH") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UserError(
            f"the URL of {parts.hostname} holds a password or a query: give only "
            "http://HOST:PORT/PATH; keys come from the environment"
        )
    if not usable or any(c.isspace() or not c.isprintable() for c in url):
        raise UserError(f"{printable(url)!r} is no URL: give http://HOST:PORT/PATH")
    return url.rstrip("/")


def get_json(url: str, timeout: float) -> Any:
    """What a server has at a URL.

    Args:
        url: http or https.
        timeout: seconds without a byte.

    Raises:
        Transient: no connection, a time-out, a busy or stumbling server, or half an answer.
        UserError: the server refuses.
    """
    headers = {"Accept": "application/json", "User-Agent": _AGENT}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            body = response.read(_MOST_BYTES + 1)
            expected = response.headers.get("Content-Length", "")
    except urllib.error.HTTPError as error:
        with error:
            reason = f"HTTP {error.code} {error.reason}"
        if error.code in _PASSING:
            after = retry_after_seconds(error.headers.get("Retry-After"))
            raise Transient(reason, after) from None
        raise UserError(f"{url} refuses: {reason}") from None
    except http.client.IncompleteRead as error:
        raise Transient(f"the answer broke off after {len(error.partial)} bytes") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise Transient(f"no connection: {getattr(error, 'reason', None) or error}") from None
    if len(body) > _MOST_BYTES:
        raise UserError(f"{url} answers with more than {_MOST_BYTES >> 20} MiB")
    # A bounded read does not complain about a body that ends early.
    if expected.isdecimal() and len(body) < int(expected):
        raise Transient(f"the answer broke off after {len(body)} bytes")
    try:
        return parse_json(body)
    except ValueError:
        raise Transient(f"no JSON in the answer: {body[:40]!r}") from None
