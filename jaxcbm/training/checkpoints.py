"""Checkpoints of a fit, through Orbax; the only module that knows its interface."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from logging import LogRecord, getLogger
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from orbax.checkpoint import v1 as ocp

from jaxcbm.distributed.processes import exchange
from jaxcbm.errors import UserError
from jaxcbm.lines import first_line
from jaxcbm.memory_limits import memory_ran_out
from jaxcbm.ordinary_file import first_strange


class Checkpoints:
    """The two newest checkpoints of a run, written in the background.

    A checkpoint becomes visible by one rename, so a run killed at any moment finds a whole one.
    It carries a checksum of each array and a hash of what is said beside them, so that one which
    was damaged later is told, and the one before is used.
    """

    def __init__(self, folder: Path | str):
        # Orbax's own policies do not match the protocol that it declares for them.
        always: Any = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
        newest: Any = ocp.training.preservation_policies.LatestN(2)
        self._folder = Path(folder).absolute()
        self._checkpointer = ocp.training.Checkpointer(
            str(self._folder),
            save_decision_policy=always,
            preservation_policy=newest,
        )
        latest = self._checkpointer.latest
        # The newest step, also while it is still being written.
        self.latest_step: int | None = None if latest is None else latest.step

    def save(self, step: int, tree: Any, metadata: dict[str, Any]) -> None:
        """Save a pytree of arrays and a JSON object; returns once the arrays are copied."""
        # The caller goes on and donates these buffers to the next step: write from copies.
        copied = jax.tree.map(jnp.copy, flatten(tree))
        content = json.dumps({"said": metadata, "checksums": _checksums(copied)})
        self._checkpointer.save_checkpointables_async(
            step,
            {"state": copied},
            custom_metadata={"content": content, "sha256": _sha256(content)},
        )
        self.latest_step = step

    def metadata(self) -> dict[str, Any] | None:
        """The JSON object of the newest checkpoint that is whole so far; None if there is none."""
        for step in self._steps():
            with suppress(Exception):
                return self._content(step)["said"]
        return None

    def restore(
        self, like: Any, accept: Callable[[dict[str, Any]], None]
    ) -> tuple[Any, dict[str, Any]] | None:
        """The newest whole checkpoint and its JSON object; None if there is none at all.

        Newer ones, which are damaged, are removed: the run writes them again.

        Args:
            like: a pytree of arrays, or of ShapeDtypeStruct with shardings; gives shapes, types and
                placement.
            accept: called with the JSON object of a checkpoint before its arrays are read; raises
                where the run must not go on with it.

        Raises:
            UserError: there are checkpoints, and none of them is whole.
        """
        damaged: dict[int, str] = {}
        getLogger("asyncio").addFilter(_is_news)
        for step in self._steps():
            try:
                tree, said = self._load(step, like, accept)
                reason = ""
            except UserError:
                raise
            # Orbax and the libraries below it raise whatever damaged bytes make them raise.
            except Exception as error:
                if memory_ran_out(error) is not None:
                    raise
                tree, said, reason = None, {}, f"{first_line(error):.100}"
            if set(exchange(f"checkpoint/{step}", str(bool(reason)))) == {"False"}:
                for other in damaged:
                    self._checkpointer.delete(other)
                self.latest_step = step
                return tree, said
            logging.warning("checkpoint %d of %s is damaged (%s)", step, self._folder, reason)
            damaged[step] = reason
        if not damaged:
            return None
        raise UserError(
            f"{self._folder}: no checkpoint is whole ({', '.join(map(str, sorted(damaged)))}): "
            "delete the folder to begin anew"
        )

    def _steps(self) -> list[int]:
        return [kept.step for kept in reversed(self._checkpointer.checkpoints)]

    def _content(self, step: int) -> dict[str, Any]:
        self._whole(step)
        kept: Any = self._checkpointer.checkpointables_metadata(step).custom_metadata
        if _sha256(kept["content"]) != kept["sha256"]:
            raise ValueError("what is said beside its arrays is not what was written")
        return json.loads(kept["content"])

    def _whole(self, step: int) -> None:
        """Refuse what would never end, before libraries read it."""
        if strange := first_strange(self._folder / str(step)):
            raise ValueError(f"{strange.name} is not an ordinary file")

    def _load(
        self, step: int, like: Any, accept: Callable[[dict[str, Any]], None]
    ) -> tuple[Any, dict[str, Any]]:
        content = self._content(step)
        accept(content["said"])
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
            flatten(like),
        )
        loaded = self._checkpointer.load_checkpointables(step, {"state": target})["state"]
        if _checksums(loaded) != content["checksums"]:
            raise ValueError("its arrays are not what was written")
        leaves = [loaded[name] for name in flatten(like)]
        return jax.tree.unflatten(jax.tree.structure(like), leaves), content["said"]

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until everything is on disk."""
        self._checkpointer.close()


def begun_identity(workdir: Path | None) -> dict[str, Any] | None:
    """What the run of a work directory was begun with; None where nothing was saved yet."""
    folder = None if workdir is None else workdir / "checkpoints"
    if folder is None or not folder.is_dir():
        return None
    with Checkpoints(folder) as checkpoints:
        metadata = checkpoints.metadata()
    return None if metadata is None else metadata.get("identity", {})


def _is_news(record: LogRecord) -> bool:
    """Whether a record of asyncio says more than that part of a checkpoint could not be read.

    Of a reading that fails, others of the same file go on in threads of the library's own. Each
    says so too, at some time that only Python's collector knows, so that the filter has to stay.
    """
    said = record.getMessage()
    of_a_checkpoint = "orbax" in said or "tensorstore" in said
    return not (of_a_checkpoint and "exception was never retrieved" in said)


def flatten(tree: Any) -> dict[str, Any]:
    """Leaves under their path names, so that the file does not depend on container classes.

    >>> flatten({"a": (1, 2)})
    {"['a'][0]": 1, "['a'][1]": 2}
    """
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _checksums(arrays: dict[str, jax.Array]) -> dict[str, int]:
    """A number for each array that one flipped bit always changes, computed where it lies."""
    return {name: int(total) for name, total in jax.tree.map(_checksum, arrays).items()}


@jax.jit
def _checksum(array: jax.Array) -> jax.Array:
    """The sum of all words, each times an odd number of its own, modulo 2^32."""
    if array.dtype == jnp.bool_:
        array = array.astype(jnp.uint8)
    kind = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[array.dtype.itemsize]
    words = jax.lax.bitcast_convert_type(array, kind).astype(jnp.uint32)
    place, stride = jnp.zeros_like(words), 1
    for axis in reversed(range(words.ndim)):
        place += jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis) * jnp.uint32(stride)
        stride = stride * words.shape[axis] % 2**32
    odd = place * jnp.uint32(2) + jnp.uint32(1)
    return jnp.sum(words * odd, dtype=jnp.uint32)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
