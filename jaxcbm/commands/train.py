"""`jaxcbm train`: from a config to a fitted, evaluated and explained model."""

import json
from pathlib import Path
from typing import Any

from absl import logging

from jaxcbm.commands.config_file import settle_workdir
from jaxcbm.commands.evaluate import evaluate_model
from jaxcbm.commands.experiment import prepare, read_experiment
from jaxcbm.data.image_set import ImageSet, UnreadableImage
from jaxcbm.errors import UserError
from jaxcbm.evaluation import plots
from jaxcbm.serving.model import Model, load_model
from jaxcbm.training.fit import fit
from jaxcbm.training.metrics_log import read_metrics


def run(config: dict[str, Any], workdir: Path) -> dict[str, Any]:
    """Fit, save, evaluate on test once, and draw; a finished run is not trained again.

    Returns:
        The content of metrics.json.
    """
    experiment = read_experiment(config)
    settle_workdir(workdir, config)
    if (workdir / "model" / "model.json").exists() and (workdir / "metrics.json").exists():
        logging.info("%s is finished; delete it to train again", workdir)
        return json.loads((workdir / "metrics.json").read_text(encoding="utf-8"))
    prepared = prepare(experiment, workdir)
    model = fit(
        prepared.splits.train,
        prepared.splits.valid,
        encoder=prepared.encoder,
        concepts=prepared.concepts,
        config=experiment.fit,
        workdir=workdir,
    )
    model.save(workdir / "model")
    metrics = evaluate_model(load_model(workdir), experiment, prepared, workdir)
    draw(model, workdir)
    draw_explanation(model, prepared.pictures, workdir)
    return metrics


def draw(model: Model, workdir: Path) -> None:
    """Learning curves and, where there is a sparse path, accuracy against sparsity."""
    folder = workdir / "plots"
    folder.mkdir(exist_ok=True)
    plots.learning_curves(read_metrics(workdir / "metrics.jsonl"), folder / "learning_curves.png")
    if path := model.metrics.get("path"):
        points = list(zip(path["nec"], path["valid_top1"], strict=True))
        plots.nec_curve(points, model.metrics["chosen_nec"], folder / "nec_curve.png")


def draw_explanation(model: Model, pictures: ImageSet, workdir: Path) -> None:
    """Explain the first readable test picture."""
    for index in range(len(pictures)):
        try:
            explanation = model.explain(pictures.source.load(index))
        except (UnreadableImage, UserError) as error:
            logging.warning("skipped %s: %s", pictures.source.name(index), error)
            continue
        explanation.save(workdir / "plots" / "explanation.png")
        return
