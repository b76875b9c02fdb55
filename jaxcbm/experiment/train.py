"""`jaxcbm train`: from a config to a fitted, evaluated and explained model."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from absl import logging

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.annotations import ANNOTATIONS
from jaxcbm.data.image_source import UnreadableImage
from jaxcbm.distributed.processes import barrier, decide, is_main
from jaxcbm.encoders.finetune.trainable import rules_of
from jaxcbm.errors import UserError
from jaxcbm.evaluation import plots
from jaxcbm.experiment.config import Changes, Experiment, Named, read_experiment
from jaxcbm.experiment.config_file import settled
from jaxcbm.experiment.evaluate import evaluate_model
from jaxcbm.experiment.prepare import Prepared, concepts_of, prepare
from jaxcbm.experiment.run_metrics import evaluated_already
from jaxcbm.experiment.workdir_lock import hold
from jaxcbm.model.explanation import Explanation
from jaxcbm.model.explanation_plot import save_explanations
from jaxcbm.model.model import Model, load_model
from jaxcbm.training.calibrate import calibrate
from jaxcbm.training.finetune.fit import ImageSplit, Recipe, finetune_splits
from jaxcbm.training.fit import fit
from jaxcbm.training.metrics_log import read_metrics
from jaxcbm.training.sparsify import sparsify
from jaxcbm.training.trackers import tracking


def run(
    config: Experiment | Named, workdir: Path | str, changes: Changes | None = None
) -> dict[str, Any]:
    """Fit, save, evaluate on test once, and draw; a finished run is not trained again.

    Args:
        config: the name or path of a config file, nested dicts, or an `Experiment`.
        workdir: folder for everything it writes; `jaxcbm.load_model` opens it.
        changes: path of a field -> its new value, such as `{"training.epochs": 3}`.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: no such config or field, or a work directory of another config or in use.
        Preempted: the run was asked to stop; the same call goes on.
    """
    experiment, workdir = read_experiment(config, changes), Path(workdir)
    with hold(workdir), settled(workdir, asdict(experiment)):
        return _run(experiment, workdir)


def _run(experiment: Experiment, workdir: Path) -> dict[str, Any]:
    written = (workdir / "model" / "model.json").exists()
    found = evaluated_already(workdir) if written else None
    if decide("finished", found is not None):
        if experiment.concepts != ANNOTATIONS:
            _same_phrases(workdir, concepts_of(experiment))
        logging.info("%s is finished; delete it to train again", workdir)
        return found or {}
    prepared = prepare(experiment, workdir, fits=True)
    if experiment.encoder.train == "frozen":
        model = fit(
            prepared.splits.train,
            prepared.splits.valid,
            encoder=prepared.encoder,
            concepts=prepared.concepts,
            config=experiment.fit,
            workdir=workdir,
        )
    else:
        model, prepared = fit_finetuned(experiment, prepared, workdir)
    if is_main():
        model.save(workdir / "model")
    barrier("model saved")
    controls = experiment.evaluation.controls
    metrics = evaluate_model(load_model(workdir), experiment, prepared, workdir, controls=controls)
    if is_main():
        with tracking(workdir) as track:
            track(read_metrics(workdir / "metrics.jsonl")[-1]["step"], "test", metrics["test"])
        draw(workdir)
        draw_explanation(model, prepared, workdir)
    return metrics


def _same_phrases(workdir: Path, concepts: ConceptSet) -> None:
    """Refuse to call a run finished that was fitted on other phrases than there are now."""
    before = load_model(workdir).concepts
    if before.phrases != concepts.phrases:
        raise UserError(
            f"{workdir} is finished, with {len(before)} other phrases than the {len(concepts)} of "
            "now: choose another --workdir, or delete it"
        )


def fit_finetuned(
    experiment: Experiment, prepared: Prepared, workdir: Path
) -> tuple[Model, Prepared]:
    """Train the encoder too; the sparse head is solved on features from the finetuned one."""
    how, splits = experiment.encoder, prepared.splits
    recipe = Recipe(
        encoder=prepared.encoder,
        concepts=prepared.concepts,
        classes=splits.train.classes,
        rules=rules_of(how.train, how.rules, how.lora),
        lora=how.lora,
        finetune=experiment.finetune,
        config=experiment.fit,
    )
    pictures = prepared.train_pictures
    parts = ImageSplit(pictures, splits.train), ImageSplit(pictures, splits.valid)
    model = finetune_splits(*parts, recipe, workdir)
    prepared = prepare(experiment, workdir, finetuned=model.finetuned)
    train, valid = prepared.splits.train, prepared.splits.valid
    if experiment.sparse_head.enabled:
        model = sparsify(model, train, valid, experiment.sparse_head)
    return calibrate(model, train, valid, experiment.training.seed), prepared


def draw(workdir: Path) -> None:
    """Learning curves."""
    folder = workdir / "plots"
    plots.learning_curves(read_metrics(workdir / "metrics.jsonl"), folder / "learning_curves.png")
    if (finetune := workdir / "finetune" / "metrics.jsonl").exists():
        plots.learning_curves(read_metrics(finetune), folder / "finetune_curves.png")


def draw_explanation(model: Model, prepared: Prepared, workdir: Path) -> None:
    """Explain the first test picture that is predicted rightly, and the first that is not.

    Reasons that annotations deny are called false. It looks among the first 100 pictures.
    """
    found: dict[bool, Explanation] = {}
    pictures, splits = prepared.pictures, prepared.splits
    told = {name for name, _ in (*splits.test.skipped, *splits.train.skipped)}
    for index in range(min(len(pictures), 100)):
        try:
            true, known = pictures.classes[pictures.labels[index]], pictures.annotations_at(index)
            picture = pictures.source.load(index)
            explanation = model.explain(picture, k=7, true=true, annotations=known)
        except (UnreadableImage, UserError) as error:
            if (name := pictures.source.name(index)) not in told:
                logging.warning("skipped %s: %s", name, error)
            continue
        explanation = explanation._replace(name=pictures.source.name(index))
        found.setdefault(explanation.true == explanation.predicted, explanation)
        if len(found) == 2:
            break
    if found:
        shown = [found[right] for right in (True, False) if right in found]
        save_explanations(shown, workdir / "plots" / "explanation.png")
