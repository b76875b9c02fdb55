"""Feeds of a fit on features: whole epochs in memory, or batches read from a store."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.bottleneck.model import Params
from jaxcbm.bottleneck.scores import InputMap, apply_map
from jaxcbm.data.stream.batches import FeatureBatch, Share, blocks_in_order, feature_batches
from jaxcbm.data.stream.order import StreamOrder
from jaxcbm.distributed.parts import own_rows, place_part
from jaxcbm.distributed.placement import replicate, spread
from jaxcbm.training.loop import Feed, Unit
from jaxcbm.training.step import (
    METRICS,
    Metrics,
    Plan,
    TrainData,
    TrainState,
    ValidData,
    evaluate,
    evaluate_sums,
    map_inputs,
    train_epoch,
    train_step,
)
from jaxcbm.training.streamed_arrays import Stream

# Validation batches that are handed to the device before the sums so far are done.
_BATCHES_AHEAD = 2


def memory_feed(
    plan: Plan, data: TrainData, valid: ValidData, shardings: TrainState, mesh: Mesh
) -> Feed:
    """Epochs over features that lie on the mesh; the whole epoch is one unit.

    Args:
        plan: the static part of the fit.
        data: train features, placed.
        valid: validation features, placed.
        shardings: of the state.
        mesh: where everything lives.
    """
    key = replicate(jax.random.key(plan.config.training.seed), mesh)
    measure = jax.jit(functools.partial(evaluate, plan=plan))

    def measured(params: Params) -> Metrics:
        with jax.transfer_guard("disallow"):
            return measure(params, valid, data.input_map)

    return Feed(
        units=lambda epoch, first, last: (Unit(plan.steps_per_epoch, (data, key)),),
        step=compile_epoch(plan, shardings, mesh),
        metrics=METRICS,
        measure=measured,
        steps_per_epoch=plan.steps_per_epoch,
        batch_size=plan.batch_size,
    )


def compile_epoch(plan: Plan, shardings: TrainState, mesh: Mesh) -> Any:
    """(state, totals, data, key) to (state, totals) as one program that overwrites the state."""

    def epoch_step(
        state: TrainState, totals: Metrics, data: TrainData, key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        state, metrics = train_epoch(state, data, key, plan=plan)
        return state, jax.tree.map(jnp.add, totals, metrics)

    return jax.jit(
        epoch_step,
        donate_argnums=0,
        out_shardings=(shardings, NamedSharding(mesh, PartitionSpec())),
    )


def stream_feed(plan: Plan, stream: Stream, shardings: TrainState, mesh: Mesh) -> Feed:
    """Batches read ahead from where the embeddings are; a step is a unit.

    Args:
        plan: the static part of the fit.
        stream: both splits, on disk; what they share lies on the mesh.
        shardings: of the state.
        mesh: batches lie over its axis `data`; each process reads only its part of them.
    """
    order, key = stream_order(plan), replicate(jax.random.key(plan.config.training.seed), mesh)
    share, own = _share(order, mesh)

    def units(epoch: int, first: int, last: int) -> Iterator[Unit]:
        batches = feature_batches(stream.train, order, epoch, first_step=first, share=share)
        for batch in batches:
            placed = _placed(batch, own, order.batch, mesh)
            yield Unit(1, (placed, stream.shared, key))

    return Feed(
        units=units,
        step=compile_streamed_step(plan, shardings, mesh),
        metrics=METRICS,
        measure=functools.partial(
            measure_stream,
            stream=stream,
            add=jax.jit(functools.partial(_add_sums, plan=plan)),
            size=order.batch,
            mesh=mesh,
        ),
        steps_per_epoch=order.steps,
        batch_size=order.batch,
    )


def stream_order(plan: Plan) -> StreamOrder:
    """The order of a fit's batches; another number of devices or processes has the same."""
    training = plan.config.training
    return StreamOrder(plan.examples, plan.batch_size, training.seed, training.window)


def compile_streamed_step(plan: Plan, shardings: TrainState, mesh: Mesh) -> Any:
    """`streamed_step` as a program that overwrites the state it is given."""
    return jax.jit(
        functools.partial(streamed_step, plan=plan),
        donate_argnums=0,
        out_shardings=(shardings, NamedSharding(mesh, PartitionSpec())),
    )


def streamed_step(
    state: TrainState,
    totals: Metrics,
    batch: FeatureBatch,
    shared: TrainData,
    key: jax.Array,
    *,
    plan: Plan,
) -> tuple[TrainState, Metrics]:
    """`train_step` on one batch of stored embeddings, with the noise that `train_epoch` would draw.

    Returns:
        The next state, and the totals with this step's metrics.
    """

    def rows(array: jax.Array | None) -> Any:
        # Without the rows that only make the batch divide between devices.
        if array is None or array.shape[0] == plan.batch_size:
            return array
        return spread(array[: plan.batch_size], "data")

    inputs, labels, positives, _ = (rows(array) for array in batch)
    data = map_inputs(shared._replace(inputs=inputs, labels=labels, positives=positives))
    begun = state.step // plan.steps_per_epoch * plan.steps_per_epoch
    step_key = jax.random.fold_in(jax.random.fold_in(key, begun), state.step)
    state, metrics = train_step(state, plan, data, step_key)
    return state, jax.tree.map(jnp.add, totals, metrics)


def measure_stream(params: Params, *, stream: Stream, add: Any, size: int, mesh: Mesh) -> Metrics:
    """Masked sums over the validation split, a batch of `size` rows at a time."""
    first, last = own_rows(size, mesh)
    part = min(first, size), min(last, size)
    sums = replicate({name: jnp.zeros(()) for name in ("loss", "top1", "count")}, mesh)
    for number, batch in enumerate(blocks_in_order(stream.valid, size, part=part)):
        sums = add(sums, params, _placed(batch, part[0], size, mesh), stream.shared.input_map)
        if number % _BATCHES_AHEAD == 0:
            jax.block_until_ready(sums)
    return sums


def _add_sums(
    sums: Metrics, params: Params, batch: FeatureBatch, mapping: InputMap, *, plan: Plan
) -> Metrics:
    inputs = apply_map(mapping, batch.embeddings)
    found = evaluate_sums(params, inputs, batch.labels, batch.mask, plan=plan)
    return jax.tree.map(jnp.add, sums, found)


def _share(order: StreamOrder, mesh: Mesh) -> tuple[Share, int]:
    """The streams that hold this process's rows of every batch, and the first row of them."""
    first, last = (min(row, order.batch) for row in own_rows(order.batch, mesh))
    stream = min(first // order.part, order.streams - 1)
    return Share(stream, max(-(-last // order.part), stream + 1)), stream * order.part


def _placed(batch: FeatureBatch, first: int, count: int, mesh: Mesh) -> FeatureBatch:
    def to_mesh(array: Any) -> Any:
        return None if array is None else place_part(array, first, count, mesh)

    return FeatureBatch(*(to_mesh(array) for array in batch))
