"""The routes of a server."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from jaxcbm.errors import UserError
from jaxcbm.serve import metrics
from jaxcbm.serve.answers import Answer, Answers, Options
from jaxcbm.serve.asked import NoOptions, as_json, explore, intervene, predict
from jaxcbm.serve.bodies import Work, answered
from jaxcbm.serve.exploration import Exploration
from jaxcbm.serve.guard import CLIENT_GONE, guard, refused
from jaxcbm.serve.limits import Refusal
from jaxcbm.serve.openapi import Endpoint, Handler, document
from jaxcbm.serve.page import documentation_page, front_page
from jaxcbm.serve.pictures import InterveneBody, PredictBody
from jaxcbm.serve.service import Service

T = TypeVar("T")


@dataclass(frozen=True)
class State:
    """How the server does.

    Attributes:
        status: in a word.
    """

    status: str


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

    def posted(work: Work[T], kind: type[T]) -> Handler:
        async def handler(request: Request) -> Response:
            return await answered(service, request, work, kind)

        return handler

    async def facts(_: Request) -> Response:
        said = tuple(map(str, model.edits))
        return as_json(ModelFacts(model.classes, model.concepts.phrases, model.encoder_name, said))

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
            posted(predict, Options),
            "Predict pictures.",
            Answers,
            PredictBody,
            files=True,
            options=Options,
        ),
        Endpoint(
            "POST",
            "/v1/explore",
            posted(explore, NoOptions),
            "What the explorer shows of pictures.",
            Exploration,
            PredictBody,
            files=True,
        ),
        Endpoint(
            "POST",
            "/v1/intervene",
            posted(intervene, Options),
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


def _state(good: bool, well: str, ill: str) -> Response:
    return as_json(State(well if good else ill), 200 if good else 503)


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
