"""`jaxcbm cache`: the feature stores that all runs share."""

import argparse
import re
import time
from typing import Any

from jaxcbm.commands.command import add_cache, add_command
from jaxcbm.errors import UserError

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0}
_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "cache",
        run,
        "list the encoded images that all runs share, or remove those that nobody uses",
        "jaxcbm cache --prune --older-than=30d",
    )
    add_cache(parser)
    parser.add_argument("--prune", action="store_true", help="remove stores that no run uses")
    parser.add_argument(
        "--older-than", type=_duration, metavar="30d", help="those unused for days, hours (12h) ..."
    )
    parser.add_argument(
        "--keep-bytes",
        type=_size,
        metavar="20G",
        help="those unused for longest, until the rest takes no more; 0 for all",
    )


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """List, or prune and list what went."""
    from jaxcbm.data.store.cache import prune, shared_features, stores_in
    from jaxcbm.data.store.encoding import readable_size
    from jaxcbm.lines import aligned

    limits = {"older_than": args.older_than, "keep_bytes": args.keep_bytes}
    if args.prune == (set(limits.values()) == {None}):
        raise UserError("--prune goes with --older-than or --keep-bytes, and these with --prune")
    root = shared_features()
    if args.prune:
        stores, used = prune(root, **limits)
        for store in used:
            print(f"in use, stays: {store.folder}")
    else:
        stores = stores_in(root)
    now, rows = time.time(), [("store", "encoder", "images", "size", "last used")]
    for store in stores:
        size, key = readable_size(store.bytes), store.folder.name[:12]
        rows.append((key, store.encoder, f"{store.images:,}", size, _ago(now - store.used)))
    print(*(aligned(rows, right=(2, 3)) if stores else []), sep="\n", end="\n" * bool(stores))
    total = readable_size(sum(store.bytes for store in stores))
    print(f"{root}: {total} in {len(stores)} stores{' removed' if args.prune else ''}")


def _duration(text: str) -> float:
    found = re.fullmatch(r"(\d+)([dhm])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give 30d, 12h or 45m")
    return int(found[1]) * _SECONDS[found[2]]


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", text.upper())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes: give 20G or 500M")
    return int(found[1]) * _BYTES[found[2]]


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit} ago"
    return "now"
