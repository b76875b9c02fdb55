"""Bytes to pixels in a few threads, within limits of size and time."""

import asyncio
import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jaxcbm.encoders.image.file import UnreadableImage, decode
from jaxcbm.encoders.image.open import upright_rgb
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.serve.limits import Limits

# Pillow releases the interpreter while it decodes, and each may hold a picture of the largest size.
_THREADS = min(4, os.cpu_count() or 1)


class Decoder:
    """Threads that decode, resize and crop; for one event loop."""

    def __init__(self, preprocess: Preprocess, limits: Limits):
        self._preprocess, self._limits = preprocess, limits
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")
        self._free = asyncio.Semaphore(_THREADS)

    async def __call__(self, content: bytes) -> np.ndarray:
        """A picture's pixels, uint8 [S, S, 3].

        Raises:
            UnreadableImage: it cannot be read, is too large, or takes too long. A thread cannot be
                stopped: one that takes longer keeps its place until it is done.
        """
        await self._free.acquire()
        work = asyncio.get_running_loop().run_in_executor(self._pool, self._decode, content)
        work.add_done_callback(self._done)
        seconds = self._limits.decode_seconds
        try:
            # The clock runs from here, where a thread is free: waiting is nobody's fault.
            async with asyncio.timeout(seconds):
                return await asyncio.shield(work)
        except TimeoutError as error:
            raise UnreadableImage(f"not decoded within {seconds:g} seconds") from error

    def close(self) -> None:
        """Let the threads end when they are done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _decode(self, content: bytes) -> np.ndarray:
        image = decode(io.BytesIO(content), self._limits.pixels)
        return self._preprocess.resize_and_crop(upright_rgb(image))

    def _done(self, work: asyncio.Future) -> None:
        self._free.release()
        # Asked for, so that nobody complains of what came after everybody had left.
        if not work.cancelled():
            work.exception()
