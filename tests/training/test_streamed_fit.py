"""A streamed fit is the same fit: same step, same noise; only the order of the rows is its own."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pair import environment, free_port
from streamed_problem import (
    CLASSES,
    CONCEPTS,
    CONFIG,
    PHRASES,
    WIDTH,
    make_features,
    make_texts,
    stream,
)

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.positives import positives_source
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.data.stream.moments import choose_pivot, sum_moments
from jaxcbm.data.stream.order import shuffle_chunks, window_rows
from jaxcbm.distributed import preemption
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.model.texts import Texts
from jaxcbm.training import feeds
from jaxcbm.training.checkpoints import begun_identity
from jaxcbm.training.config import OptimizerConfig, SparseHeadConfig
from jaxcbm.training.data_mode import is_streamed
from jaxcbm.training.fit import fit
from jaxcbm.training.fit_arrays import (
    fit_arrays,
    make_inputs,
    split_arrays,
    start,
)
from jaxcbm.training.metrics_log import read_metrics
from jaxcbm.training.step import init_state, make_plan, take_rows, train_step
from jaxcbm.training.streamed_arrays import make_stream, train_moments


def same(one, other, atol=1e-5):
    for path in one:
        np.testing.assert_allclose(one[path], other[path], atol=atol, rtol=0, err_msg=path)


def in_memory(config, train, valid, count=CONCEPTS):
    source = positives_source(config.bottleneck, train.annotations is not None)
    texts = make_texts(count)
    parts = split_arrays(train, source, texts.phrases), split_arrays(valid)
    return fit_arrays(config.bottleneck, texts, *parts, source)


def step_by_step(config, train, count=CONCEPTS):
    """The in-memory data through `train_step`, in the order of the stream."""
    data = in_memory(config, train, make_features(41, seed=1), count)
    structure, params = start(config.bottleneck, data.inputs, count, CLASSES, config.training.seed)
    plan = make_plan(structure, config, len(train))
    placed = jax.tree.map(jnp.asarray, data.data)
    state, key, losses = init_state(plan, params), jax.random.key(config.training.seed), []
    step = jax.jit(train_step, static_argnames="plan")
    order = feeds.stream_order(plan)
    for epoch in range(config.training.epochs):
        epoch_key, sums = jax.random.fold_in(key, state.step), []
        chunk_order = shuffle_chunks(order, epoch)
        for window in range(-(-order.steps // order.window_steps)):
            for rows_B in window_rows(chunk_order, window).reshape(-1, order.batch):
                batch = take_rows(placed, jnp.asarray(rows_B))
                state, metrics = step(
                    state, plan=plan, batch=batch, key=jax.random.fold_in(epoch_key, state.step)
                )
                sums.append(float(metrics["loss"]))
        losses.append(np.mean(sums))
    return state.params, losses


@pytest.mark.parametrize(
    ("positives", "dtype"),
    [("annotations", np.float32), ("classes", jnp.bfloat16), ("scores", np.float16)],
)
def test_it_takes_the_steps_that_the_same_batches_give_in_memory(tmp_path, positives, dtype):
    config = replace(
        CONFIG, bottleneck=BottleneckConfig(objective="gumbel", positives=positives, positives_k=2)
    )
    train = make_features(annotated=positives == "annotations", dtype=dtype)
    if train.annotations is not None:
        # Of two phrases nothing is known, and of every third image nothing of another phrase.
        known = np.where(np.arange(len(train))[:, None] % 3 > 0, 1.0, [1.0] * 6 + [np.nan])
        annotations = (train.annotations[:, :7] * known).astype(np.float32)
        train = replace(train, annotations=annotations, annotation_phrases=PHRASES[:7])
    _, progress = stream(config, train, workdir=tmp_path)
    params, losses = step_by_step(config, train)
    same(params, progress.state.params)
    logged = [
        line["value"]
        for line in read_metrics(tmp_path / "metrics.jsonl")
        if (line["split"], line["name"]) == ("train", "loss")
    ]
    np.testing.assert_allclose(logged, losses, rtol=1e-5)


@pytest.mark.parametrize(("layer", "batch"), [("factored", 32), ("residual", 31)])
def test_one_and_eight_devices_give_the_same_parameters(layer, batch):
    config = replace(
        CONFIG,
        bottleneck=BottleneckConfig(parameterisation=layer),
        training=replace(CONFIG.training, batch_size=batch),
    )
    inputs, alone = stream(config)
    for devices, model in ((8, 1), (8, 2)):
        others, progress = stream(config, devices=devices, model=model)
        same(alone.state.params, progress.state.params)
        np.testing.assert_allclose(alone.best_loss, progress.best_loss, rtol=1e-5)
        np.testing.assert_array_equal(inputs.layer.bias, others.layer.bias)


@pytest.mark.slow
def test_two_processes_give_the_same_parameters_and_share_the_reading(tmp_path):
    worker, port = Path(__file__).with_name("streamed_worker.py"), str(free_port())
    started = [
        subprocess.Popen(
            [sys.executable, str(worker), port, str(process), str(tmp_path)],
            env=environment(devices=4),
        )
        for process in range(2)
    ]
    assert [process.wait(240) for process in started] == [0, 0]
    _, alone = stream(devices=1)
    for process in range(2):
        with np.load(tmp_path / f"process{process}.npz") as found:
            read = found["rows_read"]
            same(alone.state.params, {path: found[path] for path in alone.state.params})
        # Three epochs of six batches of 32, half of each.
        assert read == 3 * 6 * 16


@pytest.mark.parametrize("stop", [1, 6, 9])
def test_stopped_at_any_step_it_goes_on_to_the_same_bits(tmp_path, monkeypatch, stop):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _, undisturbed = stream(workdir=whole)
    monkeypatch.setattr(preemption, "requested", lambda step: step == stop)
    with pytest.raises(preemption.Preempted, match=f"step {stop}"):
        stream(workdir=parts)
    monkeypatch.setattr(preemption, "requested", lambda step: False)
    _, resumed = stream(workdir=parts)
    same(undisturbed.state.params, resumed.state.params, atol=0.0)
    assert undisturbed[3:] == resumed[3:]
    assert read_metrics(whole / "metrics.jsonl") == read_metrics(parts / "metrics.jsonl")


def test_validation_counts_every_row_once():
    config = replace(CONFIG, training=replace(CONFIG.training, epochs=1))
    inputs, progress = stream(config)
    valid = make_features(41, seed=1)
    data = in_memory(config, make_features(), valid)
    structure, _ = start(config.bottleneck, inputs, CONCEPTS, CLASSES, 0)
    logits, _ = structure.apply(progress.state.params, jnp.asarray(data.valid.inputs))
    picked = jax.nn.log_softmax(logits)[jnp.arange(41), jnp.asarray(valid.labels)]
    np.testing.assert_allclose(progress.best_loss, -float(picked.mean()), rtol=1e-5)


@pytest.mark.parametrize("layer", ["factored", "residual"])
def test_inputs_from_one_pass_are_those_of_the_whole_array(layer):
    train, config = make_features(20_000), BottleneckConfig(parameterisation=layer)
    whole = make_inputs(config, jnp.asarray(train.as_array()), make_texts())
    streamed = make_stream(config, make_texts(), train, train).inputs
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), whole, streamed
    )


def test_moments_keep_their_digits_beside_a_large_common_part():
    rng = np.random.default_rng(0)
    rows = (1000.0 + rng.normal(size=(30_000, 4))).astype(np.float32)
    digests, labels = np.zeros((len(rows), 32), np.uint8), np.zeros(len(rows), np.int32)
    features = Features(rows, labels, digests, ("owl",))
    source = make_stream(RAW, wide(rows), features, features).train
    mean, covariance = train_moments(source)
    np.testing.assert_allclose(mean, rows.astype(np.float64).mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(covariance, np.cov(rows.T.astype(np.float64), ddof=0), atol=1e-4)
    pivot = choose_pivot(source)
    halves = [sum_moments(source, pivot, first, 2, block=7000) for first in range(2)]
    joined = type(halves[0])(*(a + b for a, b in zip(*halves, strict=True)))
    np.testing.assert_allclose(joined.covariance(), np.cov(rows.T.astype(np.float64), ddof=0), 1e-4)


RAW = BottleneckConfig(standardise=False)


def wide(rows):
    concepts = jnp.eye(rows.shape[1])
    return Texts(PHRASES[: rows.shape[1]], ("owl",), concepts, concepts[:1], scale=1.0)


def test_size_decides_unless_told_and_a_run_stays_as_it_began(tmp_path, monkeypatch):
    train, mesh = make_features(), make_mesh(devices=jax.devices()[:1])

    def mode(data, workdir=None):
        config = replace(CONFIG, training=replace(CONFIG.training, data=data))
        return is_streamed(config, train, CONCEPTS, mesh, workdir)

    assert (mode("auto"), mode("memory"), mode("stream")) == (False, False, True)
    stream(train=train, workdir=tmp_path)
    assert mode("stream", tmp_path) and mode("auto", tmp_path)
    with pytest.raises(UserError, match=r"training.data=stream: keep it"):
        mode("memory", tmp_path)
    with pytest.raises(UserError, match="rows=203, now it is 100"):
        stream(train=train.select(np.arange(100)), workdir=tmp_path)
    monkeypatch.setattr("jaxcbm.training.data_mode.default_budget", lambda mesh: 1000)
    assert mode("auto") and not mode("memory")


# Above what is kept as scores: batches of embeddings are mapped in the step. Plain gradient steps,
# because Adam makes full steps of rounding noise.
WIDE = 513
STEEP = OptimizerConfig(name="sgd", learning_rate=0.1, schedule="constant")
MAPPED = replace(
    CONFIG,
    bottleneck=BottleneckConfig(objective="contrastive", parameterisation="residual"),
    training=replace(CONFIG.training, epochs=2, cbl=STEEP, head=STEEP),
)


def test_wide_scores_are_not_kept_and_a_batch_of_them_is_the_same(monkeypatch):
    mapped = in_memory(MAPPED, make_features(), make_features(), WIDE)
    monkeypatch.setattr("jaxcbm.training.fit_arrays.KEEP_SCORES_UP_TO", WIDE)
    kept = in_memory(MAPPED, make_features(), make_features(), WIDE)
    assert mapped.data.input_map is not None and kept.data.input_map is None
    assert mapped.data.inputs.shape == (203, WIDTH) and kept.data.inputs.shape == (203, WIDE)
    rows_B = jnp.array([7, 0, 202, 7])
    batch = take_rows(jax.tree.map(jnp.asarray, mapped.data), rows_B)
    assert batch.input_map is None
    np.testing.assert_allclose(batch.inputs, kept.data.inputs[rows_B], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(batch.labels, kept.data.labels[rows_B])


def test_a_mapped_fit_in_memory_is_the_fit_on_kept_scores(monkeypatch):
    _, mapped = stream(MAPPED, count=WIDE, streamed=False)
    monkeypatch.setattr("jaxcbm.training.fit_arrays.KEEP_SCORES_UP_TO", WIDE)
    _, kept = stream(MAPPED, count=WIDE, streamed=False)
    same(kept.state.params, mapped.state.params)
    assert np.abs(mapped.state.params["cbl.kernel"]).max() > 1e-3
    np.testing.assert_allclose(mapped.best_loss, kept.best_loss, rtol=1e-4)


def test_a_mapped_stream_takes_the_steps_of_the_mapped_fit_in_memory():
    _, progress = stream(MAPPED, count=WIDE)
    params, _ = step_by_step(MAPPED, make_features(), WIDE)
    same(params, progress.state.params)


def test_fit_solves_the_sparse_head_on_a_stated_sample(tiny_encoder_folder, tmp_path):
    encoder = load_encoder(str(tiny_encoder_folder))
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(120, encoder.embed_dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    train = Features.from_arrays(rows, (rows[:, 0] > 0).astype(int), ["owl", "wren"])
    config = replace(CONFIG, sparse_head=SparseHeadConfig(images=50, path_length=4))
    concepts = ConceptSet(("a red bird", "a blue fish", "a bird"))
    model = fit(train, train, encoder=encoder, concepts=concepts, config=config, workdir=tmp_path)
    assert model.metrics["sparse_head_images"] == 50 and model.metrics["path"]["nec"]
    assert begun_identity(tmp_path)["data"] == "stream"
    again = fit(train, train, encoder=encoder, concepts=concepts, config=config, workdir=tmp_path)
    same(model.params, again.params, atol=0.0)
