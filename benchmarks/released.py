"""What each surprise of the released code costs, and how long its recipe takes to converge.

python -m benchmarks.released
python -m benchmarks.released --config.features=FOLDER    # where the birds are encoded already
python -m benchmarks.released --render

On the drawn birds; about ten minutes on two cores, and one more where images are to be encoded.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.report import table
from jaxcbm.atomic import atomic_file, write_json
from jaxcbm.bottleneck.objectives.table import OBJECTIVES
from jaxcbm.evaluation.metrics import evaluate_prediction
from jaxcbm.experiment.config import Experiment, read_experiment
from jaxcbm.experiment.config_file import read_config
from jaxcbm.experiment.original import Setting, original_fit
from jaxcbm.experiment.prepare import Prepared, prepare
from jaxcbm.training.config import FitConfig
from jaxcbm.training.fit import fit
from jaxcbm.training.sweep.grid import with_fields


class Repair(NamedTuple):
    """One surprise of the released code, and the fields that take it away."""

    name: str
    fields: Mapping[str, Any]


# In the order of the column "one after the other": without a trained head the cross-entropy is the
# only thing that reads labels, and must reach W.
REPAIRS = (
    Repair("the head is trained", {"training.train_head": True}),
    Repair("cross-entropy is kept from W", {"training.ce_to_cbl": False}),
    Repair("positives are the concepts of an image", {"bottleneck.variant": "paired"}),
    Repair("scores are standardised", {"bottleneck.standardise": True}),
    Repair("W starts at the identity", {"bottleneck.parameterisation": "residual"}),
    Repair("the head has a bias", {"bottleneck.head_bias": True}),
    Repair("the best epoch is kept", {"training.keep_best": True}),
)
STUDIED = ("gumbel", "contrastive")
EPOCHS = (3, 10, 39, 100, 300)
SEEDS = 3
METRICS = ("top1", "concept_auc")
HEADER = """# What the released code's surprises cost

Written by `python -m benchmarks.released`; do not edit by hand.

The rows "released" of [the report](report/report.md) follow the released code step by step
(`configs/released.py`), those of "the paper's system" the paper's equations (`configs/paper.py`).
This page examines the released code on the drawn birds: how its accuracy changes with the length
of training, and when each surprise is removed. All fits end in a dense head, read test once, and
are never chosen by it. Figures are means and deviations over seeds.
"""
CURVE = """
## Length

Test top-1 % after a number of steps of 32 images. The recorded runs of the released code took 10
epochs: 2,950 steps on CUB, and {ten} here. The rows of the report take {row}.
"""
PARTS = """
## {label}, one surprise at a time

{steps} steps. *Alone*: the released setting with this one thing fixed. *One after the other*:
with all lines above fixed as well; the lines of pairs by position have everything fixed but the
positives. *Left in*: everything fixed but this. AUC is that of the concept logits against the
annotations (0.5: chance). Where the cross-entropy is kept from W and the head is not trained,
nothing reads labels.
"""
POOLED = """
## The split

The released code's own split (`data.protocol=pooled`) tests on images of which four fifths were
trained on. This is the same setting on both splits ({steps} steps):
"""


def measured(config: FitConfig, prepared: Prepared) -> dict[str, list[float]]:
    """Metrics on test, a value a seed."""
    train, valid, test = prepared.splits
    found = []
    for seed in range(SEEDS):
        seeded = with_fields(config, {"training.seed": seed})
        model = fit(
            train, valid, encoder=prepared.encoder, concepts=prepared.concepts, config=seeded
        )
        annotations = test.annotations_of(prepared.concepts.phrases)
        predicted = model.predict_embeddings(test.as_array())
        labels = np.asarray(test.labels)
        found.append(evaluate_prediction(predicted, labels, model.head, annotations))
    return {name: [float(one[name]) for one in found] for name in METRICS}


def mended(config: FitConfig, repairs: Sequence[Repair]) -> FitConfig:
    """A setting with some of its surprises taken away."""
    fields = {path: value for repair in repairs for path, value in repair.fields.items()}
    return with_fields(config, fields)


def parts(config: FitConfig) -> Iterator[tuple[str, dict[str, FitConfig]]]:
    """(line, column -> setting): the released code, each repair, and all of them."""
    yield "as released", {"alone": config, "one after the other": config}
    for place, repair in enumerate(REPAIRS):
        others = [other for other in REPAIRS if other is not repair]
        yield (
            repair.name,
            {
                "alone": mended(config, [repair]),
                "one after the other": mended(config, REPAIRS[: place + 1]),
                "left in": mended(config, others),
            },
        )
    for variant in ("paper", "diagonal"):
        every = mended(config, [*REPAIRS, Repair("", {"bottleneck.variant": variant})])
        alone = mended(config, [Repair("", {"bottleneck.variant": variant})])
        yield f"pairs by position (`{variant}`)", {"alone": alone, "one after the other": every}


def run(overrides: list[str]) -> dict[str, Any]:
    """Every fit of the page."""
    experiment = read_experiment(read_config("released", overrides))
    with tempfile.TemporaryDirectory() as folder:
        official = prepare(experiment, Path(folder))
        images = len(official.splits.train)

        def curve(setting: Setting, objective: Any) -> list[list[float]]:
            base = original_fit(setting, objective, images)
            settings = [with_fields(base, {"training.epochs": epochs}) for epochs in EPOCHS]
            return [
                _told(f"{setting} {objective}", measured(c, official))["top1"] for c in settings
            ]

        def taken_apart(objective: Any) -> list[dict[str, Any]]:
            return [
                {"name": name}
                | {column: _told(name, measured(c, official)) for column, c in columns.items()}
                for name, columns in parts(original_fit("released", objective, images))
            ]

        return {
            "encoder": experiment.encoder.name,
            "encoder_hash": official.encoder.content_hash,
            "concepts": official.concepts.content_hash,
            "seeds": SEEDS,
            "images": dict(zip(("train", "valid", "test"), map(len, official.splits), strict=True)),
            "batch": original_fit("released", "gumbel", images).training.batch_size,
            "row_epochs": original_fit("released", "gumbel", images).training.epochs,
            "curves": {
                setting: {
                    name: curve(setting, name)
                    for name, record in OBJECTIVES.items()
                    if setting in record.variants
                }
                for setting in ("released", "paper")
            },
            "parts": {objective: taken_apart(objective) for objective in STUDIED},
            "pooled": _pooled(experiment, Path(folder)),
        }


def _pooled(experiment: Experiment, folder: Path) -> dict[str, list[float]]:
    data = replace(experiment.data, protocol="pooled")
    prepared = prepare(replace(experiment, data=data), folder)
    images = len(prepared.splits.train)
    return {
        name: measured(original_fit("released", name, images), prepared)["top1"]
        for name, record in OBJECTIVES.items()
        if "released" in record.variants
    }


def _told(name: str, found: dict[str, list[float]]) -> dict[str, list[float]]:
    print(f"{name}: {np.mean(found['top1']):.4f}", flush=True)
    return found


def render(result: dict[str, Any]) -> str:
    """The page."""
    images = result["images"]
    epoch = images["train"] // result["batch"]
    steps = [f"{epochs * epoch:,}" for epochs in EPOCHS]
    row = EPOCHS.index(result["row_epochs"])
    page = [
        HEADER,
        f"Encoder `{result['encoder']}` ({result['encoder_hash'][:12]}), {result['seeds']} seeds; "
        f"{images['train']} train, {images['valid']} validation, {images['test']} test images.",
        CURVE.format(ten=f"{10 * epoch:,}", row=steps[row]),
        table(
            ["", *steps],
            [
                [f"{OBJECTIVES[name].label}, {_TITLES[setting]}", *map(_percent, values)]
                for setting, curves in result["curves"].items()
                for name, values in curves.items()
            ],
        ),
    ]
    for objective, lines in result["parts"].items():
        page += [
            PARTS.format(label=OBJECTIVES[objective].label, steps=steps[row]),
            table(
                [
                    "fixed",
                    *(f"{head}{unit}" for head in _COLUMNS for unit in (", top-1 %", ", AUC")),
                ],
                [[line["name"], *_cells(line)] for line in lines],
            ),
        ]
    released = result["curves"]["released"]
    page += [
        POOLED.format(steps=steps[row]),
        table(
            ["", "official, top-1 %", "pooled, top-1 %"],
            [
                [f"{OBJECTIVES[name].label}, released", _percent(released[name][row]), _percent(x)]
                for name, x in result["pooled"].items()
            ],
        ),
    ]
    return "\n".join(page).rstrip() + "\n"


_TITLES = {"released": "released", "paper": "the paper's system"}
_COLUMNS = ("alone", "one after the other", "left in")


def _cells(line: Mapping[str, Any]) -> Iterator[str]:
    for column in _COLUMNS:
        found = line.get(column)
        yield _percent(found["top1"]) if found else ""
        yield f"{np.mean(found['concept_auc']):.2f}" if found else ""


def _percent(values: Sequence[float]) -> str:
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"


def main() -> None:
    """Measure and write the page, or only the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--output", type=Path, default=Path("docs/results/released.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/released.md"))
    args, overrides = parser.parse_known_args()
    if not args.render:
        write_json(args.output, run(overrides))
    with atomic_file(args.page) as temporary:
        temporary.write_text(render(json.loads(args.output.read_text("utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
