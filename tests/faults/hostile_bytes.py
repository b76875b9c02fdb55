"""What a stranger may make of a real file, by a seed: bytes, numbers, texts, and lies."""

import gzip
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Rng = np.random.Generator
_MEGABYTE = "x" * 1_000_000
# What stands in the place of a number or a text.
NUMBERS = ("1000000000", "-1", "NaN", "1e400", "-0.0", "Infinity", "9" * 5000, "1" + "0" * 30)
TEXTS = (
    *("", "\0", "\x1b[31m\x07", "\u202e\u2066txt.exe", "\ud800", "a\nb", "\u2028", "%s%n", "{0}"),
    *("../../../../etc/passwd", "/dev/zero", "=cmd|'/c calc'!A1", "<script>alert(1)</script>"),
    *("]](javascript:alert(1))", "$(touch MARK)", "__import__('os').abort()", _MEGABYTE),
)
_DEEP = 100_000
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 10**9, 10**30, 1e308, 0.5, [], {}, [[]], {"a": 1}, [1, "2", None]),
    *TEXTS,
)


class Shell(NamedTuple):
    """What lies around the part of a file that a reader understands: compression, a checksum.

    Attributes:
        open: the file's bytes -> the part inside.
        close: the part inside -> a file's bytes, lengths and sums made anew.
    """

    open: Callable[[bytes], bytes]
    close: Callable[[bytes, bytes], bytes]


def _safetensors_open(content: bytes) -> bytes:
    return content[8 : 8 + int.from_bytes(content[:8], "little")]


def _safetensors_close(header: bytes, whole: bytes) -> bytes:
    data = whole[8 + int.from_bytes(whole[:8], "little") :]
    return struct.pack("<Q", len(header)) + header + data


def _zip_open(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(_pickled(archive))


def _zip_close(inside: bytes, whole: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(made, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, inside if name == _pickled(archive) else archive.read(name))
    return made.getvalue()


def _pickled(archive: zipfile.ZipFile) -> str:
    return next(name for name in archive.namelist() if name.endswith(".pkl"))


GZIP = Shell(gzip.decompress, lambda inside, _: gzip.compress(inside, 1))
SAFETENSORS = Shell(_safetensors_open, _safetensors_close)
TORCH_ZIP = Shell(_zip_open, _zip_close)


def mutated(content: bytes, rng: Rng, shell: Shell | None = None) -> bytes:
    """One to three changes of a file, or of what lies in its shell; never the same bytes."""
    inside = shell is not None and rng.random() < 0.7
    changed = shell.open(content) if shell is not None and inside else content
    for _ in range(rng.integers(1, 4)):
        change = _change(changed, rng)
        changed = change(changed, rng)
    return shell.close(changed, content) if shell is not None and inside else changed


def _change(content: bytes, rng: Rng) -> Callable[[bytes, Rng], bytes]:
    bytewise = (_flip, _cut, _splice, _double, _lie)
    if len(content) > 200_000 or not _is_text(content) or rng.random() < 0.25:
        return bytewise[rng.integers(len(bytewise))]
    textual = (_replace_word, _replace_word, _insert_text, _swap_value, _swap_value, _nest, _encode)
    return textual[rng.integers(len(textual))]


def _is_text(content: bytes) -> bool:
    return b"\0" not in content[:4096] and bool(content)


def _flip(content: bytes, rng: Rng) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(max(len(content), 1), size=rng.integers(1, 9)):
        if content:
            changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content: bytes, rng: Rng) -> bytes:
    return content[: rng.integers(len(content) + 1)]


def _part(content: bytes, rng: Rng) -> tuple[int, int]:
    start, end = sorted(int(place) for place in rng.integers(len(content) + 1, size=2))
    return start, min(end, start + 10_000)


def _splice(content: bytes, rng: Rng) -> bytes:
    """A part is taken out and put somewhere else."""
    start, end = _part(content, rng)
    rest = content[:start] + content[end:]
    place = int(rng.integers(len(rest) + 1))
    return rest[:place] + content[start:end] + rest[place:]


def _double(content: bytes, rng: Rng) -> bytes:
    start, end = _part(content, rng)
    return content[:end] + content[start:end] * int(rng.integers(1, 4)) + content[end:]


def _lie(content: bytes, rng: Rng) -> bytes:
    """A number of two, four or eight bytes, of either order, becomes a length that is none."""
    size = int(rng.choice((2, 4, 8)))
    place = int(rng.integers(min(len(content), 512) + 1))
    told = (0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, 65_535)
    number = told[rng.integers(len(told))].to_bytes(size, ("little", "big")[rng.integers(2)])
    return content[:place] + number + content[place + size :]


def _replace_word(content: bytes, rng: Rng) -> bytes:
    text = content.decode("utf-8", "surrogateescape")
    words = list(re.finditer(r"-?\d[\d.e+-]*|[^\s,\"\t:]+", text))
    if not words:
        return _encoded(_some(TEXTS, rng))
    word = words[rng.integers(len(words))]
    number = word.group()[0] in "-0123456789" and rng.random() < 0.8
    return _encoded(text[: word.start()] + _some(NUMBERS if number else TEXTS, rng)) + _encoded(
        text[word.end() :]
    )


def _insert_text(content: bytes, rng: Rng) -> bytes:
    place = int(rng.integers(len(content) + 1))
    return content[:place] + _encoded(_some(TEXTS, rng)) + content[place:]


def _encode(content: bytes, rng: Rng) -> bytes:
    """The same text by other means: marks of byte order, other encodings and ends of lines."""
    text = content.decode("utf-8", "replace")
    how = int(rng.integers(4))
    if how == 0:
        return b"\xef\xbb\xbf" * 2 + content
    if how == 1:
        return text.encode("utf-16")
    if how == 2:
        return content.replace(b"\n", b"\r")
    return text.encode("latin-1", "replace") + b"\xff\xfe\xe9"


def _nest(content: bytes, rng: Rng) -> bytes:
    depth = int(rng.choice((300, 900, _DEEP)))
    opened, closed = ((b"[", b"]"), (b'{"a":', b"}"))[rng.integers(2)]
    nested = opened * depth + b"1" + closed * depth
    numbers = list(re.finditer(rb"(?<=[:\[, ])-?\d+", content))
    if not numbers or rng.random() < 0.2:
        return nested
    number = numbers[rng.integers(len(numbers))]
    return content[: number.start()] + nested + content[number.end() :]


def _swap_value(content: bytes, rng: Rng) -> bytes:
    """Put something strange in the place of a value of JSON, of one line of it, or take it away."""
    lines = content.split(b"\n")
    for part, place in ((content, None), *((lines[i], i) for i in rng.permutation(len(lines))[:3])):
        try:
            value = json.loads(part)
        except (ValueError, RecursionError):
            continue
        if not isinstance(value, dict | list) or not value:
            continue
        changed = _encoded(json.dumps(_swapped(value, rng)))
        if place is None:
            return changed
        lines[place] = changed
        return b"\n".join(lines)
    return _replace_word(content, rng)


def _swapped(value: Any, rng: Rng) -> Any:
    places = list(_places(value, 0))
    inside, key = places[rng.integers(len(places))]
    if rng.random() < 0.2:
        del inside[key]
    elif isinstance(inside, dict) and rng.random() < 0.2:
        inside[str(_some(TEXTS, rng))] = inside.pop(key)
    else:
        inside[key] = _some(_VALUES, rng)
    return value


def _places(content: Any, depth: int):
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(pairs)[:500]:
        yield content, key
        if isinstance(value, dict | list) and depth < 50:
            yield from _places(value, depth + 1)


def _some(choices: Any, rng: Rng) -> Any:
    return choices[rng.integers(len(choices))]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass" if "\ud800" in text else "surrogateescape")
