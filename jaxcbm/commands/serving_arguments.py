"""The commands that take a model elsewhere and measure a machine. Imports happen when they run."""

import argparse
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command, add_workdir


def _export(args: argparse.Namespace, _: dict) -> None:
    from jaxcbm.commands import export

    platforms = tuple(args.platforms.split(","))
    for file in export.run(
        args.workdir, args.output, with_encoder=args.with_encoder, platforms=platforms
    ):
        print(f"{file.stat().st_size / 2**20:10.2f} MiB  {file}")


def _bench(args: argparse.Namespace, _: dict) -> None:
    from jaxcbm.commands import bench

    only = args.only or bench.NAMES
    settings = {"encoder": args.encoder, "dtype": args.dtype, "quick": args.quick}
    print(bench.table(bench.run(only, **settings, output=args.output)))


def add_export(commands: Any) -> None:
    """`jaxcbm export`: a folder that serves a model elsewhere."""
    parser = add_command(
        commands,
        "export",
        _export,
        "write a finished model as a folder that another machine serves, with jaxcbm or jax alone",
        "jaxcbm export --workdir=runs/quickstart --output=runs/birds --with-encoder",
    )
    add_workdir(parser, "a finished run, or a model")
    parser.add_argument("--output", required=True, type=Path, help="a folder that is not there yet")
    parser.add_argument(
        "--with-encoder",
        action="store_true",
        help="add the encoder's own files, so that load_model needs no hub",
    )
    parser.add_argument(
        "--platforms",
        default="cpu,cuda,tpu",
        help="what the compiled program runs on, commas between (default: cpu,cuda,tpu)",
    )


def add_bench(commands: Any) -> None:
    """`jaxcbm bench`: the speed of this machine."""
    parser = add_command(
        commands,
        "bench",
        _bench,
        "measure how fast this machine encodes, trains and predicts, on all its devices",
        "jaxcbm bench --only=encode --encoder=openai/clip-vit-large-patch14 --dtype=bfloat16",
    )
    parser.add_argument("--only", action="append", help="encode, train or predict; may come again")
    parser.add_argument("--encoder", help="a folder or a name (default: ViT-B/32, random weights)")
    parser.add_argument("--dtype", default="float32", help="float32 (default) or bfloat16")
    parser.add_argument("--quick", action="store_true", help="toy sizes: does everything run?")
    parser.add_argument("--output", type=Path, help="a .json file for the numbers")
