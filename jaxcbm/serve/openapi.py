"""The table of routes as an OpenAPI document."""

import dataclasses
import types
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from starlette.requests import Request
from starlette.responses import Response

from jaxcbm import __version__
from jaxcbm.typed_json import meanings_of

# What a picture may come as, beside JSON.
PICTURE_TYPES = ("multipart/form-data", "application/octet-stream", "image/*")
STATUSES = {
    403: "sent by a page of another site",
    408: "the body did not come in time",
    413: "too large a body, or too many pictures",
    415: "a body of another type, or compressed",
    421: "a host name that this server does not go by",
    422: "not what its type says, a wrong option, or no picture that can be read",
    429: "too many requests from this address are under way",
    500: "a fault of the server, which is in its log",
    503: "not ready yet, the queue is full, or the server is stopping; try again",
    504: "no answer in time",
}
Handler = Callable[[Request], Awaitable[Response]]
_REFUSED = (403, 408, 413, 415, 421, 422, 429, 500, 503, 504)
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


@dataclasses.dataclass(frozen=True)
class Refused:
    """Why there is no answer.

    Attributes:
        error: one line.
    """

    error: str


class Endpoint(NamedTuple):
    """A row of the table of routes.

    Attributes:
        method: of HTTP.
        path: without parameters.
        handler: what answers.
        summary: one line for the documentation.
        answer: a dataclass that is sent as JSON, or the media type of what is sent.
        body: a dataclass that is read from JSON; None: there is no body.
        files: whether the body may be pictures as they are.
        options: a dataclass that is read from the address; None: nothing is.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: type | str
    body: type | None = None
    files: bool = False
    options: type | None = None


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """An OpenAPI 3.1 document of some routes."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "jaxcbm", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": endpoint.summary, "responses": {}}
    if isinstance(endpoint.answer, str):
        content: dict[str, Any] = {endpoint.answer: {}}
    else:
        content = {"application/json": {"schema": _schema(endpoint.answer, schemas)}}
    found["responses"]["200"] = {"description": "the answer", "content": content}
    if endpoint.body is None:
        return found
    refused = {"application/json": {"schema": _schema(Refused, schemas)}}
    for status in _REFUSED:
        found["responses"][str(status)] = {"description": STATUSES[status], "content": refused}
    bodies: dict[str, Any] = {"application/json": {"schema": _schema(endpoint.body, schemas)}}
    bodies |= {kind: {} for kind in PICTURE_TYPES if endpoint.files}
    found["requestBody"] = {"required": True, "content": bodies}
    if endpoint.options is not None:
        found["parameters"] = _parameters(endpoint.options, schemas)
    return found


def _parameters(options: type, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    """The options, which stand in the address."""
    properties = _properties(options, schemas)
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in properties.items()
    ]


def _properties(kind: type, schemas: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    meanings = meanings_of(kind)
    found = {}
    for field in dataclasses.fields(kind):
        schema = {**_schema(hints[field.name], schemas), "description": meanings[field.name]}
        if field.default is not dataclasses.MISSING:
            schema["default"] = field.default
        found[field.name] = schema
    return found


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """A type as JSON Schema; dataclasses are added to the others and referred to."""
    origin, choices = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return {**_schema(choices[0], schemas), "minimum": choices[1].low}
    if kind is Any:
        return {}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(choice, schemas) for choice in choices]}
    if origin is tuple:
        return {"type": "array", "items": _schema(choices[0], schemas)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(choices[1], schemas)}
    if kind is type(None):
        return {"type": "null"}
    if not dataclasses.is_dataclass(kind):
        return {"type": _PLAIN[kind]}
    return {"$ref": f"#/components/schemas/{_described(kind, schemas)}"}


def _described(kind: Any, schemas: dict[str, Any]) -> str:
    """Add a dataclass to the schemas by its name."""
    name, missing = kind.__name__, dataclasses.MISSING
    if name not in schemas:
        fields = dataclasses.fields(kind)
        schemas[name] = {
            "type": "object",
            "description": kind.__doc__.partition("\n")[0],
            "properties": _properties(kind, schemas),
            "required": [f.name for f in fields if f.default is f.default_factory is missing],
        }
    return name
