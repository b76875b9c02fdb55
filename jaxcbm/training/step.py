"""One training step and one epoch, as pure functions of arrays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import Bottleneck, Intermediates, Params
from jaxcbm.bottleneck.objectives.table import OBJECTIVES, ObjectiveInputs
from jaxcbm.bottleneck.positives import batch_positives
from jaxcbm.bottleneck.scores import InputMap, apply_map
from jaxcbm.bottleneck.temperature import temperature
from jaxcbm.distributed.placement import spread
from jaxcbm.training.config import FitConfig
from jaxcbm.training.optimizers import make_optimizers, make_schedule

Metrics = dict[str, jax.Array]

# What a step reports beside the next state.
METRICS = ("loss", "objective", "top1")
# Validation scores beyond so many are made and left again block by block.
_SCORES_AT_ONCE = 2**26


class TrainData(NamedTuple):
    """The train features on the device.

    Attributes:
        inputs: float32 [N (padded), I], what the layer reads; or embeddings [N (padded), E] where
            `input_map` turns a batch of them into that.
        labels: int32 [N (padded)].
        positives: bool or uint8 [N (padded), D] from annotations, or None.
        class_positives: float32 [K, D], or None.
        base_kernel: float32 [I, D] that turns inputs into scores, or None where they are scores.
    """

    inputs: jax.Array
    labels: jax.Array
    positives: jax.Array | None = None
    class_positives: jax.Array | None = None
    base_kernel: jax.Array | None = None
    input_map: InputMap | None = None


class ValidData(NamedTuple):
    """The validation features on the device, with a mask for padded rows.

    Attributes:
        inputs: as those of the train features: what the layer reads, or embeddings.
        labels: int32 [M (padded)].
        mask: float32 [M (padded)]; 0 for padding.
    """

    inputs: jax.Array
    labels: jax.Array
    mask: jax.Array


class TrainState(NamedTuple):
    """What a step changes."""

    params: Params
    opt_state: Any
    step: jax.Array


class Plan(NamedTuple):
    """The static part of a fit: structure, settings, and how long it is."""

    bottleneck: Bottleneck
    config: FitConfig
    optimizer: optax.GradientTransformation
    examples: int
    batch_size: int
    steps_per_epoch: int

    @property
    def total_steps(self) -> int:
        """Steps of the whole fit."""
        return self.steps_per_epoch * self.config.training.epochs


def make_plan(bottleneck: Bottleneck, config: FitConfig, examples: int) -> Plan:
    """Settle batch size, number of steps and optimizers for `examples` train images."""
    batch_size = min(config.training.batch_size, examples)
    steps_per_epoch = examples // batch_size
    total = steps_per_epoch * config.training.epochs
    optimizer = make_optimizers(config.training, total)
    return Plan(bottleneck, config, optimizer, examples, batch_size, steps_per_epoch)


def init_state(plan: Plan, params: Params) -> TrainState:
    """The state before the first step."""
    return TrainState(params, plan.optimizer.init(params), jnp.zeros((), jnp.int32))


def objective_loss(
    config: BottleneckConfig,
    params: Params,
    batch: TrainData,
    out: Intermediates,
    key: jax.Array,
    tau: jax.Array,
) -> jax.Array:
    """The configured objective of the Concept Bottleneck Layer, float32 []."""
    base = batch.base_kernel
    psi_BxD = batch.inputs if base is None else jnp.matmul(batch.inputs, base)
    chosen = None
    if config.needs_positives:
        known = batch.positives, batch.class_positives
        chosen = batch_positives(config, psi_BxD, batch.labels, *known)
    inputs = ObjectiveInputs(
        scores=psi_BxD,
        logits=out.concept_logits,
        kernel=params["cbl.kernel"],
        positives=chosen,
        key=key,
        tau=tau,
    )
    return OBJECTIVES[config.objective].loss(config, inputs)


def loss(
    params: Params, plan: Plan, batch: TrainData, key: jax.Array, tau: jax.Array
) -> tuple[jax.Array, Metrics]:
    """Cross-entropy + objective + KL of one batch, and its metrics.

    An objective without any other signal in the CBL always lets the cross-entropy reach it. One
    with a proximal map is left out of the sum: the map follows the update.
    """
    model, training = plan.config.bottleneck, plan.config.training
    sampler_key, noise_key = jax.random.split(key)
    reaches_cbl = training.ce_to_cbl or OBJECTIVES[model.objective].needs_cross_entropy
    logits_BxK, out = plan.bottleneck.apply(
        params, batch.inputs, key=sampler_key, tau=tau, stop_gradient=not reaches_cbl
    )
    ce = optax.losses.softmax_cross_entropy_with_integer_labels(logits_BxK, batch.labels).mean()
    objective = objective_loss(model, params, batch, out, noise_key, tau)
    smooth = training.objective_weight * objective if model.proximal is None else jnp.zeros(())
    total = ce + smooth + training.kl_weight * out.kl
    top1 = jnp.mean((jnp.argmax(logits_BxK, axis=1) == batch.labels).astype(jnp.float32))
    return total, {"loss": ce, "objective": objective, "top1": top1}


def proximal_step(params: Params, plan: Plan, step: jax.Array) -> Params:
    """The objective's proximal map on the CBL kernel, where it has one."""
    model, training = plan.config.bottleneck, plan.config.training
    if model.proximal is None:
        return params
    schedule = make_schedule(training.cbl, plan.total_steps)
    rate = jnp.asarray(schedule(step.astype(jnp.float32)), jnp.float32)
    kernel = params["cbl.kernel"]
    return params | {"cbl.kernel": model.proximal(model, kernel, rate * training.objective_weight)}


def train_step(
    state: TrainState, plan: Plan, batch: TrainData, key: jax.Array
) -> tuple[TrainState, Metrics]:
    """One update of both optimizers from one batch."""
    tau = temperature(plan.config.bottleneck, state.step, plan.total_steps)
    gradients, metrics = jax.grad(loss, has_aux=True)(state.params, plan, batch, key, tau)
    updates, opt_state = plan.optimizer.update(gradients, state.opt_state, state.params)
    params: Any = optax.apply_updates(state.params, updates)
    params = proximal_step(params, plan, state.step)
    return TrainState(params, opt_state, state.step + 1), metrics


def train_epoch(
    state: TrainState, data: TrainData, key: jax.Array, *, plan: Plan
) -> tuple[TrainState, Metrics]:
    """One pass over the features as one scan; the order depends on the key and the step only.

    The tail of the permutation that does not fill a batch is left out: another one each epoch.

    Returns:
        The next state, and the sums of the metrics over the steps.
    """
    epoch_key = jax.random.fold_in(key, state.step)
    shape = (plan.steps_per_epoch, plan.batch_size)
    order = jax.random.permutation(epoch_key, plan.examples)[: shape[0] * shape[1]].reshape(shape)

    def body(state: TrainState, rows_B: jax.Array) -> tuple[TrainState, Metrics]:
        batch = take_rows(data, rows_B)
        return train_step(state, plan, batch, jax.random.fold_in(epoch_key, state.step))

    state, metrics = jax.lax.scan(body, state, order)
    return state, jax.tree.map(jnp.sum, metrics)


def take_rows(data: TrainData, rows_B: jax.Array) -> TrainData:
    """Gather a batch; it lies over the mesh's `data` axis where there is a mesh."""

    def take(array: jax.Array) -> jax.Array:
        return spread(array.at[rows_B].get(mode="promise_in_bounds"), "data")

    per_image = {
        name: take(array)
        for name in ("inputs", "labels", "positives")
        if (array := getattr(data, name)) is not None
    }
    return map_inputs(data._replace(**per_image))


def map_inputs(batch: TrainData) -> TrainData:
    """Turn a batch of embeddings into what the layer reads; inputs stay as they are."""
    if batch.input_map is None:
        return batch
    return batch._replace(inputs=apply_map(batch.input_map, batch.inputs), input_map=None)


def evaluate_sums(
    params: Params, inputs_NxI: jax.Array, labels_N: jax.Array, mask_N: jax.Array, *, plan: Plan
) -> Metrics:
    """Masked sums of cross-entropy and hits, and the count; the caller divides."""
    logits_NxK, _ = plan.bottleneck.apply(params, inputs_NxI, tau=plan.config.bottleneck.tau_end)
    ce_N = optax.losses.softmax_cross_entropy_with_integer_labels(logits_NxK, labels_N)
    hits_N = (jnp.argmax(logits_NxK, axis=1) == labels_N).astype(jnp.float32)
    return {
        "loss": jnp.sum(ce_N * mask_N),
        "top1": jnp.sum(hits_N * mask_N),
        "count": jnp.sum(mask_N),
    }


def evaluate(
    params: Params,
    valid: ValidData,
    input_map: InputMap | None,
    *,
    plan: Plan,
    rows: int | None = None,
) -> Metrics:
    """Masked sums over the validation split, as `evaluate_sums`, block by block.

    Args:
        params: of the bottleneck.
        valid: M rows.
        input_map: embeddings to what the layer reads; None where `valid` holds that.
        plan: the static part of the fit.
        rows: of a block; by default as many as keep scores of bounded size.
    """
    count, width = len(valid.labels), params["head.kernel"].shape[0]
    size = min(count, rows or max(_SCORES_AT_ONCE // width, 1))
    if input_map is None and size == count:
        return evaluate_sums(params, *valid, plan=plan)

    def add(total: Metrics, rows_B: jax.Array) -> tuple[Metrics, None]:
        known_B = jnp.minimum(rows_B, count - 1)
        batch = take_rows(TrainData(valid.inputs, valid.labels, input_map=input_map), known_B)
        mask_B = jnp.where(rows_B < count, valid.mask[known_B], 0.0)
        sums = evaluate_sums(params, batch.inputs, batch.labels, mask_B, plan=plan)
        return jax.tree.map(jnp.add, total, sums), None

    nothing = {name: jnp.zeros(()) for name in ("loss", "top1", "count")}
    rows_SxB = jnp.arange(-(-count // size) * size).reshape(-1, size)
    return jax.lax.scan(add, nothing, rows_SxB)[0]
