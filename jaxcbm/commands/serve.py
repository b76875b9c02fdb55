"""`jaxcbm serve`: a finished model over HTTP."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command, add_model, amount, count

_EXTRA = "jaxcbm[serve]"
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "serve",
        run,
        "answer over HTTP: labels, reasons and concepts of pictures that are sent",
        "jaxcbm serve --workdir=runs/quickstart",
    )
    add_model(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: this machine alone)"
    )
    parser.add_argument("--port", type=count(0), default=8000, help="0: any (default: 8000)")
    parser.add_argument(
        "--max-batch",
        type=count(1),
        default=32,
        help="pictures in a batch, a power of two (default: 32)",
    )
    group = parser.add_argument_group("limits")
    for name, least, default, meaning in (
        ("--max-body", 1, 32, "MiB of a request"),
        ("--max-held", 1, 256, "MiB of all requests under way"),
        ("--max-pictures", 1, 64, "pictures in a request"),
        ("--max-pixels", 1, 2**25, "pixels of a picture"),
        ("--max-queue", 1, 256, "pictures under way"),
        ("--max-per-client", 0, 32, "requests under way from one address; 0: any number"),
        ("--max-connections", 1, 512, "connections at a time"),
    ):
        group.add_argument(
            name, type=count(least), default=default, help=f"{meaning} (default: {default:,})"
        )
    for name, seconds, meaning in (
        ("--timeout", 30.0, "seconds for a request"),
        ("--header-timeout", 10.0, "seconds for a request's header"),
        ("--decode-timeout", 5.0, "seconds to decode a picture"),
        ("--drain", 1.0, "seconds to go on after SIGTERM"),
    ):
        group.add_argument(
            name, type=amount, default=seconds, help=f"{meaning} (default: {seconds:g})"
        )
    group = parser.add_argument_group("behind a proxy")
    group.add_argument(
        "--proxy", default="", metavar="ADDRESS", help="whose X-Forwarded-For is believed"
    )
    group.add_argument(
        "--hostname",
        action="append",
        default=[],
        help="a name that clients call this server by; others are refused (default: those of this "
        "machine on loopback, else any)",
    )


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Serve until told to stop."""
    from absl import logging

    from jaxcbm.extras import import_extra

    for package in ("starlette", "uvicorn", "python_multipart", "prometheus_client"):
        import_extra(package, _EXTRA, "jaxcbm serve")
    from jaxcbm.model.model import load_model
    from jaxcbm.serve.app import make_app
    from jaxcbm.serve.limits import Limits
    from jaxcbm.serve.server import is_loopback, listen
    from jaxcbm.serve.server import run as run_server
    from jaxcbm.serve.service import make_service

    limits = Limits(
        body_bytes=args.max_body << 20,
        held_bytes=args.max_held << 20,
        pictures=args.max_pictures,
        pixels=args.max_pixels,
        queue=args.max_queue,
        per_client=args.max_per_client,
        connections=args.max_connections,
        header_seconds=args.header_timeout,
        seconds=args.timeout,
        decode_seconds=args.decode_timeout,
    )
    model, loopback = load_model(args.workdir), is_loopback(args.host)
    with listen(args.host, args.port) as listener:
        service = make_service(model, limits, args.max_batch)
        hosts = [name.lower() for name in args.hostname]
        if loopback:
            hosts += _LOOPBACK_NAMES
        else:
            logging.warning(
                "listening at %s: whoever reaches this port can use the model, without a password",
                args.host,
            )
        host = f"[{args.host}]" if ":" in args.host else args.host
        print(f"listening at http://{host}:{listener.getsockname()[1]}/", flush=True)
        run_server(make_app(service, hosts), service, listener, args.proxy, args.drain)
