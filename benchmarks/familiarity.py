"""Which score tells unfamiliar images, and whether prediction sets hold what they promise.

python -m benchmarks.familiarity --config=quickstart
python -m benchmarks.familiarity --config=fashion_mnist
python -m benchmarks.familiarity --render

Each run adds its dataset to the result file and writes the page anew. A seed draws the birds, the
validation images, the start of the fit and the classes that are held out.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import table
from jaxcbm.atomic import atomic_file, write_json
from jaxcbm.data.birds import load_birds, random_birds
from jaxcbm.data.datasets import DataConfig, load_dataset
from jaxcbm.data.features import Features
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.evaluation.metrics import concept_auc
from jaxcbm.evaluation.trust import selective_accuracy
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import read_config
from jaxcbm.experiment.prepare import Prepared, prepare
from jaxcbm.model.familiarity import COVERAGE, UNFAMILIAR, fit_familiarity
from jaxcbm.model.model import Model
from jaxcbm.model.prediction_sets import prediction_sets, set_threshold
from jaxcbm.training.config import FitConfig
from jaxcbm.training.fit import fit

IMAGES = 1440
# Of a larger train split as many are read: nearest neighbours compare all pairs.
TRAIN_IMAGES = 12_000
CHOSEN = "Gaussian a class, shrinkage 1"
Score = Callable[[np.ndarray], np.ndarray]
HEADER = """# When not to trust a model

Written by `python -m benchmarks.familiarity`; do not edit by hand.

How well does a score of an image's embedding tell test images from images of something else? The
tables show the area under the ROC curve: 1 for a score that never errs, 0.5 for one that says
nothing. Held-out classes are a quarter of the classes, which neither the score nor the model has
seen. Birds of no species differ in two or more attributes from every species. "1 - highest
probability" is what a model without a score of its own has to say. The score that models keep is
**{chosen}** (jaxcbm/model/familiarity.py).

Prediction sets are calibrated on validation for a coverage of 95 %: by the probability of the class
alone (kept), by the probability of all likelier classes (APS, arXiv 2006.02544), and by that with
a penalty of 0.01 on each class behind the third (RAPS, arXiv 2009.14193).
"""


def run(config: str, overrides: list[str], seeds: int) -> dict[str, Any]:
    """Every score and every kind of set on one dataset."""
    base = read_experiment(read_config(config, overrides))
    aurocs: dict[str, dict[str, list[float]]] = {}
    sets: dict[str, dict[str, list[float]]] = {}
    called: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            changes = {"data.seed": seed, "training.seed": seed}
            prepared = prepare(base, Path(folder) / "store", changes=changes)
            experiment = read_experiment(base, changes)
            strangers = others(prepared.encoder, experiment.data.name, seed)
            for what, known, unseen in (
                ("all", prepared, strangers),
                ("some", *held_out(prepared, seed)),
            ):
                model = _fit(known, experiment.fit)
                found = scores(model, known)
                test = known.splits.test.sample(4 * IMAGES, seed).as_array()
                for name, score in found.items():
                    for stranger, rows in unseen.items():
                        value = auroc(score(test), score(rows))
                        aurocs.setdefault(name, {}).setdefault(stranger, []).append(value)
                trust = model.familiarity
                assert trust is not None
                for stranger, rows in {"test": test, **unseen}.items():
                    if what == "all" or stranger != "test":
                        share = np.mean(trust.familiarity(trust.distances(rows)) <= UNFAMILIAR)
                        called.setdefault(stranger, []).append(float(share))
                if what == "all":
                    for kind, measured in conformal(model, known, seed).items():
                        for metric, value in measured.items():
                            sets.setdefault(kind, {}).setdefault(metric, []).append(value)
            print(config, seed, {n: v for n, v in aurocs[CHOSEN].items()}, flush=True)
    return {
        "dataset": base.data.name,
        "encoder": base.encoder.name,
        "seeds": seeds,
        "auroc": aurocs,
        "called_unfamiliar": called,
        "sets": sets,
    }


def _fit(prepared: Prepared, config: FitConfig) -> Model:
    parts = {"encoder": prepared.encoder, "concepts": prepared.concepts, "config": config}
    return fit(*prepared.splits[:2], **parts)


def others(encoder: DualEncoder, dataset: str, seed: int) -> dict[str, np.ndarray]:
    """Embeddings of what no class of the dataset is."""
    rng = np.random.default_rng(seed)
    side = encoder.image_size
    noise = rng.integers(0, 256, (IMAGES, side, side, 3), dtype=np.uint8)
    colours = np.broadcast_to(noise[:, :1, :1], noise.shape)
    pictures: dict[str, Any] = {"noise": noise, "one colour": colours}
    if dataset == "birds":
        clothes = load_dataset(DataConfig(name="fashion_mnist"))[1]
        assert clothes is not None
        chosen = rng.choice(len(clothes), IMAGES, replace=False).tolist()
        pictures["Fashion-MNIST"] = [clothes.source.load(i) for i in chosen]
        pictures["birds of no species"] = random_birds(IMAGES, seed=seed)
    else:
        pictures["birds"] = load_birds("test", seed=seed)
    return {name: encoder.embed_images(images) for name, images in pictures.items()}


def held_out(prepared: Prepared, seed: int) -> tuple[Prepared, dict[str, np.ndarray]]:
    """The splits without a quarter of the classes, and the test images of those."""
    train, valid, test = prepared.splits
    count = len(train.classes)
    unseen = np.random.default_rng(seed).choice(count, max(count // 4, 1), replace=False)
    known = np.setdiff1d(np.arange(count), unseen)

    def part(features: Features) -> Features:
        kept = features.select(np.flatnonzero(np.isin(features.labels, known)))
        return replace(
            kept,
            labels=np.searchsorted(known, kept.labels).astype(np.int32),
            classes=tuple(train.classes[k] for k in known),
        )

    left_out = test.select(np.flatnonzero(np.isin(test.labels, unseen)))
    splits = prepared.splits._replace(train=part(train), valid=part(valid), test=part(test))
    return prepared._replace(splits=splits), {"held-out classes": left_out.as_array()}


def scores(model: Model, prepared: Prepared) -> dict[str, Score]:
    """Name -> embeddings to a number that is higher for what is less familiar."""
    train, valid, _ = prepared.splits
    train = train.sample(TRAIN_IMAGES, 0)
    rows, labels = train.as_array(), np.asarray(train.labels)
    told = (
        valid.as_array(),
        model.predict_embeddings(valid.as_array()).class_probabilities,
        np.asarray(valid.labels),
    )

    def neighbour(images: np.ndarray, k: int) -> np.ndarray:
        return -np.partition(images @ rows.T, -k, axis=1)[:, -k]

    found: dict[str, Score] = {
        "1 - highest probability": lambda images: (
            -model.predict_embeddings(images).class_probabilities.max(axis=1)
        ),
        "cosine to the nearest image": lambda images: neighbour(images, 1),
        "cosine to the 5th nearest image": lambda images: neighbour(images, 5),
        "cosine to the 50th nearest image": lambda images: neighbour(images, 50),
    }
    for shrinkage in (0.01, 0.1, 1.0, 10.0):
        named = f"shrinkage {shrinkage:g}"
        one = fit_familiarity(rows, labels, *told, shrinkage=shrinkage)
        every = fit_familiarity(rows, np.zeros_like(labels), *told, shrinkage=shrinkage)
        found[f"Gaussian a class, {named}"] = one.distances
        if shrinkage <= 1:
            found[f"Gaussian over all, {named}"] = every.distances
            found[f"relative, {named}"] = lambda images, one=one, every=every: (
                one.distances(images).astype(np.float64) ** 2 - every.distances(images) ** 2
            )
    return found


def auroc(familiar_N: np.ndarray, strange_M: np.ndarray) -> float:
    """Chance that a stranger's score is higher."""
    values = np.concatenate([familiar_N, strange_M]).astype(np.float64)
    strange = np.arange(len(values)) >= len(familiar_N)
    return float(concept_auc(values[:, None], strange[:, None].astype(float))[0])


def conformal(model: Model, prepared: Prepared, seed: int) -> dict[str, dict[str, float]]:
    """Coverage and size of 95 % sets of three kinds, and accuracy without abstained images."""
    _, valid, test = prepared.splits
    on_valid, on_test = (
        model.predict_embeddings(part.as_array()).class_probabilities for part in (valid, test)
    )
    labels = np.asarray(test.labels)
    kinds = {
        "probability (kept)": lambda p, rng: p,
        "APS": lambda p, rng: _adaptive(p, rng, 0.0),
        "RAPS": lambda p, rng: _adaptive(p, rng, 0.01),
    }
    found = {}
    for name, kind in kinds.items():
        rng = np.random.default_rng(seed)
        threshold = set_threshold(kind(on_valid, rng), np.asarray(valid.labels), COVERAGE)
        sets = kind(on_test, rng) >= threshold
        if name.startswith("probability"):
            sets = prediction_sets(on_test, threshold)
        found[name] = {
            "coverage": float(sets[np.arange(len(sets)), labels].mean()),
            "size": float(sets.sum(axis=1).mean()),
        }
    assert model.familiarity is not None
    answered = on_test.max(axis=1) >= model.familiarity.least_probability
    right = on_test.argmax(axis=1) == labels
    found["abstention"] = {
        "top1": float(right.mean()),
        "top1_at_80": selective_accuracy(on_test, labels),
        "answered": float(answered.mean()),
        "top1_answered": float(right[answered].mean()),
    }
    return found


def _adaptive(p_NxK: np.ndarray, rng: np.random.Generator, penalty: float) -> np.ndarray:
    """1 - mass of all likelier classes and a random part of the own, less a penalty on rank."""
    order_NxK = np.argsort(-p_NxK, axis=1)
    sorted_NxK = np.take_along_axis(p_NxK, order_NxK, axis=1)
    mass_NxK = np.cumsum(sorted_NxK, axis=1) - rng.random((len(p_NxK), 1)) * sorted_NxK
    mass_NxK += penalty * np.maximum(np.arange(1, p_NxK.shape[1] + 1) - 3, 0)
    scores_NxK = np.empty_like(p_NxK)
    np.put_along_axis(scores_NxK, order_NxK, 1.0 - mass_NxK, axis=1)
    return scores_NxK


def render(results: dict[str, Any]) -> str:
    """The page."""
    parts = [HEADER.format(chosen=CHOSEN)]
    for name, found in results.items():
        strangers = list(found["called_unfamiliar"])[1:]
        lines = [
            [f"**{score}**" if score == CHOSEN else score]
            + [_mean(found["auroc"][score][stranger], 3) for stranger in strangers]
            for score in found["auroc"]
        ]
        called = found["called_unfamiliar"]
        shares = [[_mean([100 * x for x in called[who]], 1) for who in ["test", *strangers]]]
        sets, kept = found["sets"], found["sets"]["abstention"]
        held = [
            [
                kind,
                _mean([100 * x for x in sets[kind]["coverage"]], 1),
                _mean(sets[kind]["size"], 2),
            ]
            for kind in sets
            if kind != "abstention"
        ]
        said = {metric: _mean([100 * x for x in values], 1) for metric, values in kept.items()}
        parts += [
            f"\n## {name}\n",
            f"Encoder `{found['encoder']}`; mean \u00b1 deviation over {found['seeds']} seeds.\n",
            table(["AUROC of test images against", *strangers], lines),
            "\nShare called unlike train, in per cent; the threshold calls 5 % of validation so:\n",
            table(["test images", *strangers], shares),
            "\nSets of 95 %:\n",
            table(["classes are ranked by", "coverage on test, %", "classes in a set"], held),
            f"\nTop-1 is {said['top1']} %; on the 80 % of test images whose class is likeliest "
            f"{said['top1_at_80']} %. With the threshold from validation the model answers "
            f"{said['answered']} % of test images, {said['top1_answered']} % of them rightly.",
        ]
    return "\n".join(parts) + "\n"


def _mean(values: list[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} \u00b1 {statistics.stdev(values):.{digits}f}"


def main() -> None:
    """Measure one dataset, keep the others, write the result and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="quickstart")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--result", type=Path, default=Path("docs/results/familiarity.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/familiarity.md"))
    parser.add_argument("--render", action="store_true", help="only the page")
    args, overrides = parser.parse_known_args()
    results = json.loads(args.result.read_text("utf-8")) if args.result.exists() else {}
    if not args.render:
        found = run(args.config, overrides, args.seeds)
        results[found["dataset"]] = found
        write_json(args.result, results)
    with atomic_file(args.page) as temporary:
        temporary.write_text(render(results), encoding="utf-8")


if __name__ == "__main__":
    main()
