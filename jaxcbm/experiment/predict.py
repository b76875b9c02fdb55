"""Labels and concepts for any number of pictures, as a table in one file or in a folder."""

import contextlib
import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcbm.atomic import atomic_file
from jaxcbm.data.skipped import list_skipped
from jaxcbm.data.sources.pictures import PictureSource, open_pictures
from jaxcbm.data.sources.tar_shards import NamedPicture
from jaxcbm.distributed import preemption, processes
from jaxcbm.distributed.mesh import local_mesh
from jaxcbm.errors import UserError
from jaxcbm.experiment.prediction_folder import (
    PredictionFolder,
    Settings,
    begun_batch_size,
    model_hash,
    picture_hashes,
)
from jaxcbm.experiment.prediction_progress import PredictionProgress
from jaxcbm.experiment.prediction_table import Format, PredictionTable, check, writing
from jaxcbm.model.batch_inference import (
    PictureBatch,
    batch_inference,
    choose_batch_size,
    read_batches,
)
from jaxcbm.model.model import Model, load_model
from jaxcbm.model.prediction import Prediction
from jaxcbm.storage import as_path

FORMATS: tuple[Format, ...] = ("parquet", "csv", "jsonl")
SHARD_ROWS = 10_000


class Predicted(NamedTuple):
    """What became of all pictures.

    Attributes:
        rows: how many were predicted.
        skipped: name and reason of those that could not be read.
    """

    rows: int
    skipped: tuple[tuple[str, ...], ...]


def predict(
    workdir: Path | str,
    images: str,
    output: Path | str,
    top: int = 5,
    *,
    format: Format | None = None,
    shard_rows: int = SHARD_ROWS,
    arrays: Sequence[str] = (),
    batch_size: int | None = None,
    dtype: str = "float32",
) -> Predicted:
    """Predict every picture; unreadable ones are skipped, counted and listed beside the output.

    Args:
        workdir: of a finished run, or an exported folder.
        images: see `jaxcbm.data.sources.pictures.open_pictures`.
        output: a file (.csv, .jsonl or .parquet), or a folder, which gets a file for every
            `shard_rows` pictures or every tar file; a folder may be on gs://, and the same call
            goes on where it was stopped. Several processes of a run share the files of a folder.
        top: strongest contributions to report for each picture.
        format: of the files of a folder; Parquet by default.
        shard_rows: pictures a file of a folder.
        arrays: what else a row has: `activations`, `embeddings`.
        batch_size: pictures a step, over all devices of this process; None: what the folder was
            begun with, else see `choose_batch_size`.
        dtype: of the encoder's matrix products, "float32" or "bfloat16".

    Raises:
        Preempted: asked to stop, after a file of a folder.
        UserError: no model, no readable pictures, a format that cannot be written, or a folder
            that was begun with something else.
    """
    single, kind = single_file(output), _format(output, format)
    check(kind, arrays)
    model = load_model(workdir)
    model = model.on(local_mesh(), dtype)
    source, table = open_pictures(images, shard_rows), PredictionTable.of(model, top, arrays)
    if single:
        size = batch_size or choose_batch_size(model, source.count)
        return _into_file(Path(output), kind, table, source, size)
    place, (names, contents) = as_path(str(output)), picture_hashes(source)
    # A measured one may be another next time, and with it the last bits of what is written.
    size = batch_size or begun_batch_size(place) or choose_batch_size(model, source.count)
    size = int(processes.exchange("batch size", str(size))[0])
    how = (len(source.parts), kind, top, table.arrays, shard_rows, size, dtype)
    folder = PredictionFolder(place, Settings(model_hash(model), names, contents, *how))
    return _into_folder(folder, table, source)


def single_file(output: Path | str) -> bool:
    """Whether an output is one file: by its extension, where there is no folder of that name."""
    path = Path(output)
    known = path.suffix.removeprefix(".") in FORMATS and not str(output).endswith("/")
    return known and "://" not in str(output) and not path.is_dir()


def _format(output: Path | str, format: Format | None) -> Format:
    if not single_file(output):
        return format or "parquet"
    own: Any = Path(output).suffix.removeprefix(".")
    if format not in (None, own):
        raise UserError(f"--output={output} is no {format}: leave --format out, or name a folder")
    return own


def _into_file(
    output: Path, kind: Format, table: PredictionTable, source: PictureSource, batch_size: int
) -> Predicted:
    if processes.process_count() > 1:
        raise UserError(f"--output={output}: several processes write a folder, and not one file")
    every = itertools.chain.from_iterable(part.read() for part in source.parts)
    results, progress = (
        _predicted(table.model, [every], batch_size),
        PredictionProgress(source, 0, 0),
    )
    with contextlib.closing(results), progress, atomic_file(output) as temporary:
        made = _write(temporary, kind, table, results, progress)
        if not made.rows:
            raise _nothing(made)
    list_skipped(made.skipped, skipped_list(output))
    return made


def _into_folder(
    folder: PredictionFolder, table: PredictionTable, source: PictureSource
) -> Predicted:
    with folder.held():
        return _finish_folder(folder, table, source)


def _finish_folder(
    folder: PredictionFolder, table: PredictionTable, source: PictureSource
) -> Predicted:
    how, parts = folder.settings, source.parts
    share = range(processes.process_index(), len(parts), processes.process_count())
    found = {number: folder.finished(number) for number in share}
    whole = [record for record in found.values() if record is not None]
    missing = _dealt([number for number in share if found[number] is None], len(parts))
    pictures = sum(record.rows + len(record.skipped) for record in whole)
    results = _predicted(table.model, (parts[n].read() for n in missing), how.batch_size)
    stopped = False
    with contextlib.closing(results), PredictionProgress(source, len(whole), pictures) as progress:
        for number in missing:
            with folder.writing(number) as (temporary, told):
                told += _write(temporary, how.format, table, results, progress)
            progress.part()
            if stopped := preemption.notified() and number != missing[-1]:
                break
        # Also the moment from which all files are there for everybody.
        said = processes.exchange("predicted", "stopped" if stopped else "done")
    if "stopped" in said:
        raise preemption.Preempted("the end of a file")
    records = [folder.finished(number, verify=False) for number in range(len(parts))]
    if None in records:
        raise UserError(f"{folder.place} changes while it is written: run the command again")
    whole = [record for record in records if record is not None]
    made = Predicted(sum(r.rows for r in whole), tuple(pair for r in whole for pair in r.skipped))
    if not made.rows:
        raise _nothing(made)
    list_skipped(made.skipped, skipped_list(folder.place))
    return made


def _dealt(missing: list[int], parts: int) -> list[int]:
    """What all processes have found missing, dealt out evenly: this one's numbers."""
    mask = np.zeros(parts, bool)
    mask[missing] = True
    said = processes.exchange("missing", np.packbits(mask).tobytes().hex())
    masks = [np.frombuffer(bytes.fromhex(each), np.uint8) for each in said]
    every = np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(masks), count=parts))
    return every[processes.process_index() :: processes.process_count()].tolist()


class _Result(NamedTuple):
    """One batch, and whether it is the last of its group of pictures."""

    batch: PictureBatch
    prediction: Prediction
    last: bool


def _predicted(
    model: Model, groups: Iterable[Iterable[NamedPicture]], batch_size: int
) -> Generator[_Result, None, None]:
    """What the model says of groups of pictures, in order.

    No batch reaches over the end of a group, so that what is said of a group does not depend on
    which others are predicted in the same run. Each group ends with a batch, perhaps an empty one.
    """
    ends: deque[bool] = deque()
    preprocess, size = model.loaded_encoder.preprocess, model.loaded_encoder.image_size
    none = PictureBatch((), np.zeros((0, size, size, 3), np.uint8))

    def batches() -> Iterator[PictureBatch]:
        for group in groups:
            before: PictureBatch | None = None
            for batch in read_batches(group, preprocess, batch_size):
                if before is not None:
                    ends.append(False)
                    yield before
                before = batch
            ends.append(True)
            yield none if before is None else before

    for batch, prediction in batch_inference(model, batches(), batch_size):
        yield _Result(batch, prediction, ends.popleft())


def _write(
    path: Path,
    kind: Format,
    table: PredictionTable,
    results: Iterator[_Result],
    progress: PredictionProgress,
) -> Predicted:
    """Write the rows of the next group of pictures."""
    rows, skipped = 0, []
    with writing(path, kind, table) as write:
        for batch, prediction, last in results:
            if batch.names:
                write(table.columns(batch.names, prediction))
            rows += len(batch.names)
            skipped += batch.skipped
            progress.pictures(len(batch.names), batch.skipped)
            if last:
                break
    return Predicted(rows, tuple(skipped))


def _nothing(made: Predicted) -> UserError:
    first = f" (first: {': '.join(made.skipped[0])})" if made.skipped else ""
    return UserError(f"no pictures, or none that can be read, among {len(made.skipped)}{first}")


def skipped_list(output: Any) -> Any:
    """The path of the list of pictures that could not be read, beside an output."""
    return output.with_name(f"{output.stem}.skipped.jsonl")
