"""`jaxcbm export`: a folder that serves a finished model elsewhere."""

import argparse
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command, add_model


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "export",
        run,
        "write a finished model as a folder that another machine serves, with jaxcbm or jax alone",
        "jaxcbm export --workdir=runs/quickstart --output=runs/birds --with-encoder",
    )
    add_model(parser)
    parser.add_argument("--output", required=True, type=Path, help="a folder that is not there yet")
    parser.add_argument(
        "--with-encoder",
        action="store_true",
        help="add the encoder's own files, so that load_model needs no hub",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="type of the operands of the encoder's matrix products in the program (default: "
        "float32)",
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="add an ONNX graph in float32; it needs jax2onnx, which lives in an environment of "
        "its own (docs/exports.md)",
    )
    parser.add_argument(
        "--platforms",
        default="cpu,cuda,tpu",
        help="what the compiled program runs on, commas between (default: cpu,cuda,tpu)",
    )


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Export, and list the files."""
    from jaxcbm.model.export.folder import export_model
    from jaxcbm.model.model import load_model

    platforms = args.platforms.split(",")
    model = load_model(args.workdir)
    export_model(
        model,
        args.output,
        with_encoder=args.with_encoder,
        platforms=platforms,
        dtype=args.dtype,
        onnx=args.onnx,
    )
    for file in sorted(path for path in args.output.rglob("*") if path.is_file()):
        print(f"{file.stat().st_size / 2**20:10.2f} MiB  {file}")
