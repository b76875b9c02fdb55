import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.distributed import preemption
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.training.augment import augment
from jaxcbm.training.metrics_log import read_metrics
from jaxcbm.training.pretrain import PretrainConfig, pretrain, sigmoid_loss, softmax_loss

SIZES = ClipConfig.tiny(
    vocab_size=20,
    image_size=16,
    patch_size=8,
    width=32,
    layers=1,
    text_layers=1,
    context_length=4,
    embed_dim=16,
)


def pairs(images=24):
    """Each picture has one of four colours, and its captions name it."""
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 4, images)
    pixels = rng.integers(0, 60, (images, 16, 16, 3)) + 45 * colour[:, None, None, None]
    tokens = np.full((images, 2, 4), SIZES.text.end_of_text_id)
    tokens[:, :, 0] = SIZES.text.start_of_text_id
    tokens[:, :, 1] = colour[:, None]
    return pixels.astype(np.uint8), tokens.astype(np.int32)


def run(workdir, steps=12, devices=None, **changes):
    config = PretrainConfig(
        steps=steps, batch_size=8, warmup_steps=2, checkpoint_every=3, **changes
    )
    return pretrain(
        *pairs(),
        SIZES,
        config,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        mesh=make_mesh(devices=devices or jax.devices()[:1]),
        workdir=workdir,
    )


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_the_loss_falls(tmp_path, loss):
    run(tmp_path, steps=60, loss=loss, captions_per_step=2)
    losses = [line["value"] for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert len(losses) == 20  # epochs of three steps
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("stop", [4, 6])
def test_stopped_and_resumed_is_bit_identical(tmp_path, monkeypatch, stop):
    straight = run(tmp_path / "straight", steps=11)
    with monkeypatch.context() as patch:
        patch.setattr(preemption, "requested", lambda step: step == stop)
        with pytest.raises(preemption.Preempted, match=f"step {stop}"):
            run(tmp_path / "stopped", steps=11)
    resumed = run(tmp_path / "stopped", steps=11)
    for path, value in straight.items():
        np.testing.assert_array_equal(value, resumed[path])
    one, other = (read_metrics(tmp_path / n / "metrics.jsonl") for n in ("straight", "stopped"))
    assert one == other and [line["step"] for line in one] == [3, 6, 9, 11]


def test_one_and_four_devices_learn_the_same(tmp_path):
    alone = run(tmp_path / "alone", steps=3)
    spread = run(tmp_path / "spread", steps=3, devices=jax.devices()[:4])
    for path, value in alone.items():
        np.testing.assert_allclose(value, spread[path], atol=2e-3, err_msg=path)


def test_softmax_loss_is_symmetric_and_lowest_for_matching_pairs():
    rng = np.random.default_rng(0)
    images, texts = (jnp.asarray(rng.normal(size=(6, 5)), jnp.float32) for _ in range(2))
    scale = jnp.float32(3.0)
    np.testing.assert_allclose(
        softmax_loss(images, texts, scale), softmax_loss(texts, images, scale), rtol=1e-5
    )
    assert softmax_loss(images, images, scale) < softmax_loss(images, texts, scale)


def test_sigmoid_loss_is_minus_log_likelihood_of_every_pair():
    images = jnp.eye(2)
    texts = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    logits = np.array([[0.0, 2.0], [2.0, 0.0]]) - 1.0
    signs = 2 * np.eye(2) - 1
    expected = np.log1p(np.exp(-signs * logits)).sum() / 2
    loss = sigmoid_loss(images, texts, jnp.float32(2.0), jnp.float32(-1.0))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_augmentation_moves_and_mirrors_but_invents_no_colour():
    pixels = jnp.arange(4 * 8 * 8 * 3, dtype=jnp.uint8).reshape(4, 8, 8, 3)
    same = augment(pixels, jax.random.key(0), max_shift=0, flip=False)
    np.testing.assert_array_equal(same, pixels)
    moved = augment(pixels, jax.random.key(0), max_shift=2, flip=True)
    assert moved.shape == pixels.shape and moved.dtype == jnp.uint8
    assert not np.array_equal(moved, pixels)
    for before, after in zip(np.asarray(pixels), np.asarray(moved), strict=True):
        assert set(after.ravel()) <= set(before.ravel())
