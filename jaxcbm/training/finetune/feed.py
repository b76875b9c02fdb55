"""The feed of a fit that trains the encoder too: batches of pixels, decoded ahead."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.bottleneck.model import Params
from jaxcbm.data.pixel_batches import Batch, Pictures, pixel_batches, rows_in_order, shuffled_rows
from jaxcbm.distributed.mesh import shardings_for
from jaxcbm.distributed.parts import own_rows, place_part
from jaxcbm.distributed.placement import place, replicate
from jaxcbm.training.finetune.step import FinetunePlan, Fixed, evaluate_batch, finetune_step
from jaxcbm.training.loop import Feed, Unit
from jaxcbm.training.step import METRICS, Metrics, TrainState


class PixelSplits(NamedTuple):
    """The images of a fit.

    Attributes:
        train: N images.
        valid: M images.
    """

    train: Pictures
    valid: Pictures


def pixel_feed(
    plan: FinetunePlan, fixed: Fixed, splits: PixelSplits, shardings: TrainState, mesh: Mesh
) -> Feed:
    """Batches of pixels; a step is a unit.

    Args:
        plan: the static configuration.
        fixed: what does not train, on the mesh.
        splits: the images.
        shardings: of the state.
        mesh: batches lie over its axis `data`; each process decodes what its own devices take.
    """
    fit, seed = plan.fit, plan.fit.config.training.seed
    key = replicate(jax.random.key(seed), mesh)

    def units(epoch: int, first: int, last: int) -> Iterator[Unit]:
        rows_SxB = shuffled_rows(fit.examples, fit.batch_size, seed, epoch)[first:last]
        for batch in placed_batches(splits.train, rows_SxB, mesh):
            yield Unit(1, (fixed, batch, key))

    return Feed(
        units=units,
        step=compile_finetune_step(plan, shardings, mesh),
        metrics=METRICS,
        measure=functools.partial(
            measure_pixels,
            add=jax.jit(functools.partial(_add_sums, plan=plan)),
            fixed=fixed,
            pictures=splits.valid,
            size=fit.batch_size,
            mesh=mesh,
        ),
        steps_per_epoch=fit.steps_per_epoch,
        batch_size=fit.batch_size,
    )


def compile_finetune_step(plan: FinetunePlan, shardings: TrainState, mesh: Mesh) -> Any:
    """`finetune_step` as a program that overwrites the state it is given."""
    return jax.jit(
        functools.partial(finetune_step, plan=plan),
        donate_argnums=0,
        out_shardings=(shardings, NamedSharding(mesh, PartitionSpec())),
    )


def place_fixed(fixed: Fixed, mesh: Mesh, *, whole: Callable = place) -> Fixed:
    """What does not train on the mesh: towers and wide constants by the rules, the rest whole.

    Args:
        fixed: arrays, or shapes.
        mesh: where they go.
        whole: (pytree, shardings) to the placed pytree; `abstract_place` for shapes.
    """
    wide = {
        name: value
        for name in ("base_kernel", "class_positives")
        if (value := getattr(fixed, name)) is not None
    }
    rest = fixed._replace(encoder={}, base_kernel=None, class_positives=None)
    return whole(rest, NamedSharding(mesh, PartitionSpec()))._replace(
        encoder=whole(dict(fixed.encoder), shardings_for(fixed.encoder, mesh)),
        **whole(wide, shardings_for(wide, mesh)),
    )


def placed_batches(pictures: Pictures, rows_SxB: np.ndarray, mesh: Mesh) -> Iterator[Batch]:
    """Batches on the mesh; pixels travel as bytes. A process decodes what its devices hold."""
    count = rows_SxB.shape[1]
    first, last = own_rows(count, mesh)
    for batch in pixel_batches(pictures, rows_SxB[:, first:last]):
        yield jax.tree.map(lambda rows: place_part(rows, first, count, mesh), batch)


def measure_pixels(
    params: Params, *, add: Any, fixed: Fixed, pictures: Pictures, size: int, mesh: Mesh
) -> Metrics:
    """Masked sums over the validation images, a batch of `size` at a time."""
    sums = replicate({name: jnp.zeros(()) for name in ("loss", "top1", "count")}, mesh)
    rows_SxB = rows_in_order(len(pictures.images), size)
    for batch in placed_batches(pictures, rows_SxB, mesh):
        with jax.transfer_guard("disallow"):
            sums = add(sums, params, fixed, batch)
        jax.block_until_ready(sums)
    return sums


def _add_sums(
    sums: Metrics, params: Params, fixed: Fixed, batch: Batch, *, plan: FinetunePlan
) -> Metrics:
    return jax.tree.map(jnp.add, sums, evaluate_batch(params, fixed, batch, plan=plan))
