"""What is planned: an experiment by its sizes, and a stage of it as a program to compile."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.finetune.lora import LoraConfig
from jaxcbm.encoders.finetune.trainable import Rule
from jaxcbm.errors import UserError
from jaxcbm.training.config import FitConfig
from jaxcbm.training.finetune.config import FinetuneConfig


class Job(NamedTuple):
    """An experiment without its data.

    Attributes:
        encoder: sizes without weights, see `encoder_structure`.
        config: of the bottleneck, its training and the mesh.
        finetune: of the training of the encoder.
        rules: what trains of the encoder.
        lora: size of the adapters.
        train, valid, test: images of each split.
        concepts: D.
        classes: K.
        annotated: whether images come with annotations of their concepts.
        some_unknown: whether of some image and concept they say nothing; steps then compute the
            encoder's own scores too.
    """

    encoder: DualEncoder
    config: FitConfig
    finetune: FinetuneConfig
    rules: tuple[Rule, ...]
    lora: LoraConfig
    train: int
    valid: int
    test: int
    concepts: int
    classes: int
    annotated: bool = False
    some_unknown: bool = False


class Stage(NamedTuple):
    """One stage on one mesh, ready to be compiled.

    Attributes:
        lower: makes the program, as `jax.jit(...).lower(...)` does.
        arguments: of the program, abstract.
        batch: images a step, over all chips.
        steps: that the program makes, in a loop.
        images: that pass through the program in the whole stage.
        held: bytes on each chip that stay there beside the program's own.
        notes: sentences for the user.
    """

    lower: Callable[[], Any]
    arguments: tuple[Any, ...]
    batch: int
    steps: int
    images: int
    held: float
    notes: tuple[str, ...] = ()


def array(mesh: Mesh, shape: tuple[int, ...], dtype: Any, *spec: str | None) -> Any:
    """An abstract array on the mesh."""
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, PartitionSpec(*spec)))


def whole(tree: Any, mesh: Mesh) -> Any:
    """Shapes of a pytree, each array whole on every chip."""
    return jax.tree.map(lambda leaf: array(mesh, leaf.shape, leaf.dtype), tree)


def key_shape(mesh: Mesh) -> Any:
    """An abstract random key."""
    return whole(jax.eval_shape(lambda: jax.random.key(0)), mesh)


def bytes_on_chip(tree: Any) -> float:
    """What the arrays of a pytree take on each chip."""
    return float(
        sum(
            np.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
            for leaf in jax.tree.leaves(tree)
        )
    )


def lowered(step: Any, mesh: Mesh, arguments: tuple[Any, ...]) -> Any:
    """A jitted step as a program for the mesh, not yet compiled."""
    with jax.set_mesh(mesh):
        return step.lower(*arguments)


def check_batch(batch: int, mesh: Mesh) -> None:
    """Refuse a batch that the chips cannot share.

    Raises:
        UserError: it does not divide by the axis `data`.
    """
    data = mesh.shape["data"]
    if batch < 1 or batch % data:
        raise UserError(
            f"--batch-size={batch} does not divide by the {data} devices along the batch: give a "
            f"multiple of {data}"
        )
