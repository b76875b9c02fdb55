"""Pixels decoded in processes, a batch at a time, handed over in order: through grain."""

from collections.abc import Iterator
from typing import NamedTuple

import grain
import numpy as np
from absl import flags

from jaxcbm.data.decoding import decode_row, fill_black
from jaxcbm.data.image_source import ImageSource
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.errors import UserError

# Batches that each process has ready.
_AHEAD = 2


class _Decoder(NamedTuple):
    """Rows of one batch to their pixels, or why there are none; travels to the processes."""

    source: ImageSource
    preprocess: Preprocess

    def __call__(self, rows_B: np.ndarray) -> tuple[np.ndarray, str]:
        """Pixels uint8 [B, S, S, 3] and "", or nothing and a message."""
        how = self.source, self.preprocess
        try:
            pixels = [None if row < 0 else decode_row(*how, int(row)) for row in rows_B]
            return fill_black(pixels, *how), ""
        except UserError as error:
            # grain would hand an exception over as one of its own.
            return np.zeros((0, 0, 0, 3), np.uint8), str(error)


def decoded_in_processes(
    source: ImageSource, preprocess: Preprocess, rows_SxB: np.ndarray, workers: int
) -> Iterator[np.ndarray]:
    """The pixels of each batch, in order, whatever the number of processes.

    Processes start anew for each call, which takes seconds; they end with the iterator. A script
    that comes here must keep what it does under `if __name__ == "__main__"`.

    Args:
        source: N images; must pickle.
        preprocess: how they enter the encoder.
        rows_SxB: int64; -1 for a black picture.
        workers: processes, at least 1.

    Raises:
        UserError: an image cannot be read.
    """
    # grain hands absl's flags on to its processes, parsed or not.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    batches = (
        grain.MapDataset.source(list(rows_SxB))
        .map(_Decoder(source, preprocess))
        .to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))
        .mp_prefetch(grain.MultiprocessingOptions(workers, per_worker_buffer_size=_AHEAD))
    )
    iterator = iter(batches)
    try:
        for pixels, message in iterator:
            if message:
                raise UserError(message)
            yield pixels
    finally:
        iterator.close()
