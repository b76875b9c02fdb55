"""Predictions as rows of a table: their columns and types, and files of CSV, JSONL or Parquet."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxcbm.csv_text import as_cell
from jaxcbm.errors import UserError
from jaxcbm.extras import import_extra
from jaxcbm.model.model import Model
from jaxcbm.model.prediction import Prediction
from jaxcbm.model.strongest import strongest
from jaxcbm.model.wording import chance, reason, said

Format = Literal["parquet", "csv", "jsonl"]
Columns = Mapping[str, Sequence[Any] | np.ndarray]
Write = Callable[[Columns], None]
# Arrays that a table has when it is asked to, and what they are of a prediction.
ARRAYS = {"activations": "concept_activations", "embeddings": "image_embeddings"}
# Rows that Parquet keeps together.
_GROUP = 4096


class PredictionTable(NamedTuple):
    """What the rows of one model's predictions hold.

    Attributes:
        model: whose predictions they are.
        top: strongest contributions in each row.
        arrays: some of `ARRAYS`.
        said: each concept as it is said where it is there, and where it is not.
    """

    model: Model
    top: int
    arrays: tuple[str, ...]
    said: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, model: Model, top: int, arrays: Sequence[str] = ()) -> "PredictionTable":
        """The table of a model's predictions."""
        worded = ((said(phrase, True), said(phrase, False)) for phrase in model.concepts.phrases)
        return cls(model, top, tuple(sorted(arrays)), tuple(worded))

    def columns(self, names: Sequence[str], prediction: Prediction) -> Columns:
        """The rows of some pictures, column by column.

        Returns:
            `file`, `label`, `probability`, `set` (a list of classes, the likeliest first),
            `familiarity` (None where it is unknown), `caution`, `concepts` (a list of the strongest
            contributions: concept, value, and whether it is present), `reasons` (the same in
            words), and each of `arrays`, float32.
        """
        model, ids_N = self.model, np.asarray(prediction.label_ids)
        probabilities_NxK = prediction.class_probabilities
        likeliest_NxK = np.argsort(-probabilities_NxK, axis=1, kind="stable")
        sizes_N = prediction.prediction_sets.sum(axis=1).tolist()
        found = strongest(prediction, model.head[ids_N], self.top)
        decided = [self._decided(*row) for row in zip(*(x.tolist() for x in found), strict=True)]
        familiarity_N = prediction.familiarity.tolist()
        return {
            "file": names,
            "label": prediction.labels,
            "probability": probabilities_NxK[np.arange(len(ids_N)), ids_N].tolist(),
            "set": [
                [model.classes[k] for k in row[:size]]
                for row, size in zip(likeliest_NxK.tolist(), sizes_N, strict=True)
            ],
            "familiarity": [None if x != x else x for x in familiarity_N],
            "caution": prediction.cautions,
            "concepts": [concepts for concepts, _ in decided],
            "reasons": [reasons for _, reasons in decided],
            **{name: np.asarray(getattr(prediction, ARRAYS[name])) for name in self.arrays},
        }

    def _decided(
        self, columns: list, values: list, present: list, probabilities: list, percentiles: list
    ) -> tuple[list[dict[str, Any]], list[str]]:
        phrases, concepts, reasons = self.model.concepts.phrases, [], []
        parts = zip(columns, values, present, probabilities, percentiles, strict=True)
        for d, value, there, probability, percentile in parts:
            if value == 0.0:
                break
            concepts.append({"concept": phrases[d], "value": value, "present": there})
            reasons.append(reason(self.said[d][not there], value, chance(probability, percentile)))
        return concepts, reasons


@contextmanager
def writing(path: Path, kind: Format, table: PredictionTable) -> Iterator[Write]:
    """Write rows to a file as they come; gives the function that takes them.

    Args:
        path: the file, which is written in place.
        kind: of the file.
        table: what the rows hold.

    Raises:
        UserError: a package for this kind of file is missing.
    """
    check(kind, table.arrays)
    if kind == "parquet":
        yield from _parquet(path, table)
        return
    with open(path, "w", newline="" if kind == "csv" else "\n", encoding="utf-8") as file:
        if kind == "csv":
            writer = csv.writer(file)
            writer.writerow(_CSV)
            yield lambda columns: writer.writerows(_csv_rows(columns))
        else:
            yield lambda columns: file.writelines(_json_lines(columns))


def check(kind: Format, arrays: Sequence[str] = ()) -> None:
    """See that a table can be written in a format, before anything is predicted.

    Raises:
        UserError: it cannot.
    """
    if kind == "parquet":
        import_extra("pyarrow", "jaxcbm[parquet]", "Parquet")
    elif kind == "csv" and arrays:
        raise UserError(f"--with={','.join(arrays)}: CSV holds no arrays; write parquet or jsonl")


_CSV = ("file", "label", "probability", "set", "familiarity", "caution", "reasons")


def _csv_rows(columns: Columns) -> Iterator[tuple[str, ...]]:
    for name, label, p, classes, familiar, caution, reasons in _rows(columns, _CSV):
        familiarity = "" if familiar is None else f"{familiar:.4f}"
        trust = as_cell("; ".join(classes)), familiarity, caution
        yield as_cell(name), as_cell(label), f"{p:.6f}", *trust, as_cell("; ".join(reasons))


def _json_lines(columns: Columns) -> Iterator[str]:
    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in columns.items()}
    for row in _rows(plain, tuple(plain)):
        yield json.dumps(dict(zip(plain, row, strict=True)), ensure_ascii=False) + "\n"


def _rows(columns: Columns, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(columns[name] for name in names), strict=True)


def _parquet(path: Path, table: PredictionTable) -> Iterator[Write]:
    from pyarrow import RecordBatch, Table
    from pyarrow.parquet import ParquetWriter

    schema = _schema(table)
    waiting: list[RecordBatch] = []

    def flush(least: int = 1) -> None:
        if sum(map(len, waiting)) >= least:
            writer.write_table(Table.from_batches(waiting, schema), row_group_size=_GROUP)
            waiting.clear()

    def write(columns: Columns) -> None:
        arrays = [_arrow(columns[field.name], field.type) for field in schema]
        waiting.append(RecordBatch.from_arrays(arrays, schema=schema))
        flush(_GROUP)

    with ParquetWriter(path, schema) as writer:
        yield write
        flush()


def _schema(table: PredictionTable) -> Any:
    """Of every file alike, also of one without rows."""
    import pyarrow as pa

    decisive = {"concept": pa.string(), "value": pa.float64(), "present": pa.bool_()}
    fields = {
        "file": pa.string(),
        "label": pa.string(),
        "probability": pa.float64(),
        "set": pa.list_(pa.string()),
        "familiarity": pa.float64(),
        "caution": pa.string(),
        "concepts": pa.list_(pa.struct(decisive.items())),
        "reasons": pa.list_(pa.string()),
    }
    concepts, embedding = table.model.concept_embeddings.shape
    widths = {"activations": concepts, "embeddings": embedding}
    for name in table.arrays:
        fields[name] = pa.list_(pa.float32(), widths[name])
    # Which concept each of the activations is of.
    told = {"jaxcbm.concepts": json.dumps(table.model.concepts.phrases, ensure_ascii=False)}
    return pa.schema(fields.items(), metadata=told if "activations" in table.arrays else None)


def _arrow(column: Sequence[Any] | np.ndarray, kind: Any) -> Any:
    import pyarrow as pa

    if isinstance(column, np.ndarray):
        return pa.FixedSizeListArray.from_arrays(np.ravel(column), kind.list_size)
    return pa.array(column, kind)
