"""A sweep's runs against the same settings alone, on one device and eight, whole and in tiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.data.features import Features
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import replicate
from jaxcbm.errors import UserError
from jaxcbm.model.texts import Texts
from jaxcbm.training.config import FitConfig, OptimizerConfig, TrainingConfig
from jaxcbm.training.fit import fit_features
from jaxcbm.training.fit_arrays import fit_arrays, split_arrays, start
from jaxcbm.training.sweep.grid import families, parse_axis, runs_of, with_fields
from jaxcbm.training.sweep.ranking import rank
from jaxcbm.training.sweep.runs import SweepProgram, compiled
from jaxcbm.training.sweep.sweep import (
    Outcome,
    estimate_cost,
    hypers_of,
    sweep,
)
from jaxcbm.training.sweep.tiles import Cost, choose_tile

WIDTH, CONCEPTS, CLASSES = 12, 9, 3
RATES = "training.cbl.learning_rate"


def make_split():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(150, WIDTH)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = np.argmax(embeddings @ rng.normal(size=(WIDTH, CLASSES)), axis=1)
    features = Features.from_arrays(embeddings, labels, ["a", "b", "c"])
    return features.select(range(115)), features.select(range(115, 150))


def make_texts():
    rng = np.random.default_rng(1)
    concepts, classes = (
        rng.normal(size=(n, WIDTH)).astype(np.float32) for n in (CONCEPTS, CLASSES)
    )
    unit = jnp.asarray(concepts / np.linalg.norm(concepts, axis=1, keepdims=True))
    phrases = tuple(f"concept {i}" for i in range(CONCEPTS))
    return Texts(phrases, ("a", "b", "c"), unit, jnp.asarray(classes), scale=20.0)


TRAIN, VALID = make_split()
TEXTS = make_texts()
CONFIG = FitConfig(
    BottleneckConfig(objective="gumbel", parameterisation="full"),
    TrainingConfig(epochs=3, batch_size=32),
)


def run_sweep(grid, config=CONFIG, devices=1, **options):
    mesh = make_mesh(devices=jax.devices()[:devices])
    tiles = sweep(
        TRAIN,
        VALID,
        TEXTS,
        config=config,
        grid=grid,
        mesh=mesh,
        keep_params=True,
        **options,
    )
    return list(tiles)


def joined(tiles):
    return {outcome.key: outcome for outcomes in tiles for outcome in outcomes}


def check_same(ones, others, atol=1e-5):
    assert ones.keys() == others.keys()
    for key, one in ones.items():
        other = others[key]
        assert one.best_epoch == other.best_epoch
        np.testing.assert_allclose(one.valid_loss, other.valid_loss, atol=atol)
        for path, value in one.params.items():
            np.testing.assert_allclose(value, other.params[path], atol=atol, err_msg=path)


def check_alone(outcome, config=CONFIG):
    _, progress = fit_features(
        TRAIN,
        VALID,
        TEXTS,
        config=with_fields(config, outcome.setting),
        mesh=make_mesh(devices=jax.devices()[:1]),
    )
    assert outcome.best_epoch == progress.best_epoch
    np.testing.assert_allclose(outcome.valid_loss, progress.best_loss, atol=1e-5)
    for path, value in outcome.params.items():
        np.testing.assert_allclose(value, progress.best[path], atol=1e-5, err_msg=path)


OBJECTIVES = {
    "bottleneck.objective": ("gumbel", "l1", "sigmoid"),
    RATES: (1e-3, 1e-2),
    "bottleneck.penalty": (1e-3, 10.0),
    "bottleneck.tau_end": (0.5, 1.0),
    "training.seed": (0, 1, 2),
}
GUMBEL = {path: values for path, values in OBJECTIVES.items() if "objective" not in path}


@pytest.fixture(scope="module")
def objective_runs():
    return joined(run_sweep(OBJECTIVES))


@pytest.fixture(scope="module")
def gumbel_runs(objective_runs):
    return {
        key: run
        for key, run in objective_runs.items()
        if run.setting["bottleneck.objective"] == "gumbel"
    }


@pytest.mark.parametrize("objective", ["gumbel", "l1", "sigmoid"])
def test_a_run_equals_the_same_setting_alone(objective_runs, objective):
    own = [x for x in objective_runs.values() if x.setting["bottleneck.objective"] == objective]
    check_alone(own[-1])
    for outcome in own[:-1]:
        assert not np.allclose(outcome.params["cbl.kernel"], own[-1].params["cbl.kernel"])


def test_a_sweep_keeps_the_last_epoch_where_it_shall():
    harsh = OptimizerConfig(name="sgd", learning_rate=5.0, schedule="constant")
    training = TrainingConfig(epochs=6, batch_size=32, head=harsh, keep_best=False, patience=1)
    config = FitConfig(CONFIG.bottleneck, training)
    (outcome,) = joined(run_sweep({}, config)).values()
    assert outcome.best_epoch == 6
    check_alone(outcome, config)


def test_every_number_reaches_its_run():
    """Factored layer, noisy sampler, both other optimizers, early stopping: as alone."""
    training = TrainingConfig(
        epochs=6,
        batch_size=32,
        cbl=OptimizerConfig(name="adamw", learning_rate=1e-2, warmup=0.1),
        head=OptimizerConfig(name="sgd", schedule="constant"),
        ce_to_cbl=True,
        patience=1,
    )
    bottleneck = BottleneckConfig(
        objective="gumbel", sampler="binary_concrete", parameterisation="factored"
    )
    config = FitConfig(bottleneck, training)
    grid = {
        "training.head.learning_rate": (0.1, 1.0),
        "training.head.momentum": (0.0, 0.9),
        "training.cbl.weight_decay": (0.0, 0.1),
        "training.objective_weight": (0.5, 2.0),
        "training.kl_weight": (0.01, 1.0),
        "bottleneck.tau_start": (1.0, 2.0),
    }
    runs = list(joined(run_sweep(grid, config)).values())
    assert len(runs) == 64
    assert any(outcome.best_epoch < 5 for outcome in runs)
    check_alone(runs[-1], config)
    for field in grid:
        others = {path: value for path, value in runs[-1].setting.items() if path != field}
        pair = [x for x in runs if others.items() <= x.setting.items()]
        assert len(pair) == 2
        one, other = (np.concatenate([v.ravel() for v in x.params.values()]) for x in pair)
        assert not np.allclose(one, other, atol=1e-6), field


def test_one_and_eight_devices_give_the_same_runs(gumbel_runs):
    check_same(gumbel_runs, joined(run_sweep(GUMBEL, devices=8)))


def test_tiles_within_a_budget_give_the_same_runs_and_finished_ones_are_left_out(gumbel_runs):
    budget = costs(GUMBEL).of(1, 3)
    tiles = run_sweep(GUMBEL, memory=budget)
    assert len(tiles) > 2 and max(map(len, tiles)) <= 3
    check_same(gumbel_runs, joined(tiles))
    rest = run_sweep(GUMBEL, memory=budget, finished=joined(tiles[:-1]).keys())
    check_same(joined(tiles[-1:]), joined(rest))
    assert run_sweep(GUMBEL, memory=budget, finished=joined(tiles).keys()) == []


def costs(grid, config=CONFIG):
    _, arrays, program, params = prepared(grid, config)
    return estimate_cost(program, params, arrays)


def prepared(grid, config=CONFIG):
    family = families(config, grid)[0]
    parts = split_arrays(TRAIN), split_arrays(VALID)
    arrays = fit_arrays(config.bottleneck, TEXTS, *parts, "scores")
    structure, params = start(config.bottleneck, arrays.inputs, CONCEPTS, CLASSES, 0)
    return family, arrays, SweepProgram(structure, family.config, len(TRAIN)), params


def test_the_compiler_takes_no_more_than_estimated_and_devices_never_talk():
    family, arrays, program, params = prepared(
        {RATES: tuple(np.geomspace(1e-4, 1e-2, 16)), "training.seed": (0, 1)}
    )
    cost = estimate_cost(program, params, arrays)
    tile = choose_tile(2, 16, devices=8, cost=cost, budget=2**30)
    mesh = make_mesh()
    begin, epoch = compiled(program, mesh, tile)
    hypers = hypers_of(family, list(range(16)))
    keys = jnp.stack([jax.random.key(seed) for seed in family.seeds])
    data, valid = replicate((arrays.data, arrays.valid), mesh)
    runs = begin({path: np.stack([value, value]) for path, value in params.items()}, hypers)
    done = epoch.lower(runs, hypers, keys, data, valid).compile()
    memory = done.memory_analysis()
    taken = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    assert taken < cost.of(tile.seeds, tile.settings // 8)
    assert not any(name in done.as_text() for name in ("all-reduce", "all-gather", "all-to-all"))


def test_axes_that_a_structure_does_not_use_make_no_runs():
    grid = {"bottleneck.objective": ("contrastive", "l1"), "bottleneck.penalty": (0.1, 1.0)}
    settings = list(runs_of(FitConfig(), grid).values())
    assert [x.get("bottleneck.penalty") for x in settings] == [None, 0.1, 1.0]
    grid = {"bottleneck.objective": ("sigmoid", "similarity"), "bottleneck.positives_k": (2, 8)}
    settings = list(runs_of(FitConfig(), grid).values())
    assert [x.get("bottleneck.positives_k") for x in settings] == [2, 8, None]


def test_fields_that_are_right_only_together_are_set_together():
    paper = with_fields(FitConfig(), {"bottleneck.variant": "paper"})
    both = {"bottleneck.objective": "sigmoid", "bottleneck.variant": "paired"}
    for values in (both, dict(reversed(both.items()))):
        assert with_fields(paper, values).bottleneck == BottleneckConfig(objective="sigmoid")
    with pytest.raises(UserError, match="variant=paper: the objective sigmoid has paired only"):
        runs_of(paper, {"bottleneck.objective": ("l1", "sigmoid")})


def test_a_grid_has_every_combination_once():
    grid = {RATES: (0.1, 0.2), "bottleneck.variant": ("paper", "paired"), "training.seed": (4, 5)}
    settings = list(runs_of(FitConfig(), grid).values())
    assert len(settings) == len({tuple(sorted(x.items())) for x in settings}) == 8


@pytest.mark.parametrize(
    "path,text,words",
    [
        ("training.cbl.rate", "1", ["unknown field", "learning_rate"]),
        ("training.cbl", "1", ["section", "learning_rate"]),
        ("data.seed", "1", ["bottleneck or training"]),
        ("training.seed", "0,x", ["'x'", "int"]),
        ("training.seed", "0,", ["''", "int"]),
        ("bottleneck.objective", "gumble", ["'gumble'", "gumbel"]),
        ("training.ce_to_cbl", "yes", ["true, false"]),
    ],
)
def test_a_bad_axis_is_one_clear_line(path, text, words):
    with pytest.raises(UserError) as error:
        parse_axis(path, text.split(","))
    assert all(word in str(error.value) for word in words)


def test_no_room_for_one_run():
    with pytest.raises(UserError, match=r"one run takes about .* budget is"):
        run_sweep({"training.seed": (0,)}, memory=1000)


@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize("budget", [111, 150, 500, 10_000])
def test_a_tile_fits_and_divides(devices, budget):
    cost = Cost(shared=100, seed=1, member=10)
    for seeds in (1, 3, 8):
        for settings in (1, 5, 32):
            tile = choose_tile(seeds, settings, devices=devices, cost=cost, budget=budget)
            s, h = tile.seeds, tile.settings
            s, h = (s / devices, h) if tile.axis == "seeds" else (s, h / devices)
            assert s == int(s) and h == int(h)
            assert cost.of(int(s), int(h)) <= budget


def test_ranking_averages_seeds_and_puts_diverged_settings_last():
    def runs(rate, *top1s):
        return [
            Outcome(f"{rate}{i}", {RATES: rate, "training.seed": i}, 1.0 - x, x, 1, 0.5)
            for i, x in enumerate(top1s)
        ]

    ranked = rank([*runs(0.1, np.nan, 0.99), *runs(0.2, 0.5, 0.7), *runs(0.3, 0.8, 0.6)])
    assert [own.setting[RATES] for own in ranked] == [0.3, 0.2, 0.1]
    np.testing.assert_allclose(ranked[0].top1, 0.7)
    np.testing.assert_allclose(ranked[0].top1_deviation, np.sqrt(0.02))
