"""Checkpoints of a fit, through Orbax; the only module that knows its interface."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp


class Checkpoints:
    """The newest checkpoint of a run, written in the background.

    A checkpoint becomes visible by one rename, so a run killed at any moment finds a whole one.
    """

    def __init__(self, folder: Path | str):
        # Orbax's own policies do not match the protocol that it declares for them.
        always: Any = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
        newest: Any = ocp.training.preservation_policies.LatestN(1)
        self._checkpointer = ocp.training.Checkpointer(
            str(Path(folder).absolute()),
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
        self._checkpointer.save_checkpointables_async(
            step, {"state": copied}, custom_metadata=metadata
        )
        self.latest_step = step

    def metadata(self) -> dict[str, Any] | None:
        """The JSON object of the newest checkpoint; None if there is none."""
        latest = self._checkpointer.latest
        if latest is None:
            return None
        metadata: Any = self._checkpointer.checkpointables_metadata(latest.step).custom_metadata
        return metadata or {}

    def restore(self, like: Any) -> Any:
        """The newest checkpoint in the shape, type and placement of `like`; None if there is none.

        Args:
            like: a pytree of arrays, or of ShapeDtypeStruct with shardings.
        """
        latest = self._checkpointer.latest
        if latest is None:
            return None
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
            flatten(like),
        )
        loaded = self._checkpointer.load_checkpointables(latest.step, {"state": target})
        leaves = [loaded["state"][name] for name in flatten(like)]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)

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


def flatten(tree: Any) -> dict[str, Any]:
    """Leaves under their path names, so that the file does not depend on container classes.

    >>> flatten({"a": (1, 2)})
    {"['a'][0]": 1, "['a'][1]": 2}
    """
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}
