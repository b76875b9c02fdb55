"""The routes of a server, and how a request becomes an answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from jaxcbm.encoders.image.file import UnreadableImage
from jaxcbm.errors import UserError
from jaxcbm.model.model import Model
from jaxcbm.serve import metrics
from jaxcbm.serve.answers import Answer, Answers, Failure, Options, answer
from jaxcbm.serve.batcher import QueueFull, Stopped
from jaxcbm.serve.exploration import Exploration, exploration
from jaxcbm.serve.guard import CLIENT_GONE, client_address, guard, refused
from jaxcbm.serve.limits import Refusal, too_large
from jaxcbm.serve.openapi import PICTURE_TYPES, Endpoint, document
from jaxcbm.serve.page import documentation_page, front_page
from jaxcbm.serve.pictures import (
    InterveneBody,
    Picture,
    PredictBody,
    media_type,
    read_object,
    read_pictures,
)
from jaxcbm.serve.service import Seen, Service
from jaxcbm.typed_json import from_json, to_json

T = TypeVar("T")
# Larger bodies are read in a thread, so that others are not kept waiting.
_SMALL = 2**18
_LONGEST_OPTION = 20
# Routes that take pictures as they are.
_OF_FILES = ("/v1/predict", "/v1/explore")


@dataclass(frozen=True)
class State:
    """How the server does.

    Attributes:
        status: in a word.
    """

    status: str


@dataclass(frozen=True)
class NoOptions:
    """What the address may ask for where there is nothing to choose."""


@dataclass(frozen=True)
class ModelFacts:
    """What the model knows.

    Attributes:
        classes: their names.
        concepts: their phrases.
        encoder: its name.
        edits: what was changed of the model after its fit, in words.
    """

    classes: tuple[str, ...]
    concepts: tuple[str, ...]
    encoder: str
    edits: tuple[str, ...]


def make_app(service: Service, hosts: Collection[str] = ()) -> ASGIApp:
    """The application of a service; `hosts`: names that it goes by, empty for any."""
    endpoints = _endpoints(service)
    app = Starlette(
        routes=[Route(each.path, each.handler, methods=[each.method]) for each in endpoints],
        exception_handlers={
            Refusal: _on_refusal,
            UserError: _on_mistake,
            HTTPException: _on_http,
            ClientDisconnect: _on_departure,
            Exception: _on_fault,
        },
    )
    return guard(app, service, [each.path for each in endpoints], hosts)


def _endpoints(service: Service) -> list[Endpoint]:
    model = service.model

    async def predict(request: Request) -> Response:
        return await _answered(service, request, _predict, Options)

    async def intervene(request: Request) -> Response:
        return await _answered(service, request, _intervene, Options)

    async def explore(request: Request) -> Response:
        return await _answered(service, request, _explore, NoOptions)

    async def facts(_: Request) -> Response:
        said = tuple(map(str, model.edits))
        return _json(ModelFacts(model.classes, model.concepts.phrases, model.encoder_name, said))

    async def health(_: Request) -> Response:
        return _state(service.batcher.healthy, "ok", "the device does not answer")

    async def readiness(_: Request) -> Response:
        return _state(service.ready, "ready", "stopping" if service.stopping else "not ready")

    async def counts(_: Request) -> Response:
        text = service.metrics.text(service.ready)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    async def front(_: Request) -> Response:
        return front_page(model)

    async def openapi(_: Request) -> Response:
        return JSONResponse(described)

    async def docs(_: Request) -> Response:
        return documentation_page(described)

    page = "text/html"
    table = [
        Endpoint(
            "POST",
            "/v1/predict",
            predict,
            "Predict pictures.",
            Answers,
            PredictBody,
            files=True,
            options=Options,
        ),
        Endpoint(
            "POST",
            "/v1/explore",
            explore,
            "What the explorer shows of pictures.",
            Exploration,
            PredictBody,
            files=True,
        ),
        Endpoint(
            "POST",
            "/v1/intervene",
            intervene,
            "Predict a picture of which some concepts are known.",
            Answer,
            InterveneBody,
            options=Options,
        ),
        Endpoint("GET", "/v1/model", facts, "Classes and concepts.", ModelFacts),
        Endpoint("GET", "/healthz", health, "Whether the device answers.", State),
        Endpoint("GET", "/readyz", readiness, "Whether requests are taken.", State),
        Endpoint("GET", "/metrics", counts, "Counters for Prometheus.", "text/plain"),
        Endpoint("GET", "/openapi.json", openapi, "This document.", "application/json"),
        Endpoint("GET", "/docs", docs, "This document for people.", page),
        Endpoint("GET", "/", front, "The page.", page),
    ]
    described = document(table)
    return table


async def _answered(
    service: Service,
    request: Request,
    work: Callable[[Service, Request, bytes, T], Awaitable[Response]],
    kind: type[T],
) -> Response:
    """Read a body within limits, and have it answered in time."""
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


async def _predict(service: Service, request: Request, body: bytes, options: Options) -> Response:
    pairs = await _looked_at(service, request, body)

    def say() -> Response:
        said = tuple(_said(service, picture, each, options) for picture, each in pairs)
        return _json(Answers(said), _status(pairs))

    return await asyncio.to_thread(say)


async def _explore(service: Service, request: Request, body: bytes, _: NoOptions) -> Response:
    pairs = await _looked_at(service, request, body)
    seen = [(picture.name, each) for picture, each in pairs if isinstance(each, Seen)]
    unread = [
        Failure(picture.name, str(each)) for picture, each in pairs if not isinstance(each, Seen)
    ]

    def say() -> Response:
        return _json(exploration(service.model, seen, unread), _status(pairs))

    return await asyncio.to_thread(say)


def _status(pairs: Sequence[tuple[Picture, Seen | UnreadableImage]]) -> int:
    return 200 if any(isinstance(each, Seen) for _, each in pairs) else 422


async def _looked_at(
    service: Service, request: Request, body: bytes
) -> list[tuple[Picture, Seen | UnreadableImage]]:
    """The pictures of a body, and what is seen of each."""
    kind = request.headers.get("content-type", "")
    given = kind, body, request.query_params.get("name", ""), service.limits.pictures
    pictures = (
        read_pictures(*given)
        if len(body) < _SMALL
        else await asyncio.to_thread(read_pictures, *given)
    )
    with service.batcher.places(len(pictures)):
        found = await service.look(pictures)
    answered = sum(isinstance(each, Seen) for each in found)
    service.metrics.pictures(answered, len(found) - answered)
    return list(zip(pictures, found, strict=True))


def _said(
    service: Service, picture: Picture, found: Seen | UnreadableImage, options: Options
) -> Answer | Failure:
    if isinstance(found, UnreadableImage):
        return Failure(picture.name, str(found))
    return answer(picture.name, service.model, found.batch, found.row, options)


async def _intervene(service: Service, request: Request, body: bytes, options: Options) -> Response:
    asked = read_object(InterveneBody, body)
    picture = asked.image.picture(1)
    with service.batcher.places(1):
        (found,) = await service.look([picture])
    service.metrics.pictures(*((0, 1) if isinstance(found, UnreadableImage) else (1, 0)))
    if isinstance(found, UnreadableImage):
        raise UserError(f"{picture.name}: {found}")

    def say() -> Response:
        model, before = service.model, found.batch.select(np.array([found.row]))
        after = model.intervene(before, _known(model, asked), carry=asked.carry)
        return _json(answer(picture.name, model, after, 0, options))

    return await asyncio.to_thread(say)


def _known(model: Model, asked: InterveneBody) -> dict[str, float]:
    """Concept -> its activation, from activations and presence.

    Raises:
        UserError: presence, and the model does not know what it would be in activations.
    """
    if not asked.presence:
        return asked.activations
    if model.calibration is None:
        raise UserError("this model was saved without a calibration: give activations")
    values = {True: model.calibration.present, False: model.calibration.absent}
    column = {phrase: d for d, phrase in enumerate(model.concepts.phrases)}
    # A phrase that is in no column is refused by the model.
    told = {
        phrase: float(values[there][column[phrase]]) if phrase in column else 0.0
        for phrase, there in asked.presence.items()
    }
    return {**asked.activations, **told}


async def _read_body(service: Service, request: Request, grow: Callable[[int], None]) -> bytes:
    """All of a body of a type that its route takes.

    Raises:
        Refusal: 413 or 415, or 503 from `grow`.
        ClientDisconnect: the client left before its end.
    """
    headers, limits = request.headers, service.limits
    kind, files = media_type(headers.get("content-type", "")), request.url.path in _OF_FILES
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


def _json(value: Any, status: int = 200) -> Response:
    return JSONResponse(to_json(value), status)


def _state(good: bool, well: str, ill: str) -> Response:
    return _json(State(well if good else ill), 200 if good else 503)


def _queue_full() -> Refusal:
    return Refusal(503, "the queue is full", retry_after=1)


async def _on_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error)


async def _on_mistake(_: Request, error: Exception) -> Response:
    return refused(Refusal(422, str(error)))


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _on_departure(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _on_fault(_: Request, __: Exception) -> Response:
    # It goes on from here to whoever writes the log.
    return refused(Refusal(500, "a fault of the server"))
