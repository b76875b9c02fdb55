"""A picture that takes too long keeps nobody but itself from being decoded."""

import asyncio
import threading
import time

import numpy as np
import pytest
from served import picture_bytes

from jaxcbm.encoders.image.file import UnreadableImage
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.serve.decoder import Decoder
from jaxcbm.serve.limits import Limits

PREPROCESS = Preprocess.square(8)


def test_it_decodes_as_the_model_does():
    decoder = Decoder(PREPROCESS, Limits())
    found = asyncio.run(decoder(picture_bytes(1)))
    np.testing.assert_array_equal(found, PREPROCESS(picture_bytes(1)))
    decoder.close()


def test_one_that_takes_too_long_is_given_up_and_its_thread_not_given_to_others(monkeypatch):
    monkeypatch.setattr("jaxcbm.serve.decoder._THREADS", 1)
    decoder, opened = Decoder(PREPROCESS, Limits(decode_seconds=0.2)), threading.Event()
    decode = decoder._decode
    monkeypatch.setattr(
        decoder, "_decode", lambda content: opened.wait(20) if not content else decode(content)
    )

    async def both():
        began = time.monotonic()
        with pytest.raises(UnreadableImage, match=r"not decoded within 0.2 seconds"):
            await decoder(b"")
        assert time.monotonic() - began < 2
        # The clock of the next one starts when the thread is free again.
        behind = asyncio.ensure_future(decoder(picture_bytes(1)))
        await asyncio.sleep(0.5)
        assert not behind.done()
        opened.set()
        return await behind

    assert asyncio.run(both()).shape == (8, 8, 3)
    decoder.close()
