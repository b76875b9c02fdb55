"""`jaxcbm evaluate`: every metric of a finished model on its test split."""

import json
import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcbm.atomic import write_json
from jaxcbm.distributed.processes import is_main
from jaxcbm.errors import UserError
from jaxcbm.evaluation import plots
from jaxcbm.evaluation.metrics import confusion_matrix, evaluate_prediction
from jaxcbm.experiment.config import Experiment, read_experiment
from jaxcbm.experiment.prepare import Prepared, prepare
from jaxcbm.model.model import Model, load_model


def run(workdir: Path | str) -> dict[str, Any]:
    """Evaluate the model of a work directory; writes metrics.json and the confusion matrix.

    Args:
        workdir: of a finished run.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: no finished run there.
    """
    workdir = Path(workdir)
    file = workdir / "config.json"
    if not file.exists():
        raise UserError(f"no run in {workdir}: start one with `jaxcbm train --workdir={workdir}`")
    experiment = read_experiment(json.loads(file.read_text(encoding="utf-8")))
    model = load_model(workdir)
    prepared = prepare(experiment, workdir, finetuned=model.finetuned)
    return evaluate_model(model, experiment, prepared, workdir)


def evaluate_model(
    model: Model, experiment: Experiment, prepared: Prepared, workdir: Path
) -> dict[str, Any]:
    """Metrics of the test split, with everything needed to say what they are metrics of.

    Every process of a run computes them; process 0 writes them.
    """
    test = prepared.splits.test
    if prepared.encoder.content_hash != model.encoder_hash:
        raise UserError(
            f"encoder {experiment.encoder.name} is not what the model in {workdir} was trained on"
        )
    prediction = model.predict_embeddings(test.as_array())
    present = test.annotations_of(model.concepts.phrases)
    labels = np.asarray(test.labels)
    metrics = {
        "test": evaluate_prediction(prediction, labels, model.head, present),
        "validation": dict(model.metrics),
        "data": {
            "name": experiment.data.name,
            "protocol": experiment.data.protocol,
            "seed": experiment.data.seed,
            "train": len(prepared.splits.train),
            "valid": len(prepared.splits.valid),
            "test": len(test),
            "skipped": len({*test.skipped, *prepared.splits.train.skipped}),
        },
        "encoder": {"name": model.encoder_name, "hash": model.encoder_hash},
        "concepts": {"count": len(model.concepts), "hash": model.concepts.content_hash},
        "hardware": {
            "platform": jax.default_backend(),
            "devices": jax.device_count(),
            "machine": platform.machine(),
        },
    }
    if not is_main():
        return metrics
    write_json(workdir / "metrics.json", metrics)
    (workdir / "plots").mkdir(exist_ok=True)
    counts = confusion_matrix(labels, prediction.label_ids, len(model.classes))
    plots.confusion(counts, model.classes, workdir / "plots" / "confusion.png")
    return metrics


def table(metrics: dict[str, Any]) -> str:
    """The test metrics as aligned lines."""
    rows = [(name, value) for name, value in metrics["test"].items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(
        f"{name:<{width}}  {value:.0f}" if name == "images" else f"{name:<{width}}  {value:.4f}"
        for name, value in rows
    )
