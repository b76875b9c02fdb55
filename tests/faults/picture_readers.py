"""Pictures of every format that is read, and what can be packed into one."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from readers import Reader

from jaxcbm.encoders.image.file import FORMATS
from jaxcbm.encoders.image.open import open_image
from jaxcbm.encoders.image.preprocess import Preprocess

_SMALL = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8))


def _saved(kind: str, picture: Image.Image = _SMALL, **more: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **more)
    return buffer.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _png_with(kind: bytes, content: bytes) -> bytes:
    """A chunk behind the header."""
    png = _saved("PNG")
    return png[:33] + _chunk(kind, content) + png[33:]


def _zeros(mebibytes: int) -> bytes:
    return zlib.compress(bytes(mebibytes * 2**20), 9)


def _texts() -> bytes:
    info = PngImagePlugin.PngInfo()
    for n in range(200):
        info.add_text(f"key {n}", "x" * 3000, zip=bool(n % 2))
    return _saved("PNG", pnginfo=info)


def _tiff_loop() -> bytes:
    """The next directory is the first."""
    tiff = bytearray(_saved("TIFF"))
    start = struct.unpack("<I", tiff[4:8])[0]
    count = struct.unpack("<H", tiff[start : start + 2])[0]
    end = start + 2 + 12 * count
    tiff[end : end + 4] = struct.pack("<I", start)
    return bytes(tiff)


def _frames(kind: str, count: int, **more: Any) -> bytes:
    frames = [_SMALL.rotate(n) for n in range(count)]
    return _saved(kind, save_all=True, append_images=frames, **more)


def _exif(entries: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    for n in range(entries):
        exif[0x9000 + n] = "x" * 100
    return exif


def _jpeg_markers() -> bytes:
    """Hundreds of segments of metadata before the picture."""
    jpeg = _saved("JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 60_002) + b"Exif\0\0II*\0" + bytes(59_990)
    icc = (
        b"\xff\xe2" + struct.pack(">H", 30_002) + b"ICC_PROFILE\0" + bytes([1, 255]) + bytes(29_986)
    )
    return jpeg[:2] + segment * 50 + icc * 100 + jpeg[2:]


def _vast_gif() -> bytes:
    gif = bytearray(_saved("GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    return bytes(gif)


def _vast_bmp() -> bytes:
    bmp = bytearray(_saved("BMP"))
    bmp[18:26] = struct.pack("<ii", 2**30, -(2**30))
    return bytes(bmp)


def _vast_zeros() -> bytes:
    """Eleven thousand pixels a side of nothing, in a hundred kilobytes: as many as are read."""
    side = 11_500
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes((3 * side + 1) * side), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")
    )


BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG text": lambda: _png_with(b"zTXt", b"key\0\0" + _zeros(300)),
    "PNG international text": lambda: _png_with(b"iTXt", b"key\0\1\0\0\0" + _zeros(300)),
    "PNG colour profile": lambda: _png_with(b"iCCP", b"name\0\0" + _zeros(300)),
    "PNG texts": _texts,
    "PNG frames": lambda: _frames("PNG", 200),
    "PNG of as many pixels as are read": _vast_zeros,
    "JPEG markers": _jpeg_markers,
    "JPEG Exif": lambda: _saved("JPEG", exif=_exif(400)),
    "GIF frames": lambda: _frames("GIF", 300),
    "GIF of a vast screen": _vast_gif,
    "BMP of a vast size": _vast_bmp,
    "TIFF directories in a ring": _tiff_loop,
    "TIFF pages": lambda: _frames("TIFF", 200),
    "WebP animation": lambda: _frames("WEBP", 100, duration=1),
    "WebP profile": lambda: _saved("WEBP", icc_profile=bytes(2**20), exif=_exif(100)),
}
_BOMBS = {
    "PNG": ("PNG texts", "PNG frames"),
    "JPEG": ("JPEG Exif", "JPEG markers"),
    "GIF": ("GIF frames",),
    "TIFF": ("TIFF pages", "TIFF directories in a ring"),
    "WEBP": ("WebP animation", "WebP profile"),
}
# 2^27 pixels of four bytes, a copy as RGB and one on white.
MEBIBYTES = 2048


def _contents(kind: str) -> dict[str, Callable[[], bytes]]:
    """Whole pictures of a format."""
    made: dict[str, Callable[[], bytes]] = {"plain": lambda: _saved(kind)}
    if kind in ("GIF", "PNG", "TIFF", "WEBP"):
        made["alpha"] = lambda: _saved(kind, _SMALL.convert("RGBA"))
    if kind in ("JPEG2000", "PNG", "PPM", "TIFF"):
        deep = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)
        made["deep"] = lambda: _saved(kind, deep)
    if kind == "JPEG":
        made["progressive"] = lambda: _saved(kind, progressive=True)
    if kind == "TIFF":
        for name in ("tiff_lzw", "jpeg", "tiff_deflate", "packbits"):
            made[name] = partial(_saved, kind, compression=name)
    return made | {name: BOMBS[name] for name in _BOMBS.get(kind, ())}


def _pictures(kind: str) -> Reader:
    contents = _contents(kind)

    def write(folder: Path) -> None:
        for name, make in contents.items():
            (folder / name).write_bytes(make())

    def read(folder: Path) -> None:
        for name in contents:
            assert _SQUARE(open_image(folder / name)).shape == (16, 16, 3)

    return Reader(write, dict.fromkeys(contents), read, MEBIBYTES)


_SQUARE = Preprocess.square(16)
Image.init()

PICTURES: dict[str, Reader] = {
    f"pictures ({kind})": _pictures(kind) for kind in FORMATS if kind in Image.SAVE
}
