"""Labels and concepts for a folder or a glob of pictures, as a table."""

import csv
import glob
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from PIL import Image

from jaxcbm.atomic import atomic_file
from jaxcbm.csv_text import as_cell
from jaxcbm.data.image_source import FileImages, UnreadableImage
from jaxcbm.data.sources.folder import IMAGE_SUFFIXES, find_pictures
from jaxcbm.errors import UserError
from jaxcbm.extras import import_extra
from jaxcbm.model.explanation import contributions
from jaxcbm.model.model import Model, load_model
from jaxcbm.model.prediction import Prediction

BATCH = 256


def predict(workdir: Path | str, images: str, output: Path | str, top: int = 5) -> int:
    """Predict every picture; unreadable ones are skipped, counted and listed.

    Args:
        workdir: of a finished run, or an exported folder.
        images: a folder (searched recursively), a file, or a glob.
        output: .csv, .jsonl or .parquet.
        top: strongest contributions to report for each picture.

    Returns:
        How many pictures were predicted.

    Raises:
        UserError: no model, no readable pictures, or a format that cannot be written.
    """
    output = Path(output)
    write = _writer(output)
    model = load_model(workdir)
    files = find_images(images)
    rows = list(predict_files(model, files, top))
    if not rows:
        raise UserError(f"--images={images}: none of the {len(files)} pictures can be read")
    with atomic_file(output) as temporary:
        write(temporary, rows)
    return len(rows)


def find_images(pattern: str) -> list[Path]:
    """Picture files under a folder, or matching a glob, in sorted order.

    What is there by that very name is meant, whatever brackets or stars it has.
    """
    path = Path(pattern)
    if path.is_dir():
        files = find_pictures(path)
    elif os.path.lexists(path):
        files = [path]
    else:
        matched = map(Path, glob.glob(pattern, recursive=True))
        files = sorted(file for file in matched if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"--images={pattern}: no pictures there ({kinds})")
    return files


def predict_files(model: Model, files: Sequence[Path], top: int) -> Iterator[dict[str, Any]]:
    """One row a picture: file, label, probability, and the strongest contributions.

    `concepts` has their values by how they are said ("no waistband"), `reasons` the whole wording.
    """
    source = FileImages(tuple(files), root=Path())
    for start in range(0, len(files), BATCH):
        pictures: list[Image.Image] = []
        names: list[str] = []
        for index in range(start, min(start + BATCH, len(files))):
            try:
                pictures.append(source.load(index))
                names.append(source.name(index))
            except UnreadableImage as error:
                logging.warning("skipped %s: %s", source.name(index), error)
        if pictures:
            yield from _rows(model, names, model.predict(pictures), top)


def _writer(output: Path) -> Callable[[Path, Sequence[dict[str, Any]]], None]:
    """What writes a file of this extension; asked for before anything is predicted."""
    writers = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if output.suffix not in writers:
        raise UserError(f"{output}: the extension must be one of {', '.join(writers)}")
    if output.suffix == ".parquet":
        import_extra("pyarrow", "jaxcbm[parquet]", str(output))
    return writers[output.suffix]


def _rows(
    model: Model, names: Sequence[str], prediction: Prediction, top: int
) -> Iterator[dict[str, Any]]:
    probabilities, sets = prediction.class_probabilities, prediction.prediction_sets
    familiarity, cautions = prediction.familiarity, prediction.cautions
    for n, name in enumerate(names):
        label, alone = int(prediction.label_ids[n]), prediction.select(np.array([n]))
        strongest = contributions(alone, model.head[label], model.concepts.phrases, top)
        yield {
            "file": name,
            "label": prediction.labels[n],
            "probability": float(probabilities[n, label]),
            "set": [model.classes[k] for k in np.argsort(-probabilities[n]) if sets[n, k]],
            "familiarity": None if np.isnan(familiarity[n]) else float(familiarity[n]),
            "caution": cautions[n],
            "concepts": {c.label: c.value for c in strongest},
            "reasons": [str(c) for c in strongest],
        }


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        trust = "set", "familiarity", "caution"
        writer.writerow(["file", "label", "probability", *trust, "reasons"])
        for row in rows:
            probability = f"{row['probability']:.6f}"
            known = row["familiarity"] is not None
            familiarity = f"{row['familiarity']:.4f}" if known else ""
            sets, reasons = ("; ".join(row[name]) for name in ("set", "reasons"))
            trust = as_cell(sets), familiarity, row["caution"]
            names = as_cell(row["file"]), as_cell(row["label"])
            writer.writerow([*names, probability, *trust, as_cell(reasons)])


def _write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    concepts = [list(row["concepts"].items()) for row in rows]
    table = pyarrow.table(
        {
            "file": [row["file"] for row in rows],
            "label": [row["label"] for row in rows],
            "probability": [row["probability"] for row in rows],
            "set": pyarrow.array([row["set"] for row in rows], pyarrow.list_(pyarrow.string())),
            "familiarity": [row["familiarity"] for row in rows],
            "caution": [row["caution"] for row in rows],
            "concepts": pyarrow.array(concepts, pyarrow.map_(pyarrow.string(), pyarrow.float64())),
            "reasons": [row["reasons"] for row in rows],
        }
    )
    write_table(table, path)
