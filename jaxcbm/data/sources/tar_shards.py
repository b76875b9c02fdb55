"""Pictures in tar files, in webdataset's layout: read as a stream, and never written anywhere.

A tar file may come from anybody. Nothing in it is a path here: a name is a text, a link leads
nowhere, and no member is read that is larger than a picture may be.
"""

import io
import posixpath
import tarfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

from jaxcbm.data.image_source import as_utf8
from jaxcbm.data.sources.folder import IMAGE_SUFFIXES
from jaxcbm.encoders.image.file import MAX_BYTES, UnreadableImage, decode, open_ordinary, reason
from jaxcbm.encoders.image.open import upright_rgb

# Bytes of the headers that hold a long name or other facts of the member after them.
_LONGEST_HEADER = 2**20
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
# tarfile copies what is left of it at every read.
_BUFFER = 2**14
# Bytes of pictures that are read and not yet decoded.
_MOST_WAITING = 2**28

NamedPicture = tuple[str, Callable[[], Image.Image]]
"""A picture's name, and what opens it or raises `UnreadableImage` with the reason."""


def read_tar(path: Any) -> Iterator[NamedPicture]:
    """The pictures of a tar file by the suffixes of their names, in its own order.

    What is no ordinary file, is too large, or has a name that leads out of the archive is given
    with the reason as unreadable; members without a picture's suffix are passed over. An archive
    that ends early or is damaged is given as one more unreadable picture, with its own name.

    Args:
        path: an uncompressed tar file, here or remote.

    Yields:
        `PATH/NAME` and what opens the picture.
    """
    place, count, room = as_utf8(str(path)), 0, _Room()
    try:
        file, size = open_ordinary(path)
        with file, tarfile.open(fileobj=file, mode="r|", tarinfo=_Header, bufsize=_BUFFER) as tar:
            members: list[Any] = vars(tar)["members"]  # it would keep all that it has seen
            while (member := tar.next()) is not None:
                # Where the next header is to be: the stream would be read to its end, and beyond.
                if tar.offset > size:
                    raise tarfile.ReadError("unexpected end of data")
                if _is_picture(member.name):
                    yield f"{place}/{as_utf8(member.name)}", _opener(tar, member, room)
                    count += 1
                members.clear()
            # tarfile takes a damaged header, or none, for the end.
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("no end mark, or a damaged header")
    except UnreadableImage as error:
        yield place, _refusal(str(error))
    # tarfile raises ValueError, OverflowError, RecursionError and more on hostile headers.
    except Exception as error:
        yield place, _refusal(f"{reason(error)}: nothing is read after {count} pictures")


class _Header(tarfile.TarInfo):
    """A member whose header does not ask for memory or time without bound."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> "_Header":
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or found.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a header that is not read")
        if found.type in _HEADERS and found.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {found.size:,} bytes")
        return found


def _is_picture(name: str) -> bool:
    bare = posixpath.basename(name)
    return posixpath.splitext(bare)[1].lower() in IMAGE_SUFFIXES and not bare.startswith(".")


def _opener(
    tar: tarfile.TarFile, member: tarfile.TarInfo, room: "_Room"
) -> Callable[[], Image.Image]:
    """What opens a picture; its bytes are read at once, as the stream goes on."""
    if not member.isreg() or member.issparse():
        return _refusal("not an ordinary file")
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return _refusal("its name leads out of the archive")
    if member.size > MAX_BYTES:
        return _refusal(f"larger than {MAX_BYTES >> 20} MiB")
    file = tar.extractfile(member)
    content = b"" if file is None else file.read()
    return room.opener(content)


class _Room:
    """Room for the bytes of pictures that wait to be decoded; reading stops while it is full.

    Whoever reads must have others open what it has read, as threads that decode ahead do.
    """

    def __init__(self):
        self._changed, self._bytes = threading.Condition(), 0

    def opener(self, content: bytes) -> Callable[[], Image.Image]:
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < _MOST_WAITING)
            self._bytes += len(content)

        def open_once() -> Image.Image:
            try:
                return upright_rgb(decode(io.BytesIO(content)))
            finally:
                with self._changed:
                    self._bytes -= len(content)
                    self._changed.notify()

        return open_once


def _refusal(why: str) -> Callable[[], Image.Image]:
    def refuse() -> Image.Image:
        raise UnreadableImage(why)

    return refuse
