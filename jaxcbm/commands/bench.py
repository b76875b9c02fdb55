"""`jaxcbm bench`: how fast this machine is, before a long run is planned on it."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command, output_file

NAMES = ("encode", "train", "predict")


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "bench",
        run,
        "measure how fast this machine encodes, trains and predicts, on all its devices",
        "jaxcbm bench --only=encode --encoder=openai/clip-vit-large-patch14 --dtype=bfloat16",
    )
    parser.add_argument(
        "--only", action="append", choices=NAMES, help="one of the three; may come again"
    )
    parser.add_argument("--encoder", help="a folder or a name (default: ViT-B/32, random weights)")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "bfloat16"),
        help="of the inputs of the encoder's matrix products (default: float32)",
    )
    parser.add_argument("--quick", action="store_true", help="toy sizes: does everything run?")
    parser.add_argument("--output", type=output_file(".json"), help="a .json file for the numbers")


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Measure, print the numbers, and write them if asked to."""
    from absl import logging

    from jaxcbm.atomic import write_json
    from jaxcbm.encoders.load import load_encoder
    from jaxcbm.experiment import speed
    from jaxcbm.lines import aligned

    sizes = speed.QUICK if args.quick else speed.SpeedSizes()
    encoder = (
        load_encoder(args.encoder, args.dtype)
        if args.encoder
        else speed.random_encoder(small=args.quick, dtype=args.dtype)
    )
    measure = {
        "encode": lambda: speed.encode_speed(encoder, sizes),
        "train": lambda: speed.train_speed(encoder.embed_dim, sizes),
        "predict": lambda: speed.predict_speed(encoder, sizes),
    }
    speeds = []
    for name in args.only or NAMES:
        logging.info("measuring %s", name)
        speeds += [each._asdict() for each in measure[name]()]
    machine = _machine()
    if args.output is not None:
        write_json(args.output, {"speeds": speeds, "machine": machine})
    rows = [(s["name"], f"{s['value']:,.1f} {s['unit']}", s["what"]) for s in speeds]
    print("\n".join(aligned(rows, right=(1,))))
    print(f"on {machine['devices']} x {machine['device']}, jax {machine['jax']}")


def _machine() -> dict[str, Any]:
    import platform

    import jax

    import jaxcbm

    return {
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "devices": jax.device_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxcbm": jaxcbm.__version__,
    }
