"""What stands before every request and after every answer: who may ask, headers, the log."""

import time
import traceback
from collections.abc import Collection

from absl import logging
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxcbm.serve.limits import Refusal
from jaxcbm.serve.page import NOTHING
from jaxcbm.serve.service import Service

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": NOTHING,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_METHODS = ("GET", "HEAD", "POST")
# What Nginx logs of a client that had left; nobody receives it.
CLIENT_GONE = 499


def refused(refusal: Refusal) -> JSONResponse:
    """A refusal as a response."""
    headers = {}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    if refusal.status == 408:
        # The rest of the body is not waited for.
        headers["connection"] = "close"
    return JSONResponse({"error": refusal.reason}, refusal.status, headers)


def guard(
    app: ASGIApp, service: Service, paths: Collection[str], hosts: Collection[str]
) -> ASGIApp:
    """Wrap an application.

    Args:
        app: what answers.
        service: whose counters count, and who knows whether the server is stopping.
        paths: of all routes; others are counted together.
        hosts: names that the server goes by, without their port; empty: any.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if service.stopping:
                    headers["connection"] = "close"
            await send(message)

        try:
            refusal = _stranger(scope, hosts)
            answers = app if refusal is None else refused(refusal)
            await answers(scope, receive, send_on)
        except Exception as error:
            _log_fault(error)
        finally:
            seconds = time.monotonic() - began
            path, method = scope["path"], scope["method"]
            route = path if path in paths else "other"
            method = method if method in _METHODS else "other"
            service.metrics.request(route, method, status or CLIENT_GONE, seconds)
            logging.info(
                "%s %s %d %.0f ms %s",
                *(method, _tame(path), status or CLIENT_GONE, 1000 * seconds),
                _tame(client_address(scope)),
            )

    return guarded


def client_address(scope: Scope) -> str:
    """Who asks, as far as it is known."""
    return scope["client"][0] if scope.get("client") else "unknown"


def _stranger(scope: Scope, hosts: Collection[str]) -> Refusal | None:
    """Why a request is not for us: made for another host, or by a page of another site.

    A page elsewhere whose host name was bound to this address anew could read answers otherwise,
    and any page could have pictures computed.
    """
    headers = Headers(scope=scope)
    if hosts and _without_port(headers.get("host", "")) not in hosts:
        return Refusal(421, "this server does not go by that host name")
    if scope["method"] == "POST" and headers.get("sec-fetch-site") == "cross-site":
        return Refusal(403, "sent by a page of another site")
    return None


def _without_port(host: str) -> str:
    """A host name in lower case.

    >>> _without_port("[::1]:8000"), _without_port("LocalHost:8000"), _without_port("a")
    ('[::1]', 'localhost', 'a')
    """
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _tame(text: str) -> str:
    """What a client wrote as one short line of ASCII.

    >>> print(_tame("/a\\nfake line"))
    /a\\nfake line
    """
    return ascii(text)[1:-1][:100]


def _log_fault(error: Exception) -> None:
    """Where it happened; what it says may be a client's words."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logging.error("%s: %s\n%s", type(error).__name__, _tame(str(error)), where)
