"""What a server is made of: a model, the queue before it, and what is counted."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np

from jaxcbm.encoders.image.file import UnreadableImage
from jaxcbm.errors import UserError
from jaxcbm.model.model import Model
from jaxcbm.model.prediction import Prediction
from jaxcbm.serve.answers import PredictedBatch
from jaxcbm.serve.batcher import Batcher
from jaxcbm.serve.decoder import Decoder
from jaxcbm.serve.limits import Admission, Limits
from jaxcbm.serve.metrics import Metrics
from jaxcbm.serve.pictures import Picture


class Seen(NamedTuple):
    """A picture that was predicted.

    Attributes:
        pixels: uint8 [S, S, 3], as the encoder saw it.
        batch: that it came in, predicted.
        row: its own in that.
    """

    pixels: np.ndarray
    batch: PredictedBatch
    row: int


@dataclass(eq=False)
class Service:
    """A model that is asked by many.

    Attributes:
        model: that answers.
        limits: what is accepted.
        batcher: the queue and the device.
        decoder: bytes to pixels.
        admission: what requests under way hold.
        metrics: what is counted.
        stopping: whether the server is about to end; set by whoever was told to end it.
    """

    model: Model
    limits: Limits
    batcher: Batcher[PredictedBatch]
    decoder: Decoder
    metrics: Metrics
    admission: Admission
    stopping: bool = field(default=False)

    @property
    def ready(self) -> bool:
        """Whether requests are welcome."""
        return self.batcher.ready.is_set() and self.batcher.healthy and not self.stopping

    async def look(self, pictures: Sequence[Picture]) -> list[Seen | UnreadableImage]:
        """Decode and predict pictures, each in whatever batch it comes; there must be places."""
        return await asyncio.gather(*(self._look(picture.content) for picture in pictures))

    async def _look(self, content: bytes) -> Seen | UnreadableImage:
        try:
            pixels = await self.decoder(content)
        except UnreadableImage as error:
            return error
        found = await asyncio.wrap_future(self.batcher.submit(pixels))
        return Seen(pixels, found.batch, found.row)


def make_service(model: Model, limits: Limits, max_batch: int = 32) -> Service:
    """A service whose device thread begins to compile at once.

    Raises:
        UserError: the model's encoder cannot be loaded, or takes pictures of no size of its own.
    """
    preprocess, metrics = model.loaded_encoder.preprocess, Metrics()
    if preprocess.output_size is None:
        raise UserError(f"encoder {model.encoder_name}: its pictures have no size of their own")
    compute = compute_of(model)
    batcher = Batcher(
        lambda pixels: PredictedBatch(model, compute(pixels)),
        (*preprocess.output_size, 3),
        max_batch=max_batch,
        limit=limits.queue,
        observe=metrics.batch,
    )
    metrics.watch(batcher)
    decoder = Decoder(preprocess, limits)
    return Service(model, limits, batcher, decoder, metrics, Admission(limits))


def compute_of(model: Model) -> Callable[[np.ndarray], Prediction]:
    """What the device does: uint8 [B, S, S, 3] to a prediction of B pictures."""
    predict, weights = jax.jit(model.apply), model.weights

    def compute(pixels: np.ndarray) -> Prediction:
        return jax.device_get(predict(weights, pixels))

    return compute
