"""Pictures out of the body of a request, in any of three forms; nothing is decoded yet."""

import binascii
import json
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from jaxcbm.errors import UserError
from jaxcbm.serve.limits import Refusal
from jaxcbm.typed_json import from_json

T = TypeVar("T")

# Base64 has none of these, so that a body of pictures has few of them however large it is, and
# what Python makes of a body is not many times its size.
_STRUCTURE = (b"[", b"{", b",")
_MOST_STRUCTURE = 100_000
_LONGEST_NAME = 200


class Picture(NamedTuple):
    """A picture as it came.

    Attributes:
        name: what the client calls it, any text of up to 200 characters.
        content: the bytes of its file, whatever they are.
    """

    name: str
    content: bytes


@dataclass(frozen=True)
class EncodedPicture:
    """A picture in JSON.

    Attributes:
        data: the bytes of its file, in base64.
        name: to find it by among the answers.
    """

    data: str
    name: str = ""

    def picture(self, number: int) -> Picture:
        """Decode the base64.

        Raises:
            UserError: it is none.
        """
        name = _name(self.name, number)
        try:
            return Picture(name, binascii.a2b_base64(self.data, strict_mode=True))
        except ValueError as error:
            raise UserError(f"{name}: data is no base64 ({error})") from error


@dataclass(frozen=True)
class PredictBody:
    """Pictures to predict.

    Attributes:
        images: one or more.
    """

    images: tuple[EncodedPicture, ...]


@dataclass(frozen=True)
class InterveneBody:
    """A picture, and what is known of its concepts.

    Attributes:
        image: the picture.
        activations: concept -> its activation, in the model's own units.
        presence: concept -> whether it is there.
        carry: whether the model moves the concepts that go with these along.
    """

    image: EncodedPicture
    activations: dict[str, float] = field(default_factory=dict)
    presence: dict[str, bool] = field(default_factory=dict)
    carry: bool = False


def media_type(content_type: str) -> str:
    """A Content-Type without its parameters, in lower case; "" where it is none.

    >>> media_type("Image/PNG; x=1")
    'image/png'
    """
    return content_type.partition(";")[0].strip().lower()


def read_pictures(content_type: str, body: bytes, name: str, most: int) -> list[Picture]:
    """The pictures of a body.

    Args:
        content_type: of the request: `multipart/form-data`, `application/json`, `image/...` or
            `application/octet-stream`.
        body: all of it.
        name: of the only picture of a body that is nothing else.
        most: pictures in a request.

    Raises:
        Refusal: 413, more than that.
        UserError: it is not what its type says, or without a picture.
    """
    kind = media_type(content_type)
    if kind == "multipart/form-data":
        found = _read_parts(content_type, body, most)
    elif kind == "application/json":
        images = read_object(PredictBody, body).images
        if len(images) > most:
            raise _too_many(most)
        found = [image.picture(i) for i, image in enumerate(images, 1)]
    else:
        found = [Picture(_name(name, 1), body)] if body else []
    if not found:
        raise UserError("the request brings no picture")
    return found


def read_object(kind: type[T], body: bytes) -> T:
    """A body of JSON as a dataclass.

    Raises:
        UserError: it is no JSON, or not of that form, or has more values than an honest one.
    """
    if sum(body.count(character) for character in _STRUCTURE) > _MOST_STRUCTURE:
        raise UserError("the JSON has too many values")
    try:
        value = json.loads(body)
    # Deep nesting ends Python's stack, and long numbers its patience.
    except (ValueError, RecursionError) as error:
        raise UserError(f"the body is no JSON ({type(error).__name__})") from error
    return from_json(kind, value, "body")


class _Part:
    """One part of a form while it is read."""

    def __init__(self) -> None:
        self.field, self.disposition = bytearray(), bytearray()
        self.value, self.content = bytearray(), bytearray()

    def end_header(self) -> None:
        if self.field.lower() == b"content-disposition":
            self.disposition = self.value
        self.field, self.value = bytearray(), bytearray()


def _read_parts(content_type: str, body: bytes, most: int) -> list[Picture]:
    """The files of a form; its other fields are refused, options stand in the address."""
    parts: list[_Part] = []
    ended = False

    def begin() -> None:
        if len(parts) == most:
            raise _too_many(most)
        parts.append(_Part())

    def end() -> None:
        nonlocal ended
        ended = True

    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise UserError("the form has no boundary: let your client write its Content-Type")
    callbacks = {
        "on_part_begin": begin,
        "on_header_field": lambda data, i, j: parts[-1].field.extend(data[i:j]),
        "on_header_value": lambda data, i, j: parts[-1].value.extend(data[i:j]),
        "on_header_end": lambda: parts[-1].end_header(),
        "on_part_data": lambda data, i, j: parts[-1].content.extend(data[i:j]),
        "on_end": end,
    }
    try:
        parser = MultipartParser(boundary, callbacks)  # pyright: ignore[reportArgumentType]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise UserError("the form cannot be read") from error
    if not ended:
        raise UserError("the form ends in the middle of a part")
    return [_file(part, number) for number, part in enumerate(parts, 1)]


def _file(part: _Part, number: int) -> Picture:
    options = parse_options_header(bytes(part.disposition))[1]
    if b"filename" not in options:
        raise UserError(f"part {number} of the form is no file; options go into the address")
    name = options[b"filename"].decode("utf-8", "replace")
    return Picture(_name(name, number), bytes(part.content))


def _name(given: str, number: int) -> str:
    # A lone surrogate, which JSON may hold, could not be written as UTF-8.
    text = given.encode("utf-8", "replace").decode("utf-8")
    return text[:_LONGEST_NAME] or f"picture {number}"


def _too_many(most: int) -> Refusal:
    return Refusal(413, f"more than {most} pictures in a request")
