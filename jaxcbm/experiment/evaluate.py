"""`jaxcbm evaluate`: every metric of a finished model on its test split."""

import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxcbm.bottleneck.sparse.sized_heads import NEC_TARGETS
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.birds.nuisances import NUISANCE_PHRASES
from jaxcbm.data.features import Splits
from jaxcbm.distributed.processes import is_main
from jaxcbm.errors import UserError
from jaxcbm.evaluation import plots
from jaxcbm.evaluation.evaluate import Evaluation, FittedMethod, evaluate, fitted_model
from jaxcbm.evaluation.explanation_truth import PARTS, SHOWN
from jaxcbm.evaluation.interventions import POLICIES
from jaxcbm.evaluation.metrics import confusion_matrix
from jaxcbm.experiment.config import Experiment, read_experiment
from jaxcbm.experiment.config_file import settings_of_run
from jaxcbm.experiment.prepare import Prepared, prepare
from jaxcbm.experiment.run_metrics import write_run_metrics
from jaxcbm.model.model import Model, load_model
from jaxcbm.training.fit import fit


def run(
    workdir: Path | str,
    *,
    controls: bool = True,
    dtype: str | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Evaluate the model of a work directory; writes metrics.json and the plots of a test split.

    Args:
        workdir: of a finished run.
        controls: as for `evaluate_model`.
        dtype: of the encoder's matrix products, "float32" or "bfloat16"; None for the run's own.
        batch_size: images a step of the encoder, over all devices; None for 64 a device.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: no finished run there.
    """
    workdir = Path(workdir)
    settings = settings_of_run(workdir)
    if settings is None:
        raise UserError(f"no run in {workdir}: start one with `jaxcbm train --workdir={workdir}`")
    experiment = read_experiment(settings, {"encoder.dtype": dtype} if dtype else None)
    model = load_model(workdir)
    prepared = prepare(experiment, workdir, finetuned=model.finetuned, batch_size=batch_size)
    return evaluate_model(model, experiment, prepared, workdir, controls=controls)


def evaluate_model(
    model: Model, experiment: Experiment, prepared: Prepared, workdir: Path, *, controls: bool
) -> dict[str, Any]:
    """Metrics of the test split, with everything needed to say what they are metrics of.

    Every process of a run computes them; process 0 writes them.

    Args:
        model: of this work directory.
        experiment: its settings.
        prepared: encoder and features.
        workdir: where to.
        controls: whether to fit the same setting on random phrases too; a model whose encoder was
            trained has no such control.

    Returns:
        The content of metrics.json: `test` (name -> value), `interventions` (as in `Evaluation`),
        `not_measured` (name -> why not), `validation`, and what all of them are of.
    """
    if prepared.encoder.content_hash != model.encoder_hash:
        raise UserError(
            f"encoder {experiment.encoder.name} is not what the model in {workdir} was trained on"
        )
    train, valid, test = prepared.splits

    def refit(concepts: ConceptSet, splits: Splits) -> FittedMethod:
        logging.info("the control random_top1: the same fit on as many phrases without meaning")
        parts = {"encoder": prepared.encoder, "concepts": concepts, "config": experiment.fit}
        return fitted_model(fit(splits.train, splits.valid, **parts))

    found = evaluate(
        fitted_model(model),
        prepared.splits,
        policies=tuple(POLICIES),
        refit=refit if controls and model.finetuned is None else None,
        random_phrases=experiment.evaluation.random_phrases,
        nuisances=nuisances_of(experiment),
        seed=experiment.training.seed,
    )
    at_nec = {
        f"top1_at_nec_{target}": value
        for target, value in zip(NEC_TARGETS, found.top1_at_nec, strict=False)
    }
    metrics = {
        "test": {**found.metrics, **at_nec},
        "interventions": found.interventions,
        "not_measured": not_measured(model, found),
        "validation": dict(model.metrics),
        "data": {
            "name": experiment.data.name,
            "protocol": experiment.data.protocol,
            "seed": experiment.data.seed,
            "train": len(train),
            "valid": len(valid),
            "test": len(test),
            "skipped": len({*test.skipped, *train.skipped}),
        },
        "encoder": {
            "name": model.encoder_name,
            "hash": model.encoder_hash,
            "dtype": prepared.encoder.dtype,
        },
        "concepts": {"count": len(model.concepts), "hash": model.concepts.content_hash},
        "hardware": {
            "platform": jax.default_backend(),
            "devices": jax.device_count(),
            "machine": platform.machine(),
        },
    }
    if is_main():
        write_run_metrics(workdir, metrics)
        draw(found, model, np.asarray(test.labels), workdir / "plots")
    return metrics


def nuisances_of(experiment: Experiment) -> tuple[str, ...]:
    """Phrases that say nothing about the classes, where the data has such nuisances."""
    return tuple(NUISANCE_PHRASES) if experiment.data.name == "birds" else ()


def not_measured(model: Model, found: Evaluation) -> dict[str, str]:
    """What a reader may look for in vain, and why; what makes no sense for the data is left out."""
    missing = {}
    if not found.top1_at_nec:
        missing["anec"] = (
            "the model was saved without its sparse path: train it again"
            if "path" in model.metrics
            else "the edit solved one head: edit again with --path"
            if model.edits
            else "the model has a trained head: set config.sparse_head.enabled=True"
        )
    if "random_top1" not in found.metrics:
        missing["random_top1"] = (
            "the encoder was trained for these phrases: fit others with `jaxcbm train`"
            if model.finetuned is not None
            else "takes another fit: `jaxcbm evaluate` does it"
        )
    return missing


def draw(found: Evaluation, model: Model, labels_N: np.ndarray, folder: Path) -> None:
    """The pictures of a test split: confusion, calibration, sparsity, interventions."""
    folder.mkdir(exist_ok=True)
    counts = confusion_matrix(labels_N, found.prediction.label_ids, len(model.classes))
    plots.confusion(counts, model.classes, folder / "confusion.png")
    plots.reliability_diagram(found.reliability, folder / "calibration.png")
    if path := model.metrics.get("path"):
        valid = list(zip(path["nec"], path["valid_top1"], strict=True))
        test = list(zip(NEC_TARGETS, found.top1_at_nec, strict=False))
        plots.nec_curve(valid, test, model.metrics["chosen_nec"], folder / "nec_curve.png")
    if found.interventions:
        curves = {
            f"{who}, {policy}": curve
            for who, policies in found.interventions.items()
            for policy, curve in policies.items()
        }
        plots.intervention_curves(curves, folder / "interventions.png")


def table(metrics: dict[str, Any]) -> str:
    """The test metrics in groups of aligned lines, with what is missing and why."""
    test = dict(metrics["test"])
    groups = {
        title: {name: test.pop(name) for name in names if name in test}
        for title, names in _GROUPS.items()
    }
    lines = []
    # What belongs to no other group tells how often the model is right.
    for title, values in {"accuracy": test, **groups}.items():
        if not values:
            continue
        lines += [title, *(f"  {name:<32}{_number(name, x)}" for name, x in values.items())]
    for who, policies in metrics["interventions"].items():
        steps = [step for step in _SHOWN_STEPS if step < len(next(iter(policies.values())))]
        lines.append(f"top-1 after {', '.join(map(str, steps))} concepts are set by the {who}")
        for policy, curve in policies.items():
            lines.append(f"  {policy:<24}{'  '.join(f'{curve[step]:.4f}' for step in steps)}")
    lines += [f"not measured: {name}: {why}" for name, why in metrics["not_measured"].items()]
    return "\n".join(lines)


_SHOWN_STEPS = (0, 1, 2, 5, 10, 20)
_GROUPS = {
    "sparsity": ("nec", "active_concepts", "anec", *(f"top1_at_nec_{n}" for n in NEC_TARGETS)),
    "calibration (scaled: by the temperature that suits validation)": (
        *("temperature", "nll", "scaled_nll", "brier", "scaled_brier"),
        *("ece", "scaled_ece", "ece_equal_width", "scaled_ece_equal_width"),
    ),
    "concepts": (
        *("concept_fidelity", "concept_auc", "encoder_concept_auc", "random_top1", "unexplained"),
        *("leakage_top1", "leakage_real_top1", "leakage_chance"),
    ),
    "explanations (of the reasons shown, the share that is true of the picture)": (
        *(f"explanation_truth_{which}" for which in (*SHOWN, *(f"{name}_5" for name in PARTS))),
        "concept_ece",
    ),
    "faithfulness (mean probability of the class as its concepts are taken away, or put back)": (
        *("deletion", "random_deletion", "insertion", "random_insertion", "bar_error"),
    ),
}


def _number(name: str, value: float) -> str:
    return f"{value:.0f}" if name == "images" else f"{value:.4f}"
