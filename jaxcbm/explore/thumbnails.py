"""Small pictures for a page, one after the other: only one is open at a time."""

import base64
import io
from collections.abc import Iterable, Iterator

from PIL import Image

SIDE = 128


def thumbnails(pictures: Iterable[Image.Image], side: int = SIDE) -> Iterator[str]:
    """Each picture as base64 of a WebP file, the longer edge of at most `side` pixels.

    >>> (text,) = thumbnails([Image.new("RGB", (300, 200))])
    >>> Image.open(io.BytesIO(base64.b64decode(text))).size
    (128, 85)
    """
    for picture in pictures:
        shown, buffer = picture.convert("RGB"), io.BytesIO()
        shown.thumbnail((side, side))
        shown.save(buffer, format="WEBP", quality=80, method=4)
        yield base64.b64encode(buffer.getvalue()).decode("ascii")
