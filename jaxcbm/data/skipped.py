"""Images that cannot be read: a list of all, and a line that names some of them."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from jaxcbm.data.features import Features
from jaxcbm.distributed.processes import is_main
from jaxcbm.storage import read_whole, write_whole

SKIPPED_FILE = "skipped.jsonl"
# Images that a line names.
_NAMED = 5


def list_skipped(skipped: Sequence[tuple[str, ...]], listing: Any) -> bool:
    """Write names and reasons, a JSON object a line, or remove what an earlier time has left.

    Args:
        skipped: name and reason of each.
        listing: a path, here or gs://; of several processes, process 0 writes it.

    Returns:
        Whether an earlier time has left another list, or none.
    """
    if not is_main():
        return False
    text = "".join(json.dumps({"image": n, "reason": r}) + "\n" for n, r in skipped).encode()
    known = read_whole(listing) if listing.exists() else b""
    if known and not text:
        listing.unlink(missing_ok=True)
    elif known != text:
        write_whole(listing, text)
    return known != text


@functools.cache
def tell_skipped(skipped: tuple[tuple[str, str], ...], images: int, listing: Any = None) -> None:
    """Warn of images that are left out: the same ones once a process, and in one process of a run.

    Args:
        skipped: name and reason of each.
        images: how many there were.
        listing: where all of them are listed; None where nobody keeps a list.
    """
    if not skipped or not is_main():
        return
    named = "; ".join(f"{name}: {reason}" for name, reason in skipped[:_NAMED])
    more = len(skipped) - _NAMED
    logging.warning(
        "skipped %d of %d images that cannot be read (%s%s)%s",
        *(len(skipped), images, named, f"; and {more} more" if more > 0 else ""),
        f"; all are listed in {listing}" if listing else "",
    )


def report_skipped(parts: Sequence[Features], workdir: Path | str | None) -> None:
    """List in a work directory what was left out when its data were encoded, and warn of it.

    Once: the next command on the same data finds the list, and warns of what is new.

    Args:
        parts: what was encoded.
        workdir: its `skipped.jsonl` is the list; None keeps none.
    """
    skipped = tuple(skip for part in parts for skip in part.skipped)
    listing = None if workdir is None else Path(workdir) / SKIPPED_FILE
    if listing is None or list_skipped(skipped, listing):
        tell_skipped(skipped, sum(map(len, parts)) + len(skipped), listing)
