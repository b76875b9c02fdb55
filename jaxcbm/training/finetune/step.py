"""One step with the towers inside: the loss of `jaxcbm.training.step`, its gradients all the way.

What trains is one flat dict of float32 arrays, named by group: `cbl.*` and `head.*` are the
bottleneck's, `encoder.PATH` parameters of the towers, `lora.PATH.a` and `.b` adapters.

The backward pass goes through the embeddings: gradients of the loss with respect to the embeddings
of the whole batch first, then back through the image tower, in parts if asked for. A contrastive
loss, which compares images with one another, so has the gradient of the whole batch, which summing
the gradients of small batches would not give it.

Reference: Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
2021, arXiv 2101.06983.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxcbm.bottleneck.model import Bottleneck, Params
from jaxcbm.bottleneck.scores import InputMap, apply_map
from jaxcbm.bottleneck.temperature import temperature
from jaxcbm.data.pixel_batches import Batch
from jaxcbm.distributed.placement import spread
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.finetune.finetuned import group
from jaxcbm.encoders.finetune.lora import LoraConfig, with_lora
from jaxcbm.encoders.nn.remat import rematerialise
from jaxcbm.flat_params import merge_flat
from jaxcbm.training import step
from jaxcbm.training.augment import augment
from jaxcbm.training.config import FitConfig
from jaxcbm.training.finetune.config import FinetuneConfig, batch_sizes, joined
from jaxcbm.training.optimizers import by_group, make_optimizer
from jaxcbm.training.step import Metrics, Plan, TrainData, TrainState


class FinetunePlan(NamedTuple):
    """The static configuration of a fit that trains the encoder too.

    Attributes:
        fit: bottleneck, settings and length, with the optimizers of all groups.
        finetune: how the towers train.
        lora: strength of the adapters.
        graph: of the dual encoder.
        paths: of its parameters.
        dtype: of the operands of its matrix products.
        scale, mean, std: from bytes to what the image tower reads.
    """

    fit: Plan
    finetune: FinetuneConfig
    lora: LoraConfig
    graph: nnx.GraphDef
    paths: tuple[str, ...]
    dtype: str
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class LiveText(NamedTuple):
    """What concept scores are made from at every step where the text tower trains.

    Attributes:
        ids: int32 [D, T], the phrases.
        columns: float32 [D], what each concept's embedding is scaled by.
        rows: float32 [E] or None; the scale of the inputs where the layer reads embeddings.
    """

    ids: jax.Array
    columns: jax.Array
    rows: jax.Array | None


class Fixed(NamedTuple):
    """Arrays that a step reads and never changes.

    Attributes:
        encoder: the parameters that do not train whole, by path.
        input_map: image embeddings -> what the layer reads.
        base_kernel: that -> concept scores, or None.
        class_positives: float32 [K, D], or None.
        text: None where the concept embeddings are constants.
    """

    encoder: Params
    input_map: InputMap
    base_kernel: jax.Array | None
    class_positives: jax.Array | None
    text: LiveText | None


def make_finetune_plan(
    bottleneck: Bottleneck,
    encoder: DualEncoder,
    config: FitConfig,
    finetune: FinetuneConfig,
    lora: LoraConfig,
    examples: int,
    devices: int,
) -> FinetunePlan:
    """Settle batch size, number of steps and optimizers for `examples` train images.

    Args:
        bottleneck: its structure.
        encoder: with weights, or with their shapes alone.
        config: of the bottleneck's own fit.
        finetune: of this one.
        lora: strength of the adapters.
        examples: N.
        devices: that a batch is divided between.

    Raises:
        UserError: a batch that cannot be cut into its parts.
    """
    size = batch_sizes(finetune, examples, devices)
    steps = examples // size
    optimizer = group_optimizer(finetune, steps * finetune.epochs)
    fit = Plan(bottleneck, joined(config, finetune), optimizer, examples, size, steps)
    pixels, paths = encoder.preprocess, tuple(encoder.params)
    return FinetunePlan(
        *(fit, finetune, lora, encoder.graph, paths, encoder.dtype),
        *(pixels.scale, pixels.mean, pixels.std),
    )


def group_optimizer(finetune: FinetuneConfig, steps: int) -> optax.GradientTransformation:
    """An optimizer with its own learning rate for each group of parameters."""
    groups = ("encoder", "lora", "cbl", "head")
    return by_group({name: make_optimizer(getattr(finetune, name), steps) for name in groups})


def embed_images(
    trained: Params,
    fixed: Fixed,
    plan: FinetunePlan,
    pixels: jax.Array,
    key: jax.Array | None = None,
) -> jax.Array:
    """Image embeddings float32 [B, E] from pixels uint8 [B, S, S, 3]; a key turns dropout on."""
    module = _towers(trained, fixed, plan, key)
    mean, std = (jnp.asarray(c, jnp.float32)[None, None, None] for c in (plan.mean, plan.std))
    pixels = pixels.astype(jnp.float32) * jnp.float32(plan.scale)
    return module.encode_image((pixels - mean) / std, jnp.dtype(plan.dtype))[0]


def embed_concepts(
    trained: Params, fixed: Fixed, plan: FinetunePlan, key: jax.Array | None = None
) -> jax.Array | None:
    """Concept embeddings float32 [D, E] where the text tower trains, else None."""
    if fixed.text is None:
        return None
    module = _towers(trained, fixed, plan, key)
    ids_DxT = spread(fixed.text.ids, "data")
    return module.encode_text(ids_DxT, jnp.dtype(plan.dtype))[0]


def live_maps(fixed: Fixed, concepts_DxE: jax.Array | None) -> tuple[InputMap, jax.Array | None]:
    """Input map and base kernel, made from the concept embeddings of this step if they train."""
    if fixed.text is None or concepts_DxE is None:
        return fixed.input_map, fixed.base_kernel
    kernel_ExD = concepts_DxE.T * fixed.text.columns[None, :]
    if fixed.base_kernel is None:
        return InputMap(kernel_ExD, fixed.input_map.bias), None
    rows_E = fixed.text.rows
    return fixed.input_map, kernel_ExD if rows_E is None else rows_E[:, None] * kernel_ExD


def loss(
    bottleneck: Params,
    images_BxE: jax.Array,
    concepts_DxE: jax.Array | None,
    fixed: Fixed,
    plan: FinetunePlan,
    batch: Batch,
    key: jax.Array,
    tau: jax.Array,
) -> tuple[jax.Array, Metrics]:
    """The loss of `jaxcbm.training.step` as a function of the embeddings of a batch."""
    input_map, base_kernel = live_maps(fixed, concepts_DxE)
    data = TrainData(
        inputs=apply_map(input_map, images_BxE),
        labels=jnp.asarray(batch.labels),
        positives=None if batch.positives is None else jnp.asarray(batch.positives),
        class_positives=fixed.class_positives,
        base_kernel=base_kernel,
    )
    return step.loss(bottleneck, plan.fit, data, key, tau)


def gradients(
    trained: Params, fixed: Fixed, plan: FinetunePlan, batch: Batch, key: jax.Array, tau: jax.Array
) -> tuple[Params, Metrics]:
    """Gradients of everything that trains, and the metrics of the batch."""
    noise_key, dropout_key, augment_key = jax.random.split(key, 3)
    finetune = plan.finetune
    pixels = augment(
        jnp.asarray(batch.pixels), augment_key, max_shift=finetune.max_shift, flip=finetune.flip
    )
    bottleneck, towers = _divide(trained)
    images_BxE, back_images = _pullback(
        lambda towers, pixels: embed_images(towers, fixed, plan, pixels, dropout_key),
        towers,
        pixels,
        max(finetune.accumulate, 1),
    )
    concepts_DxE, back_concepts = jax.vjp(
        lambda towers: embed_concepts(towers, fixed, plan, dropout_key), towers
    )
    (to_bottleneck, to_images, to_concepts), metrics = jax.grad(
        loss, argnums=(0, 1, 2), has_aux=True
    )(bottleneck, images_BxE, concepts_DxE, fixed, plan, batch, noise_key, tau)
    to_towers = back_images(to_images)
    if concepts_DxE is not None:
        to_towers = jax.tree.map(jnp.add, to_towers, back_concepts(to_concepts)[0])
    return {**to_bottleneck, **to_towers}, metrics


def finetune_step(
    state: TrainState,
    totals: Metrics,
    fixed: Fixed,
    batch: Batch,
    key: jax.Array,
    *,
    plan: FinetunePlan,
) -> tuple[TrainState, Metrics]:
    """One update of every group from one batch; the metrics are added to those of the epoch."""
    fit = plan.fit
    tau = temperature(fit.config.bottleneck, state.step, fit.total_steps)
    step_key = jax.random.fold_in(key, state.step)
    grads, metrics = gradients(state.params, fixed, plan, batch, step_key, tau)
    updates, opt_state = fit.optimizer.update(grads, state.opt_state, state.params)
    params: Any = optax.apply_updates(state.params, updates)
    params = step.proximal_step(params, fit, state.step)
    state = TrainState(params, opt_state, state.step + 1)
    return state, jax.tree.map(jnp.add, totals, metrics)


def evaluate_batch(trained: Params, fixed: Fixed, batch: Batch, *, plan: FinetunePlan) -> Metrics:
    """Masked sums of cross-entropy and hits, and the count; nothing is dropped or moved."""
    input_map, _ = live_maps(fixed, embed_concepts(trained, fixed, plan))
    images_BxE = embed_images(trained, fixed, plan, jnp.asarray(batch.pixels))
    return step.evaluate_sums(
        _divide(trained)[0],
        apply_map(input_map, images_BxE),
        jnp.asarray(batch.labels),
        jnp.asarray(batch.mask),
        plan=plan.fit,
    )


def _divide(trained: Params) -> tuple[Params, Params]:
    """(the bottleneck's parameters, the towers')."""
    towers = {k: v for k, v in trained.items() if k.split(".")[0] in ("encoder", "lora")}
    return {k: v for k, v in trained.items() if k not in towers}, towers


def _towers(trained: Params, fixed: Fixed, plan: FinetunePlan, key: jax.Array | None) -> Any:
    whole = {**fixed.encoder, **group(trained, "encoder")}
    params = with_lora(whole, group(trained, "lora"), plan.lora, key)
    module = merge_flat(plan.graph, {path: params[path] for path in plan.paths})
    if plan.finetune.rematerialise:
        rematerialise(module)
    return module


def _pullback(
    embed: Callable[[Params, jax.Array], jax.Array], towers: Params, pixels: jax.Array, parts: int
) -> tuple[jax.Array, Callable[[jax.Array], Params]]:
    """Embeddings of a batch, and the way from their gradient back to the towers.

    In parts, the embeddings are made twice: once without keeping anything, and once more, part by
    part, on the way back.
    """
    if parts == 1:
        images_BxE, back = jax.vjp(lambda towers: embed(towers, pixels), towers)
        return images_BxE, lambda cotangent: back(cotangent)[0]
    pixels_PxMx = _in_parts(pixels, parts)
    images_PxMxE = jax.lax.map(lambda part: embed(towers, part), pixels_PxMx)

    def back_by_part(cotangent_BxE: jax.Array) -> Params:
        def add(total: Params, part: tuple[jax.Array, jax.Array]) -> tuple[Params, None]:
            _, back = jax.vjp(lambda towers: embed(towers, part[0]), towers)
            return jax.tree.map(jnp.add, total, back(part[1])[0]), None

        zeros = jax.tree.map(jnp.zeros_like, towers)
        return jax.lax.scan(add, zeros, (pixels_PxMx, _in_parts(cotangent_BxE, parts)))[0]

    images_BxE = images_PxMxE.swapaxes(0, 1).reshape(len(pixels), -1)
    return spread(images_BxE, "data"), back_by_part


def _in_parts(array: jax.Array, parts: int) -> jax.Array:
    """[B, ...] -> [P, B / P, ...]: every P-th row, so that each part lies on all devices."""
    cut = array.reshape(-1, parts, *array.shape[1:]).swapaxes(0, 1)
    return spread(cut, None, "data")
