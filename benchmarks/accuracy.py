"""Accuracy of every objective and variant beside the linear probe and zero-shot, on one store.

python -m benchmarks.accuracy --config=configs/quickstart.py --output=docs/results/birds.json
python -m benchmarks.accuracy --render docs/results/*.json --output=docs/results.md
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxcbm.atomic import write_json
from jaxcbm.baselines.linear_probe import linear_probe
from jaxcbm.baselines.zero_shot import class_embeddings
from jaxcbm.commands.config_file import read_config
from jaxcbm.commands.evaluate import present_concepts
from jaxcbm.commands.experiment import Prepared, prepare, read_experiment
from jaxcbm.evaluation.metrics import evaluate_prediction, top_k_accuracy
from jaxcbm.training.config import FitConfig, released_config
from jaxcbm.training.fit import fit

OBJECTIVES = ("gumbel", "contrastive", "l1", "similarity")


def settings(base: FitConfig) -> Iterator[tuple[str, FitConfig]]:
    """Every objective in its three variants; `released` with all the switches of that code."""
    yield "default", base
    for objective in OBJECTIVES:
        for variant in ("paired", "paper"):
            bottleneck = replace(base.bottleneck, objective=objective, variant=variant)
            yield f"{objective}, {variant}", replace(base, bottleneck=bottleneck)
        released = released_config(objective)
        training = replace(released.training, epochs=base.training.epochs)
        yield f"{objective}, released", replace(released, training=training, mesh=base.mesh)


def baselines(prepared: Prepared) -> list[dict[str, Any]]:
    """Linear probe on image embeddings, and zero-shot by class names."""
    train, valid, test = prepared.splits
    classes = len(train.classes)
    start = time.process_time()
    probe = linear_probe(train.as_array(), train.labels, valid.as_array(), valid.labels, classes)
    probe_row = {
        "name": "linear probe on image embeddings",
        "top1": top_k_accuracy(probe.logits(test.as_array()), test.labels),
        "cpu_seconds": time.process_time() - start,
    }
    names = class_embeddings(prepared.encoder, train.classes)
    zero_shot = test.as_array() @ np.asarray(names).T
    return [probe_row, {"name": "zero-shot", "top1": top_k_accuracy(zero_shot, test.labels)}]


def measure(name: str, config: FitConfig, prepared: Prepared) -> dict[str, Any]:
    """Fit one setting and evaluate it on test."""
    start = time.process_time()
    train, valid, test = prepared.splits
    model = fit(train, valid, encoder=prepared.encoder, concepts=prepared.concepts, config=config)
    seconds = time.process_time() - start
    present = present_concepts(test.annotations, test.annotation_phrases, model.concepts.phrases)
    prediction = model.predict_embeddings(test.as_array())
    metrics = evaluate_prediction(prediction, np.asarray(test.labels), model.head, present)
    return {"name": name, **metrics, **_sparsity(model), "cpu_seconds": seconds}


def _sparsity(model: Any) -> dict[str, float]:
    return {"anec": model.metrics["anec"]} if "anec" in model.metrics else {}


def run(config_path: str, overrides: list[str]) -> dict[str, Any]:
    """All rows of one dataset."""
    config = read_config(config_path, overrides)
    experiment = read_experiment(config)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(experiment, Path(folder))
        rows = baselines(prepared)
        for name, fit_config in settings(experiment.fit):
            rows.append(measure(name, fit_config, prepared))
            print(rows[-1]["name"], f"{rows[-1]['top1']:.4f}", flush=True)
        sizes = dict(zip(("train", "valid", "test"), map(len, prepared.splits), strict=True))
    return {
        "dataset": experiment.data.name,
        "encoder": experiment.encoder.name,
        "encoder_hash": prepared.encoder.content_hash,
        "concepts": len(prepared.concepts),
        "seed": experiment.training.seed,
        "images": sizes,
        "rows": rows,
    }


COLUMNS = {
    "top1": "test top-1",
    "nec": "non-zeros a class",
    "anec": "ANEC (valid)",
    "active_concepts": "active concepts an image",
    "concept_fidelity": "fidelity",
    "concept_auc": "concept AUC",
    "encoder_concept_auc": "AUC of the encoder's scores",
    "cpu_seconds": "fit, CPU s",
}


def render(results: list[dict[str, Any]]) -> str:
    """The result files as Markdown."""
    parts = ["# Results\n\nWritten by `python -m benchmarks.accuracy`; do not edit by hand.\n"]
    for result in results:
        images = result["images"]
        parts.append(
            f"\n## {result['dataset']}\n\nEncoder `{result['encoder']}` "
            f"({result['encoder_hash'][:12]}), {result['concepts']} concepts, seed "
            f"{result['seed']}; {images['train']} train, {images['valid']} validation, "
            f"{images['test']} test images.\n\n"
        )
        shown = {
            key: title for key, title in COLUMNS.items() if any(key in r for r in result["rows"])
        }
        parts.append("| | " + " | ".join(shown.values()) + " |\n")
        parts.append("|---" * (len(shown) + 1) + "|\n")
        for row in result["rows"]:
            cells = [_cell(key, row.get(key)) for key in shown]
            parts.append(f"| {row['name']} | " + " | ".join(cells) + " |\n")
    return "".join(parts)


def _cell(key: str, value: float | None) -> str:
    if value is None or np.isnan(value):
        return ""
    if key in ("top1", "anec"):
        return f"{100 * value:.1f} %"
    return f"{value:.1f}" if key in ("nec", "active_concepts", "cpu_seconds") else f"{value:.3f}"


def main() -> None:
    """Measure one dataset, or render what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config")
    parser.add_argument("--render", nargs="+", type=Path)
    parser.add_argument("--output", required=True, type=Path)
    args, overrides = parser.parse_known_args()
    if args.render:
        results = [json.loads(path.read_text(encoding="utf-8")) for path in args.render]
        args.output.write_text(render(results), encoding="utf-8")
    else:
        write_json(args.output, run(args.config, overrides))


if __name__ == "__main__":
    main()
