import json
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
from problem import make_problem, start, train

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.objectives.table import OBJECTIVES
from jaxcbm.bottleneck.sampler_modules import SAMPLERS
from jaxcbm.experiment.original import original_fit
from jaxcbm.training.config import OptimizerConfig, TrainingConfig
from jaxcbm.training.metrics_log import read_metrics


def same(one, other, atol=1e-5):
    for path in one:
        np.testing.assert_allclose(one[path], other[path], atol=atol, rtol=0, err_msg=path)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_and_eight_devices_give_the_same_parameters(objective):
    # A residual layer starts at the optimum of `similarity`: its gradient there is rounding noise,
    # which Adam would blow up to full steps, different ones on every topology.
    start = "full" if objective == "similarity" else "residual"
    bottleneck = BottleneckConfig(objective=objective, parameterisation=start)
    alone = train(bottleneck).state.params
    same(alone, train(bottleneck, devices=jax.devices()).state.params)
    same(alone, train(bottleneck, devices=jax.devices(), model=2).state.params)


def test_same_seed_same_parameters_and_another_seed_another_result():
    first, second = train().state.params, train().state.params
    same(first, second, atol=0.0)
    other = train(training=TrainingConfig(epochs=4, batch_size=32, seed=1)).state.params
    assert not np.allclose(first["head.kernel"], other["head.kernel"])


@pytest.mark.parametrize(
    "objective, variant",
    [(name, variant) for name, record in OBJECTIVES.items() for variant in record.variants],
)
def test_every_objective_and_variant_trains_to_finite_parameters(objective, variant):
    check_finite(BottleneckConfig(objective=objective, variant=variant))


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_trains_to_finite_parameters(sampler, hard):
    check_finite(BottleneckConfig(sampler=sampler, hard=hard, k=3))


def moved(params, bottleneck=None):
    """How far the farthest number of each parameter came from its start, which is not zero."""
    _, first = start(bottleneck)
    return {path: np.abs(params[path] - value).max() for path, value in first.items()}


def check_finite(bottleneck):
    progress = train(bottleneck, TrainingConfig(epochs=1, batch_size=32))
    assert all(np.isfinite(value).all() for value in progress.state.params.values())
    assert moved(progress.state.params, bottleneck)["head.kernel"] > 1e-4
    assert np.isfinite(progress.best_loss)


def test_each_objective_is_the_loss_of_its_name(tmp_path):
    """Of a residual layer that stays at its start, where concept logits are the scores."""
    still = OptimizerConfig(name="sgd", learning_rate=0.0, schedule="constant")
    scores, labels, positives = make_problem(90)
    training = TrainingConfig(epochs=2, batch_size=72, cbl=still, head=still)

    def logged(objective):
        train(
            BottleneckConfig(objective=objective, parameterisation="residual"),
            training,
            tmp_path / objective,
            problem=(scores, labels, positives),
        )
        lines = read_metrics(tmp_path / objective / "metrics.jsonl")
        return [x["value"] for x in lines if (x["split"], x["name"]) == ("train", "objective")]

    np.testing.assert_allclose(logged("similarity"), -1.0, rtol=1e-5)
    np.testing.assert_array_equal(logged("l1"), 0.0)
    # The held-out fifth comes first; one batch is the whole epoch.
    wanted = info_nce(scores[18:], positives[18:])
    np.testing.assert_allclose(logged("contrastive"), wanted, rtol=1e-4)
    # Other noise each time.
    first, second = logged("gumbel")
    assert min(first, second) > 0 and abs(first - second) > 1e-3


def info_nce(z_BxD, positives_BxD):
    """Mean over both directions of what each row's positives cost, written out."""
    directions = []
    for z, positives in ((z_BxD, positives_BxD), (z_BxD.T, positives_BxD.T)):
        costs = np.log(np.exp(z).sum(axis=1, keepdims=True)) - z
        found = [
            cost[own > 0].mean() for cost, own in zip(costs, positives, strict=True) if any(own)
        ]
        directions.append(np.mean(found))
    return np.mean(directions)


def test_the_loss_falls_and_validation_beats_chance():
    training = TrainingConfig(epochs=40, batch_size=32)
    progress = train(training=training)
    assert progress.best_loss < 0.7 * np.log(3)


def test_proximal_l1_reaches_exact_zeros_and_the_subgradient_does_not():
    fast = OptimizerConfig(learning_rate=1e-2, schedule="constant")
    training = TrainingConfig(epochs=10, batch_size=32, cbl=fast)
    zeros = {}
    for variant in ("paired", "released"):
        bottleneck = BottleneckConfig(
            objective="l1", variant=variant, parameterisation="full", penalty=10.0
        )
        kernel = np.asarray(train(bottleneck, training).state.params["cbl.kernel"])
        zeros[variant] = np.mean(kernel == 0.0)
    assert zeros["paired"] > 0.1
    assert zeros["released"] == 0.0


def test_a_frozen_head_stays_at_its_start_and_the_released_setting_freezes_it():
    config = original_fit("released", "gumbel", images=203)
    short = TrainingConfig(epochs=1, batch_size=32, train_head=False, ce_to_cbl=True)
    first = train(config.bottleneck, short).state.params["head.kernel"]
    longer = TrainingConfig(epochs=3, batch_size=32, train_head=False, ce_to_cbl=True)
    last = train(config.bottleneck, longer).state.params["head.kernel"]
    np.testing.assert_array_equal(first, last)
    assert not config.training.train_head


def test_stop_gradient_keeps_the_cross_entropy_from_the_concept_bottleneck_layer():
    # It starts at zero.
    residual = BottleneckConfig(parameterisation="residual")
    apart = TrainingConfig(epochs=2, batch_size=32, objective_weight=0.0)
    assert not np.any(train(residual, apart).state.params["cbl.kernel"])
    joined = TrainingConfig(epochs=2, batch_size=32, objective_weight=0.0, ce_to_cbl=True)
    assert np.any(train(residual, joined).state.params["cbl.kernel"])


@pytest.mark.parametrize("images,concepts", [(5, 3), (3, 1), (40, 1)])
def test_tiny_problems_train(images, concepts):
    progress = train(problem=make_problem(images, concepts, 3))
    assert all(np.isfinite(value).all() for value in progress.state.params.values())


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential"])
def test_every_optimizer_and_schedule_moves_the_parameters(name, schedule):
    optimizer = OptimizerConfig(
        name=name, learning_rate=1e-2, schedule=schedule, warmup=0.1, weight_decay=1e-3
    )
    training = TrainingConfig(epochs=2, batch_size=32, cbl=optimizer, head=optimizer)
    params = train(training=training).state.params
    assert min(moved(params).values()) > 1e-4


def test_the_last_epoch_is_kept_where_validation_may_not_choose():
    harsh = OptimizerConfig(name="sgd", learning_rate=50.0, schedule="constant")
    training = TrainingConfig(epochs=6, batch_size=32, head=harsh)
    best = train(training=training)
    last = train(training=replace(training, keep_best=False, patience=1))
    assert best.best_epoch < 6 and (last.epoch, last.best_epoch) == (6, 6)
    same(last.best, last.state.params, atol=0.0)
    same(best.state.params, last.state.params, atol=0.0)
    assert not np.allclose(best.best["head.kernel"], last.best["head.kernel"])


def test_early_stopping_keeps_the_best_epoch(tmp_path):
    harsh = OptimizerConfig(name="sgd", learning_rate=50.0, schedule="constant")
    training = TrainingConfig(epochs=30, batch_size=32, head=harsh, patience=2)
    progress = train(training=training, workdir=tmp_path)
    assert progress.epoch - progress.best_epoch == 2 and progress.epoch < 30
    losses = [
        line["value"]
        for line in read_metrics(tmp_path / "metrics.jsonl")
        if (line["split"], line["name"]) == ("valid", "loss")
    ]
    assert progress.best_loss == min(losses)


def start_worker(workdir):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    worker = Path(__file__).with_name("kill_worker.py")
    return subprocess.Popen([sys.executable, str(worker), str(workdir)], env=environment)


def wait_for_epochs(workdir, count):
    """Seconds are no measure on a busy machine: wait until some epochs are logged."""
    deadline = time.monotonic() + 120
    while not (
        (file := workdir / "metrics.jsonl").exists() and len(read_metrics(file)) >= 5 * count
    ):
        assert time.monotonic() < deadline, f"{count} epochs are not there"
        time.sleep(0.02)


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_again_and_again_the_result_is_bit_identical(tmp_path, kills):
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    undisturbed.mkdir()
    disturbed.mkdir()
    straight = start_worker(undisturbed)
    for kill in range(kills):
        process = start_worker(disturbed)
        wait_for_epochs(disturbed, 4 + 7 * kill)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start_worker(disturbed).wait(240) == 0 and straight.wait(240) == 0
    with np.load(undisturbed / "final.npz") as one, np.load(disturbed / "final.npz") as other:
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert read_metrics(undisturbed / "metrics.jsonl") == read_metrics(disturbed / "metrics.jsonl")


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    whole = {"step": 1, "split": "train", "name": "loss", "value": 0.5}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(whole) + '\n{"step": 2, "spl')
    assert read_metrics(tmp_path / "metrics.jsonl") == [whole]


@pytest.mark.parametrize("notebook", [True, False])
def test_it_says_how_far_it_is_in_a_notebook_though_nobody_asked_for_logs(monkeypatch, notebook):
    said = []
    line = lambda *about: lambda done, total, note: said.append((*about, done, total, note))  # noqa: E731
    monkeypatch.setattr("jaxcbm.training.loop.in_notebook", lambda: notebook)
    monkeypatch.setattr("jaxcbm.training.loop.ProgressLine", line)
    monkeypatch.setattr("absl.logging.level_info", lambda: False)
    train()
    assert bool(said) == notebook
    if notebook:
        assert said[-1][:2] == ("train", "images") and said[-1][2] == said[-1][3] > 0
