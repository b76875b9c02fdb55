"""How accuracy, ANEC and concept AUC move with each concept filter on and off.

python -m benchmarks.concept_filters --config=quickstart
python -m benchmarks.concept_filters --config=fashion_mnist
python -m benchmarks.concept_filters --render

Each run adds its dataset to the result file and writes the page anew. A pool of candidates holds
the dataset's own phrases, and what filters are for: phrases of another dataset, repeats in other
words, and the names of classes.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import table
from jaxcbm.atomic import atomic_file, write_json
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.filters.evidence import TextSpaces, gather
from jaxcbm.concepts.filters.run import Step, filter_concepts
from jaxcbm.evaluation.metrics import evaluate_prediction
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import read_config
from jaxcbm.experiment.prepare import Prepared, prepare
from jaxcbm.training.config import FitConfig
from jaxcbm.training.fit import fit

# Cut-offs that suit the built-in encoder, which finds all texts alike until its centre is off.
CENTRE = "imagenet"
STEPS = (
    Step("length"),
    Step("duplicates"),
    Step("classes", {"below": 0.95}),
    Step("similar", {"below": 0.98}),
    Step("visible", {"at_least": 0.0}),
    Step("varying", {"at_least": 0.02}),
    Step("informative", {"at_least": 0.10}),
    Step("cover", {"per_class": 5}),
)
# It sees garment phrases at cosines around 0 and bird phrases around 0.4.
VISIBLE = {"birds": 0.30}
STRANGERS = {"birds": "fashion_mnist", "fashion_mnist": "birds"}
KINDS = ("own", "repeats", "strangers", "names")
METRICS = {
    "top1": "test top-1",
    "anec": "ANEC (valid)",
    "nec": "non-zeros a class",
    "concept_auc": "concept AUC",
    "concept_fidelity": "fidelity",
}
HEADER = """# Concept filters, on and off

Written by `python -m benchmarks.concept_filters`; do not edit by hand.

What does each filter do to a bottleneck that is trained on the phrases it keeps? The tables show
accuracy on test, accuracy averaged over 5 to 30 concepts a class on validation (ANEC), and how
well concepts follow their annotations (AUC of the concepts that have any). The pool mixes the
dataset's own phrases with phrases of another dataset (strangers), rewordings (repeats), and class
names; columns count what is kept of each kind. Image filters read train images only.
"""


def pool(dataset: str, own: ConceptSet, classes: Sequence[str]) -> dict[str, str]:
    """Candidates by phrase, with the kind of each, of `KINDS`."""
    kinds = dict.fromkeys(own.phrases, "own")
    for phrase in own.phrases[::4]:
        kinds.setdefault(f"the {phrase.removeprefix('a ')}", "repeats")
    for phrase in ConceptSet.from_file(STRANGERS.get(dataset, "places365")).phrases:
        kinds.setdefault(phrase, "strangers")
    for name in classes:
        kinds.setdefault(name, "names")
    return kinds


def steps_for(dataset: str) -> tuple[Step, ...]:
    """Every filter, with the cut-offs of a dataset."""
    own = {"visible": {"at_least": VISIBLE[dataset]}} if dataset in VISIBLE else {}
    return tuple(Step(step.name, own.get(step.name, step.settings)) for step in STEPS)


def choices(steps: Sequence[Step]) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """No filter, each alone, all, and all but each."""
    yield "no filter", ()
    for step in steps:
        yield f"{step.name} alone", (step,)
    yield "all", tuple(steps)
    for step in steps:
        yield f"all but {step.name}", tuple(other for other in steps if other is not step)


def run(config_path: str, overrides: list[str], only: Sequence[str] = ()) -> dict[str, Any]:
    """Every choice of filters on one dataset."""
    experiment = read_experiment(read_config(config_path, overrides))
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(experiment, Path(folder))
        train = prepared.splits.train
        kinds = pool(experiment.data.name, prepared.concepts, train.classes)
        concepts = ConceptSet.from_phrases(kinds)
        spaces = TextSpaces(experiment.encoder.name, centre=CENTRE)
        evidence = gather(concepts.phrases, train.classes, spaces, train)
        rows = []
        every = steps_for(experiment.data.name)
        for name, steps in choices(every):
            if only and name not in only:
                continue
            kept = filter_concepts(concepts, evidence, steps)
            result = measure(kept, experiment.fit, prepared)
            counts = {kind: sum(kinds[phrase] == kind for phrase in kept.phrases) for kind in KINDS}
            about = {"name": name, "kept": len(kept), **counts, "hash": kept.content_hash}
            rows.append({**about, **result})
            print(f"{name}: {len(kept)} kept, {result['top1']:.4f}", flush=True)
    return {
        "dataset": experiment.data.name,
        "encoder": experiment.encoder.name,
        "encoder_hash": prepared.encoder.content_hash,
        "seed": experiment.training.seed,
        "pool": {"count": len(concepts), "hash": concepts.content_hash},
        "centre": CENTRE,
        "steps": [{"name": step.name, **step.settings} for step in every],
        "images": dict(zip(("train", "valid", "test"), map(len, prepared.splits), strict=True)),
        "rows": rows,
    }


def measure(concepts: ConceptSet, config: FitConfig, prepared: Prepared) -> dict[str, Any]:
    """Fit a bottleneck of these concepts and evaluate it on test."""
    train, valid, test = prepared.splits
    start = time.process_time()
    model = fit(train, valid, encoder=prepared.encoder, concepts=concepts, config=config)
    seconds = time.process_time() - start
    metrics = evaluate_prediction(
        model.predict_embeddings(test.as_array()),
        np.asarray(test.labels),
        model.head,
        test.annotations_of(concepts.phrases),
    )
    return {**metrics, "anec": model.metrics.get("anec"), "cpu_seconds": seconds}


def render(results: dict[str, dict[str, Any]]) -> str:
    """The page.

    >>> render({}).splitlines()[0]
    '# Concept filters, on and off'
    """
    parts = [HEADER]
    for name, result in sorted(results.items()):
        steps = ", ".join(
            " ".join(str(value) for value in step.values()) for step in result["steps"]
        )
        shown = {
            key: title
            for key, title in METRICS.items()
            if any(_known(row.get(key)) for row in result["rows"])
        }
        images = result["images"]
        parts += [
            f"\n## {name}\n",
            f"Encoder `{result['encoder']}` ({result['encoder_hash'][:12]}), a pool of "
            f"{result['pool']['count']} phrases, seed {result['seed']}; {images['train']} train, "
            f"{images['valid']} validation, {images['test']} test images. Thresholds: {steps}; "
            f"texts centred on the set `{result['centre']}`.\n",
            table(
                ["filters", "kept", *KINDS, *shown.values()],
                [
                    [row["name"], str(row["kept"]), *(str(row[kind]) for kind in KINDS)]
                    + [_cell(key, row.get(key)) for key in shown]
                    for row in result["rows"]
                ],
            ),
        ]
    return "\n".join(parts).rstrip() + "\n"


def _known(value: float | None) -> bool:
    return value is not None and value == value


def _cell(key: str, value: float | None) -> str:
    if value is None or value != value:
        return ""
    if key in ("top1", "anec"):
        return f"{100 * value:.1f} %"
    return f"{value:.1f}" if key == "nec" else f"{value:.3f}"


def main() -> None:
    """Measure one dataset and write the page, or only the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--only", nargs="+", default=[], help="rows by name")
    parser.add_argument("--output", type=Path, default=Path("docs/results/concepts/filters.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/concept_filters.md"))
    args, overrides = parser.parse_known_args()
    results = json.loads(args.output.read_text("utf-8")) if args.output.exists() else {}
    if not args.render:
        result = run(args.config, overrides, args.only)
        results[result["dataset"]] = result
        write_json(args.output, results)
    with atomic_file(args.page) as temporary:
        temporary.write_text(render(results), encoding="utf-8")


if __name__ == "__main__":
    main()
