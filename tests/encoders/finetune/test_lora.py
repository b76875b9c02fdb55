import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.encoders.finetune.finetuned import (
    FinetunedWeights,
    apply_finetuned,
    load_finetuned,
    save_finetuned,
)
from jaxcbm.encoders.finetune.lora import LoraConfig, init_lora, merge_lora, with_lora
from jaxcbm.encoders.finetune.trainable import Rule, rules_of, trainable
from jaxcbm.encoders.load import load_encoder
from jaxcbm.encoders.nn.matmul import AdaptedKernel, matmul
from jaxcbm.errors import UserError
from jaxcbm.flat_params import merge_flat

CONFIG = LoraConfig(rank=2, alpha=3.0)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def encoder(tiny_encoder_folder):
    return load_encoder(tiny_encoder_folder)


def adapters_for(encoder, config=CONFIG, moved=True):
    """Adapters on every matrix of the image tower, as if some training had moved B."""
    paths = trainable(encoder.params, rules_of("lora", "", config)).lora
    adapters = init_lora({path: encoder.params[path].shape for path in paths}, config, seed=1)
    rng = np.random.default_rng(2)
    return {
        name: jnp.asarray(0.3 * rng.standard_normal(value.shape), jnp.float32)
        if moved and name.endswith(".b")
        else value
        for name, value in adapters.items()
    }


def summed(kernel):
    """An adapted kernel as one matrix."""
    return kernel.kernel + jnp.matmul(kernel.a, kernel.b, precision="highest")


def test_a_fresh_adapter_changes_no_bit(encoder):
    adapters = adapters_for(encoder, moved=False)
    adapted = with_lora(encoder.params, adapters, CONFIG)
    for path, value in adapted.items():
        whole = summed(value) if isinstance(value, AdaptedKernel) else value
        np.testing.assert_array_equal(whole, encoder.params[path])
    assert sum(isinstance(value, AdaptedKernel) for value in adapted.values()) * 2 == len(adapters)


def test_the_adapted_kernel_is_the_formula_of_the_paper(encoder):
    adapters, path = adapters_for(encoder), "vision.blocks.0.mlp.up.kernel"
    a, b = (np.asarray(adapters[f"{path}.{end}"], np.float64) for end in "ab")
    want = np.asarray(encoder.params[path], np.float64) + (3.0 / 2) * a @ b
    adapted = with_lora(encoder.params, adapters, CONFIG)[path]
    np.testing.assert_allclose(summed(adapted), want, atol=1e-6)
    assert np.abs(want - np.asarray(encoder.params[path])).max() > 0.1


@pytest.mark.parametrize("dtype, bound", [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_products_and_gradients_are_those_of_the_sum(dtype, bound):
    rng = np.random.default_rng(3)
    x, kernel, a, b = (
        jnp.asarray(rng.standard_normal(shape) / 4, jnp.float32)
        for shape in [(5, 16), (16, 12), (16, 2), (2, 12)]
    )

    def value(x, kernel, a, b, kernel_of):
        return jnp.sum(jnp.square(matmul(x, kernel_of(kernel, a, b)[:, 3:9], dtype)))

    gradients = jax.value_and_grad(value, (0, 1, 2, 3))
    apart = gradients(x, kernel, a, b, AdaptedKernel)
    whole = gradients(x, kernel, a, b, lambda kernel, a, b: kernel + a @ b)
    for one, other in zip(jax.tree.leaves(apart), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=bound, atol=bound)


def test_forward_mode_and_second_derivatives_are_those_of_the_sum():
    rng = np.random.default_rng(4)
    x, kernel, a, b = (
        jnp.asarray(rng.standard_normal(shape), jnp.float32)
        for shape in [(3, 4), (4, 5), (4, 2), (2, 5)]
    )

    def value(x, a, b, kernel_of, dtype="float32"):
        return jnp.sum(jnp.tanh(matmul(x, kernel_of(kernel, a, b), dtype)))

    @jax.jit
    def along(primals, tangents):
        """First derivative along a direction, and that of the gradient."""
        both = []
        for kernel_of in (AdaptedKernel, lambda kernel, a, b: kernel + a @ b):
            function = functools.partial(value, kernel_of=kernel_of)
            gradient = jax.grad(function, (0, 1, 2))
            both.append([jax.jvp(f, primals, tangents)[1] for f in (function, gradient)])
        return both

    apart, whole = along((x, a, b), (x[::-1], 0.5 * a, -b))
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-5), apart, whole)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: value(x, a, b, AdaptedKernel, "bfloat16"), (x,), (x,))


def test_a_step_multiplies_no_gradient_of_the_size_of_the_kernel():
    """Forward and back to x are two products as large as the kernel's; there is no third."""
    rows, width, rank = 512, 128, 2
    x, kernel, a, b = (
        jnp.ones(shape) for shape in [(rows, width), (width, width), (width, rank), (rank, width)]
    )

    def flops(kernel_of):
        def value(x, adapter):
            return jnp.sum(jnp.square(matmul(x, kernel_of(*adapter))))

        compiled = jax.jit(jax.grad(value, (0, 1))).lower(x, (a, b)).compile()
        return compiled.cost_analysis()["flops"] / (2 * rows * width**2)

    assert flops(lambda a, b: kernel + a @ b) > 3
    assert flops(lambda a, b: AdaptedKernel(kernel, a, b)) < 2.4


def test_a_starts_normal_with_unit_gain_and_does_not_depend_on_its_company():
    both = init_lora({"p": (400, 3), "q": (400, 3)}, LoraConfig(rank=50))
    alone = init_lora({"q": (400, 3)}, LoraConfig(rank=50))
    np.testing.assert_array_equal(both["q.a"], alone["q.a"])
    assert not np.array_equal(both["p.a"], both["q.a"])
    assert np.std(both["p.a"]) == pytest.approx(400**-0.5, rel=0.02)


def test_merged_embeds_as_unmerged(encoder):
    adapters = adapters_for(encoder)
    merged = dataclasses.replace(encoder, params=merge_lora(encoder.params, adapters, CONFIG))
    mean, std = (
        np.asarray(x, np.float32) for x in (encoder.preprocess.mean, encoder.preprocess.std)
    )
    pixels = ((PIXELS * np.float32(encoder.preprocess.scale) - mean) / std).astype(np.float32)

    @jax.jit
    def unmerged(adapters, pixels):
        params = with_lora(encoder.params, adapters, CONFIG)
        return merge_flat(encoder.graph, params).encode_image(pixels)[0]

    embeddings = merged.embed_pixels(PIXELS)
    np.testing.assert_allclose(embeddings, unmerged(adapters, pixels), atol=1e-5)
    assert np.abs(embeddings - encoder.embed_pixels(PIXELS)).max() > 0.01


def test_dropout_needs_a_key_and_keeps_the_mean(encoder):
    config, path = LoraConfig(rank=2, alpha=3.0, dropout=0.5), "vision.projection.kernel"
    adapters = adapters_for(encoder)

    def change(key, config=config):
        return summed(with_lora(encoder.params, adapters, config, key)[path])

    still = change(None)
    np.testing.assert_array_equal(still, change(None, CONFIG))
    drawn = jax.jit(jax.vmap(change))(jax.random.split(jax.random.key(0), 2000))
    changes = drawn - encoder.params[path][None]
    assert np.mean(np.all(changes == 0, axis=2)) == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(drawn.mean(axis=0), still, atol=0.1)


def test_saved_alone_it_loads_the_same_and_is_small(encoder, tmp_path):
    adapters = {f"lora.{k}": np.asarray(v) for k, v in adapters_for(encoder).items()}
    whole = {"encoder.vision.post_norm.bias": np.full(32, 0.25, np.float32)}
    finetuned = FinetunedWeights(encoder.name, encoder.content_hash, CONFIG, adapters | whole)
    save_finetuned(tmp_path / "encoder.safetensors", finetuned)
    again = load_finetuned(tmp_path / "encoder.safetensors")
    assert again[:3] == finetuned[:3]
    assert (tmp_path / "encoder.safetensors").stat().st_size < 40_000
    one, other = apply_finetuned(encoder, finetuned), apply_finetuned(encoder, again)
    assert one.content_hash == other.content_hash != encoder.content_hash
    np.testing.assert_array_equal(other.params["vision.post_norm.bias"], 0.25)
    np.testing.assert_array_equal(one.embed_pixels(PIXELS), other.embed_pixels(PIXELS))
    np.testing.assert_array_equal(one.embed_texts(["a bird"]), encoder.embed_texts(["a bird"]))


def test_it_is_refused_by_another_encoder(encoder, tmp_path):
    finetuned = FinetunedWeights(encoder.name, "0" * 64, CONFIG, {})
    with pytest.raises(UserError, match="is not what was finetuned"):
        apply_finetuned(encoder, finetuned)
    strange = {
        "lora.vision.q.kernel.a": np.zeros((2, 1)),
        "lora.vision.q.kernel.b": np.zeros((1, 2)),
    }
    with pytest.raises(UserError, match=r"which .* lacks"):
        apply_finetuned(encoder, finetuned._replace(base_hash=encoder.content_hash, arrays=strange))
    with pytest.raises(UserError, match="no finetuned encoder"):
        load_finetuned(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="damaged"):
        load_finetuned(tmp_path / "cut.safetensors")


def test_the_first_rule_that_matches_wins_and_the_rest_is_frozen(encoder):
    what = trainable(
        encoder.params,
        rules_of("rules", r"attn=freeze; ^vision\.post=train ; ^vision\.=lora", CONFIG),
    )
    assert what.train == ("vision.post_norm.bias", "vision.post_norm.scale")
    assert sorted(what.lora) == [
        "vision.blocks.0.mlp.down.kernel",
        "vision.blocks.0.mlp.up.kernel",
        "vision.patch.kernel",
        "vision.projection.kernel",
    ]


def test_batch_statistics_and_the_scale_of_scores_never_train():
    names = ("vision.norm.mean", "vision.norm.variance", "logit_scale", "vision.norm.scale")
    shapes = {name: np.zeros(3) for name in names}
    assert trainable(shapes, (Rule("", "train"),)).train == ("vision.norm.scale",)
    with pytest.raises(UserError, match=r"no parameter that can train, only vision\.norm\.mean"):
        trainable(shapes, (Rule(r"\.mean$", "train"),))


@pytest.mark.parametrize(
    "mode, rules, where, said",
    [
        ("lora", "", "nowhere", r"'nowhere=lora' matches no parameter \("),
        ("lora", "", "bias", "'bias=lora' matches no matrix, only "),
        ("rules", "vision.*=train;txt=freeze", "", "'txt=freeze' matches no parameter"),
        ("rules", "([=train", "", "no regular expression"),
        ("rules", "vision", "", "write PATTERN=train"),
        ("rules", "vision=tain", "", "write PATTERN=train"),
        ("rules", "vision=freeze", "", "nothing of the encoder trains"),
        ("rules", "", "", "nothing of the encoder trains"),
        ("full", "vision=train", "", "has no effect"),
    ],
)
def test_bad_rules_are_one_clear_line(encoder, mode, rules, where, said):
    with pytest.raises(UserError, match=said) as caught:
        trainable(encoder.params, rules_of(mode, rules, LoraConfig(where=where)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"rank": 0}, {"dropout": 1.0}])
def test_impossible_sizes_are_refused(changes):
    with pytest.raises(UserError, match="lora"):
        LoraConfig(**changes)
