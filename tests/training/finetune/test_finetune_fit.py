"""Whole end-to-end fits: what they keep, what they change, and how they go on after a stop."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from finetune_problem import PHRASES, make_recipe, make_splits, pictures

from jaxcbm.data.pixel_batches import Pictures, of_features, pixel_batches, rows_in_order
from jaxcbm.encoders.finetune.lora import LoraConfig
from jaxcbm.encoders.finetune.trainable import rules_of
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.model.model import load_model
from jaxcbm.training.finetune.config import FinetuneConfig, batch_sizes
from jaxcbm.training.finetune.fit import begin, finetune_splits, run_finetune
from jaxcbm.training.metrics_log import read_metrics


@pytest.fixture(scope="module")
def fitted(tiny_encoder_folder, tmp_path_factory):
    """(a fit with adapters, its work directory)"""
    workdir = tmp_path_factory.mktemp("fit")
    recipe = make_recipe(tiny_encoder_folder)
    return finetune_splits(*make_splits(recipe.encoder), recipe, workdir), workdir


@pytest.fixture(scope="module")
def begun(tiny_encoder_folder):
    recipe = make_recipe(
        tiny_encoder_folder, lora=LoraConfig(rank=2, dropout=0.2), flip=True, checkpoint_every=1
    )
    return begin(*make_splits(recipe.encoder), recipe)


def bits(params):
    return {path: np.asarray(value) for path, value in params.items()}


def test_the_loss_falls_below_that_of_the_frozen_encoder(fitted):
    lines = read_metrics(fitted[1] / "finetune" / "metrics.jsonl")
    losses = [x["value"] for x in lines if (x["split"], x["name"]) == ("valid", "loss")]
    assert len(losses) == 3 and min(losses[1:]) < losses[0]


def test_only_adapted_kernels_change_and_the_rest_is_the_same_to_the_bit(
    tiny_encoder_folder, fitted
):
    model, before = fitted[0], load_encoder(tiny_encoder_folder).params
    after = model.encoder.params
    changed = {path for path in before if not np.array_equal(after[path], before[path])}
    adapted = {name[5:-2] for name in model.finetuned.arrays if name.endswith(".a")}
    assert changed == adapted and len(adapted) == 8
    assert all(path.startswith("vision.") and path.endswith(".kernel") for path in changed)


def test_a_saved_model_loads_with_its_tuned_encoder(tiny_encoder_folder, fitted, tmp_path):
    model = fitted[0]
    model.save(tmp_path / "model")
    assert (tmp_path / "model" / "encoder.safetensors").stat().st_size < 30_000
    again, images = load_model(tmp_path / "model"), pictures(7, seed=3).source.pixels
    one, other = model.predict(images), again.predict(images)
    np.testing.assert_array_equal(one.class_logits, other.class_logits)
    np.testing.assert_array_equal(model.concept_embeddings, model.encoder.embed_texts(PHRASES))
    frozen = load_encoder(tiny_encoder_folder).embed_images(images)
    assert not np.array_equal(one.class_logits, model.predict_embeddings(frozen).class_logits)


def test_a_checkpoint_holds_what_trains_and_knows_what_does_not(fitted, begun, tmp_path):
    folder = fitted[1] / "finetune" / "checkpoints"
    arrays = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and "/d/" in str(f))
    assert 0 < arrays < 100_000  # the encoder has 200,000 numbers
    run_finetune(begun._replace(plan=shorter(begun.plan, 1)), tmp_path)
    other = begun._replace(identity={**begun.identity, "hash": "0" * 64})
    with pytest.raises(UserError, match="was begun with hash="):
        run_finetune(other, tmp_path)


def shorter(plan, epochs):
    training = replace(plan.fit.config.training, epochs=epochs)
    return plan._replace(fit=plan.fit._replace(config=replace(plan.fit.config, training=training)))


def test_without_a_step_it_is_the_frozen_model(begun):
    """B = 0 at the start."""
    result = run_finetune(begun._replace(plan=shorter(begun.plan, 0)))
    assert (result.epoch, result.best_epoch) == (0, 0)
    for path, value in bits(result.best).items():
        np.testing.assert_array_equal(value, begun.params[path])
        assert path.split(".")[0] in ("cbl", "head") or path[-1] == "a" or not value.any()


def test_stopped_inside_an_epoch_and_resumed_is_bit_identical(begun, tmp_path, monkeypatch):
    straight = run_finetune(begun, tmp_path / "straight")
    served = 0

    class Stop(Exception):
        pass

    def stopping(pictures, rows):
        nonlocal served
        for batch in pixel_batches(pictures, rows):
            served += 1
            if served == 9:  # validation takes two, an epoch three, validation two, one step
                raise Stop
            yield batch

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr("jaxcbm.training.finetune.feed.pixel_batches", stopping)
        run_finetune(begun, tmp_path / "stopped")
    resumed = run_finetune(begun, tmp_path / "stopped")
    for kind in ("state", "best"):
        one, other = getattr(straight, kind), getattr(resumed, kind)
        one, other = (bits(getattr(x, "params", x)) for x in (one, other))
        for path in one:
            np.testing.assert_array_equal(one[path], other[path], err_msg=path)
    first, second = (
        read_metrics(tmp_path / name / "metrics.jsonl") for name in ("straight", "stopped")
    )
    assert first == second and len(first) == 2 + 2 * 5


@pytest.mark.slow
def test_killed_again_and_again_the_result_is_bit_identical(tiny_encoder_folder, tmp_path):
    worker = Path(__file__).with_name("kill_finetune_worker.py")
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}

    def start(workdir):
        command = [sys.executable, str(worker), str(tiny_encoder_folder), str(workdir)]
        return subprocess.Popen(command, env=environment)

    straight, killed = tmp_path / "straight", tmp_path / "killed"
    undisturbed = start(straight)
    process = start(killed)
    wait_for_lines(killed / "metrics.jsonl", 7)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert start(killed).wait(120) == 0 and undisturbed.wait(120) == 0
    with np.load(straight / "final.npz") as one, np.load(killed / "final.npz") as other:
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def wait_for_lines(path, count):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if path.exists() and len(read_metrics(path)) >= count:
            return
        time.sleep(0.02)


def test_batches_do_not_depend_on_the_number_of_threads(begun):
    images, preprocess = pictures(), begun.splits.train.preprocess
    one, many = (
        list(pixel_batches(Pictures(images, preprocess, None, threads), rows_in_order(30, 8)))
        for threads in (1, 5)
    )
    for batch, other in zip(one, many, strict=True):
        np.testing.assert_array_equal(batch.pixels, other.pixels)
    assert one[-1].mask.tolist() == [1] * 6 + [0] * 2 and not one[-1].pixels[6:].any()
    assert np.concatenate([b.labels for b in one])[:30].tolist() == images.labels.tolist()


def test_images_are_found_again_by_their_content(tiny_encoder_folder):
    train, _ = make_splits(load_encoder(tiny_encoder_folder))
    chosen = train.features.select([7, 2, 29])
    assert of_features(train.images, chosen).source.indices.tolist() == [7, 2, 29]
    with pytest.raises(UserError, match="2 of 3 features belong to none"):
        of_features(train.images.select([2, 3]), chosen)


def test_settings_that_cannot_work_are_one_clear_line(tiny_encoder_folder):
    with pytest.raises(UserError, match="accumulate=9"):
        batch_sizes(FinetuneConfig(batch_size=8, accumulate=9), images=30, devices=1)
    recipe = make_recipe(tiny_encoder_folder)
    recipe = recipe._replace(rules=rules_of("rules", "attention=lora", recipe.lora))
    with pytest.raises(UserError, match="'attention=lora' matches no parameter"):
        begin(*make_splits(recipe.encoder), recipe)


def test_bfloat16_compute_trains_as_float32_does(tiny_encoder_folder):
    """Whole fits from one start; what trains, and its optimizer's state, is float32 in both."""
    recipe = make_recipe(tiny_encoder_folder, "full", epochs=5)
    # Small steps: large ones overshoot first, and then any rounding leads elsewhere.
    gentle = replace(recipe.finetune.encoder, learning_rate=0.005)
    settings = replace(recipe.finetune, encoder=gentle, cbl=gentle, head=gentle)
    start = begin(*make_splits(recipe.encoder), recipe._replace(finetune=settings))
    losses = {}
    for dtype in ("float32", "bfloat16"):
        result = run_finetune(start._replace(plan=start.plan._replace(dtype=dtype)))
        kept = jax.tree.leaves((result.state.params, result.state.opt_state))
        assert all(x.dtype in (np.float32, np.int32) for x in kept)
        losses[dtype] = result.best_loss
    # Both start near 1.4.
    assert losses["float32"] < 0.5
    assert abs(losses["bfloat16"] - losses["float32"]) < 0.02
