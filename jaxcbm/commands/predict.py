"""`jaxcbm predict`: labels and concepts for any number of pictures."""

import argparse
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import (
    add_command,
    add_distributed,
    add_inference,
    add_model,
    count,
    output_file,
)

_FORMATS = ("parquet", "csv", "jsonl")
_write_file = output_file(*(f".{name}" for name in _FORMATS))


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "predict",
        run,
        "classify pictures and name the concepts that decided",
        "jaxcbm predict --workdir=runs/quickstart --images=photos/ --output=labels.csv\n"
        "  jaxcbm predict --workdir=runs/quickstart --images='gs://BUCKET/photos-{000..123}.tar' "
        "--output=predictions/",
    )
    add_model(parser)
    parser.add_argument(
        "--images",
        required=True,
        help="a folder, a file, a glob in quotes, @FILE with one path a line, tar files in "
        "webdataset's layout, array_record files, or tfds:NAME/SPLIT (docs/predict.md)",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=_output,
        help=".csv, .jsonl or .parquet (which needs pip install 'jaxcbm[parquet]'); or a folder, "
        "which gets a file for every so many pictures: the same command goes on where it stopped",
    )
    parser.add_argument("--format", choices=_FORMATS, help="of a folder's files (default: parquet)")
    parser.add_argument(
        "--shard-rows", type=count(1), default=10_000, metavar="N",
        help="pictures a file of a folder; a tar file has one always (default: 10000)",
    )  # fmt: skip
    parser.add_argument(
        "--with", dest="arrays", type=_arrays, default=(), metavar="ARRAYS",
        help="more columns: activations, embeddings, or both with a comma between",
    )  # fmt: skip
    parser.add_argument(
        *("-k", "--top"), type=count(0), default=5, help="contributions to report (default: 5)"
    )
    add_inference(parser, "float32", "that of the folder, or the fastest here")
    add_distributed(parser)


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Predict, and say how many pictures there were."""
    from jaxcbm.experiment.predict import predict, skipped_list
    from jaxcbm.storage import as_path

    made = predict(
        args.workdir,
        args.images,
        args.output,
        args.top,
        format=args.format,
        shard_rows=args.shard_rows,
        arrays=args.arrays,
        batch_size=args.batch_size,
        dtype=args.dtype or "float32",
    )
    listed = skipped_list(as_path(str(args.output)))
    skipped = f", {len(made.skipped)} skipped (listed in {listed})" if made.skipped else ""
    print(f"{made.rows} pictures predicted{skipped}: {args.output}")


def _output(text: str) -> str | Path:
    """A file by its extension, or a folder."""
    path = Path(text)
    other = path.suffix.removeprefix(".") not in _FORMATS
    folder = text.endswith("/") or "://" in text or (other and (path.is_dir() or not path.suffix))
    return text if folder else _write_file(text)


def _arrays(text: str) -> tuple[str, ...]:
    names = tuple(sorted(set(text.split(","))))
    for name in names:
        if name not in ("activations", "embeddings"):
            raise argparse.ArgumentTypeError(f"{name!r} is neither activations nor embeddings")
    return names
