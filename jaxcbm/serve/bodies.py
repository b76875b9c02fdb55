"""A request's body and options, read within limits, and its answer, waited for within others."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from jaxcbm.serve.batcher import QueueFull, Stopped
from jaxcbm.serve.guard import client_address
from jaxcbm.serve.limits import Refusal, too_large
from jaxcbm.serve.openapi import PICTURE_TYPES
from jaxcbm.serve.pictures import media_type
from jaxcbm.serve.service import Service
from jaxcbm.typed_json import from_json

T = TypeVar("T")
# From a service, a request, its body and its options to a response.
Work = Callable[[Service, Request, bytes, T], Awaitable[Response]]
_LONGEST_OPTION = 20
# Routes that take pictures as they are.
_OF_FILES = ("/v1/predict", "/v1/explore")


async def answered(
    service: Service,
    request: Request,
    work: Work[T],
    kind: type[T],
) -> Response:
    """Read a body within limits, and have it answered in time.

    Args:
        service: that is asked.
        request: with a body.
        work: what answers.
        kind: of the options, a dataclass.

    Raises:
        Refusal: it is not taken, or not answered in time.
        UserError: an option that there is not.
        ClientDisconnect: the client left.
    """
    if not service.batcher.ready.is_set():
        raise Refusal(503, "the model is still being compiled", retry_after=5)
    options, limits = _options(request, kind), service.limits
    if service.batcher.under_way >= limits.queue:
        raise _queue_full()
    deadline = asyncio.get_running_loop().time() + limits.seconds
    admission = service.admission
    with admission.client(client_address(request.scope)), admission.body() as grow:
        try:
            async with asyncio.timeout_at(deadline):
                body = await _read_body(service, request, grow)
        except TimeoutError as error:
            raise Refusal(408, f"the body did not come in {limits.seconds:g} seconds") from error
        try:
            async with asyncio.timeout_at(deadline):
                return await _unless_gone(request, work(service, request, body, options))
        except TimeoutError as error:
            raise Refusal(504, f"no answer in {limits.seconds:g} seconds") from error
        except QueueFull as error:
            raise _queue_full() from error
        except Stopped as error:
            raise Refusal(503, "the server is stopping", retry_after=5) from error


async def _read_body(service: Service, request: Request, grow: Callable[[int], None]) -> bytes:
    """All of a body of a type that its route takes.

    Raises:
        Refusal: 413 or 415, or 503 from `grow`.
        ClientDisconnect: the client left before its end.
    """
    headers, limits = request.headers, service.limits
    kind, files = media_type(headers.get("content-type", "")), request.scope["path"] in _OF_FILES
    taken = kind == "application/json" or (
        files and (kind in PICTURE_TYPES or kind.startswith("image/"))
    )
    if not taken:
        types = ", ".join(("application/json", *(PICTURE_TYPES if files else ())))
        raise Refusal(415, f"the Content-Type must be one of {types}")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "compressed bodies are not taken")
    # One that lies is found out below, or by the server.
    told = headers.get("content-length", "0")
    if len(told) > 18 or (told.isdecimal() and int(told) > limits.body_bytes):
        raise too_large(limits)
    chunks = []
    async for chunk in request.stream():
        grow(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for work, and give it up when the client leaves; its whole body must have been read.

    Raises:
        ClientDisconnect: it left.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


def _options(request: Request, kind: type[T]) -> T:
    """What the address asks for, beside a name.

    Raises:
        UserError: an unknown option, or a value of another type.
    """
    given = {name: _value(text) for name, text in request.query_params.items() if name != "name"}
    return from_json(kind, given, "address")


def _value(text: str) -> Any:
    try:
        return json.loads(text[:_LONGEST_OPTION])
    except ValueError:
        return text


def _queue_full() -> Refusal:
    return Refusal(503, "the queue is full", retry_after=1)
