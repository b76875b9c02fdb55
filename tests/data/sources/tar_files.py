"""Tar files for tests: pictures under any names, and members that nobody honest writes."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image


def picture(value: int = 0, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (value, 0, 0)).save(buffer, format)
    return buffer.getvalue()


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member; `fields` of its header may say anything."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    for field, value in fields.items():
        setattr(header, field, value)
    return header, content


def write_tar(path: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """An archive whose headers are written as they are, right or wrong."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for header, content in members:
            tar.addfile(header, io.BytesIO(content) if header.size == len(content) else None)
    return path


def shard(path: Path, values: Sequence[int]) -> Path:
    """Pictures of these values in webdataset's layout, each beside its class."""
    members = []
    for value in values:
        members.append(member(f"{value:03d}.png", picture(value)))
        members.append(member(f"{value:03d}.cls", b"1"))
    return write_tar(path, members)
