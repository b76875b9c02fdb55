"""What is done with the pictures of a request: answered, explored, or answered as corrected."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jaxcbm.encoders.image.file import UnreadableImage
from jaxcbm.errors import UserError
from jaxcbm.serve.answers import Answer, Answers, Failure, Options, PredictedBatch
from jaxcbm.serve.exploration import exploration
from jaxcbm.serve.pictures import InterveneBody, Picture, read_object, read_pictures
from jaxcbm.serve.service import Seen, Service
from jaxcbm.typed_json import to_json

# Larger bodies are read in a thread, so that others are not kept waiting.
_SMALL = 2**18
# As many values are said at once: a thread would take longer, and take turns with the event loop.
_FEW = 256
# Classes and concepts of a model of which every answer is given to a thread.
_LARGE = 4096


@dataclass(frozen=True)
class NoOptions:
    """What the address may ask for where there is nothing to choose."""


async def predict(service: Service, request: Request, body: bytes, options: Options) -> Response:
    """Answer every picture of a body; 422 if none can be read."""
    pairs = await _looked_at(service, request, body)

    def say() -> Response:
        said = tuple(_said(service, picture, each, options) for picture, each in pairs)
        return as_json(Answers(said), _status(pairs))

    classes, concepts = len(service.model.classes), len(service.model.concepts)
    each = min(options.top, concepts) + min(options.classes, classes) + options.concepts * concepts
    if len(pairs) * each <= _FEW and classes + concepts <= _LARGE:
        return say()
    return await asyncio.to_thread(say)


async def explore(service: Service, request: Request, body: bytes, _: NoOptions) -> Response:
    """What the explorer shows of the pictures of a body; 422 if none can be read."""
    pairs = await _looked_at(service, request, body)
    seen = [(picture.name, each) for picture, each in pairs if isinstance(each, Seen)]
    unread = [
        Failure(picture.name, str(each)) for picture, each in pairs if not isinstance(each, Seen)
    ]

    def say() -> Response:
        return as_json(exploration(service.model, seen, unread), _status(pairs))

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
    return found.batch.answer(picture.name, found.row, options)


async def intervene(service: Service, request: Request, body: bytes, options: Options) -> Response:
    """Answer a picture of which some concepts are known.

    Raises:
        UserError: the picture cannot be read, or there is no such concept.
    """
    asked = read_object(InterveneBody, body)
    picture = asked.image.picture(1)
    with service.batcher.places(1):
        (found,) = await service.look([picture])
    service.metrics.pictures(*((0, 1) if isinstance(found, UnreadableImage) else (1, 0)))
    if isinstance(found, UnreadableImage):
        raise UserError(f"{picture.name}: {found}")

    def say() -> Response:
        model, before = service.model, found.batch.prediction.select(np.array([found.row]))
        known = {**asked.activations, **asked.presence}
        after = model.intervene(before, known, carry=asked.carry)
        return as_json(PredictedBatch(model, after).answer(picture.name, 0, options))

    return await asyncio.to_thread(say)


def as_json(value: Any, status: int = 200) -> Response:
    """A dataclass as a response."""
    return JSONResponse(to_json(value), status)
