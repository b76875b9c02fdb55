"""`jaxcbm reproduce`: the paper's whole table on one dataset, from one feature store."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from absl import logging

from jaxcbm.atomic import write_json
from jaxcbm.baselines.zero_shot import class_embeddings
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.birds.nuisances import NUISANCE_PHRASES
from jaxcbm.distributed.processes import decide, is_main
from jaxcbm.errors import UserError
from jaxcbm.evaluation.calibration import calibration_metrics
from jaxcbm.evaluation.leakage import leakage
from jaxcbm.evaluation.metrics import class_metrics, evaluate_prediction
from jaxcbm.evaluation.random_control import random_concepts
from jaxcbm.evaluation.results.file import write_result
from jaxcbm.evaluation.results.schema import Concepts, Images, MethodResult, NecCurves, ResultFile
from jaxcbm.experiment.config import Changes, Experiment, Named, read_experiment
from jaxcbm.experiment.methods import DEFAULT, METHODS, Method, Outcome, Study, ours, table_of
from jaxcbm.experiment.prepare import Prepared, prepare, require_frozen

TARGETS = (5, 10, 15, 20, 25, 30)
Protocol = Literal["official", "pooled", "released"]


def run(
    config: Experiment | Named,
    workdir: Path | str,
    *,
    changes: Changes | None = None,
    seeds: int = 5,
    protocol: Protocol = "official",
    methods: Sequence[str] = (),
    command: str = "",
) -> Path:
    """Run every method for every seed; what is done already is not run again.

    Args:
        config: the name or path of a config file, nested dicts, or an `Experiment`.
        workdir: keeps the feature store, one file for each finished part, and the result.
        changes: path of a field -> its new value.
        seeds: 0 to `seeds - 1`.
        protocol: `official` splits, or `pooled` ones (`released`, an older name, is taken too).
        methods: names of rows; empty: all of them.
        command: what to say the file was written by.

    Returns:
        The result file: `results-official.json`, or `results-released.json` of pooled splits.

    Raises:
        UserError: an unknown method, or no seed.
    """
    if seeds < 1:
        raise UserError(f"--seeds={seeds}: give at least 1")
    if unknown := [name for name in methods if name not in METHODS]:
        raise UserError(f"no method {unknown[0]!r}: choose among {', '.join(METHODS)}")
    split, told = ("official",) * 2 if protocol == "official" else ("pooled", "released")
    experiment = read_experiment(config, {**(changes or {}), "data.protocol": split})
    workdir = Path(workdir)
    require_frozen(experiment, "reproduce")
    prepared = prepare(experiment, workdir)
    study = make_study(prepared, experiment)
    parts = workdir / "parts" / _key(asdict(experiment), study)
    table = table_of(study)
    rows = [
        _row(name, method, study, seeds, parts)
        for name, method in table.items()
        if not methods or name in methods
    ]
    # What the first seed's default is shown by is cheap beside the table, and made anew.
    shown: dict[str, Any] = {}
    if not methods or DEFAULT in methods:
        from jaxcbm.experiment.showcase import showcase

        shown = showcase(study, prepared.pictures, DEFAULT, range(seeds))
    result = ResultFile(
        dataset=experiment.data.tfds_name or experiment.data.name,
        protocol=told,
        encoder=study.encoder.name,
        encoder_hash=study.encoder.content_hash,
        concepts=Concepts(len(study.concepts), study.concepts.content_hash, experiment.concepts),
        images=Images(*map(len, study.splits)),
        hardware=hardware(),
        seconds=sum(sum(row.seconds) for row in rows),
        seeds=tuple(range(seeds)),
        rows=tuple(rows),
        command=command,
        **shown,
    )
    file = workdir / f"results-{told}.json"
    if is_main():
        write_result(file, result)
    return file


def make_study(prepared: Prepared, experiment: Any) -> Study:
    """Embed classes and phrases once."""
    encoder, classes = prepared.encoder, prepared.splits.train.classes
    return Study(
        experiment=experiment,
        encoder=encoder,
        concepts=prepared.concepts,
        splits=prepared.splits,
        names_KxE=np.asarray(class_embeddings(encoder, classes, ("{}",))),
        classes_KxE=np.asarray(class_embeddings(encoder, classes)),
        concepts_DxE=np.asarray(encoder.embed_texts(list(prepared.concepts.phrases))),
    )


def hardware() -> str:
    """One line on what this runs on."""
    device = jax.devices()[0].device_kind
    return f"{jax.device_count()} x {device}, {os.cpu_count()} cores, {platform.machine()}"


def _row(name: str, method: Method, study: Study, seeds: int, parts: Path) -> MethodResult:
    count = seeds if method.seeded else 1
    found = [_part(name, method, study, seed, parts) for seed in range(count)]
    curves = [part["curve"] for part in found]
    names = list(found[0]["metrics"])
    return MethodResult(
        name=name,
        kind=method.kind,
        metrics={metric: tuple(part["metrics"][metric] for part in found) for metric in names},
        sparse=method.sparse,
        nec_curve=None if curves[0] is None else NecCurves(TARGETS, tuple(map(tuple, curves))),
        seconds=tuple(part["seconds"] for part in found),
        published_as=method.published_as,
        note=method.note,
    )


def _part(name: str, method: Method, study: Study, seed: int, parts: Path) -> dict[str, Any]:
    """One method, one seed: read where it was run before, else run and written."""
    slug = "".join(c if c.isalnum() else "-" for c in name.lower())
    file = parts / f"{slug}-{seed}.json"
    if decide(f"{slug}-{seed}", file.exists()):
        return json.loads(file.read_text(encoding="utf-8"))
    start = time.perf_counter()
    outcome = method.run(study, seed)
    seconds = time.perf_counter() - start
    metrics = measure(study, outcome)
    if name == DEFAULT:
        metrics["random_top1"] = _random_top1(study, seed)
        metrics |= nuisance_leakage(study, seed)
    curve = None
    if outcome.choice is not None and outcome.concepts is not None:
        found = outcome.choice.curve(
            outcome.concepts.concept_activations, study.splits.test.labels, TARGETS
        )
        curve, metrics["anec"] = np.asarray(found.accuracies).tolist(), float(found.anec)
    part = {"metrics": metrics, "curve": curve, "seconds": seconds}
    if is_main():
        write_json(file, part)
    logging.info("%s, seed %d: top-1 %.4f, %.1f s", name, seed, metrics["top1"], seconds)
    return part


def measure(study: Study, outcome: Outcome) -> dict[str, float]:
    """Every metric of a method on the test split."""
    test, valid = study.splits.test, study.splits.valid
    labels = np.asarray(test.labels)
    if outcome.concepts is None or outcome.head is None:
        metrics = class_metrics(outcome.class_logits, labels)
    else:
        present = test.annotations_of(outcome.phrases)
        metrics = evaluate_prediction(outcome.concepts, labels, outcome.head, present)
    calibration = calibration_metrics(
        outcome.valid_logits, np.asarray(valid.labels), outcome.class_logits, labels
    )
    return {**metrics, **calibration}


def _random_top1(study: Study, seed: int) -> float:
    """The same setting on phrases without meaning; annotations say nothing about those."""
    nonsense = random_concepts(study.concepts, seed=seed)
    outcome = ours(study, seed, concepts=nonsense)
    return class_metrics(outcome.class_logits, np.asarray(study.splits.test.labels))["top1"]


def nuisance_leakage(study: Study, seed: int) -> dict[str, float]:
    """What a small network reads of the species from concepts that say nothing about it.

    The default is fitted with the birds' nuisance phrases added to its own; `leakage_top1` is what
    their activations alone tell, `leakage_real_top1` what as many real concepts tell, and
    `leakage_chance` what nothing tells. Empty for data without such phrases.
    """
    if study.experiment.data.name != "birds":
        return {}
    phrases = [*study.concepts.phrases, *NUISANCE_PHRASES]
    model = ours(study, seed, concepts=ConceptSet.from_phrases(phrases)).model
    assert model is not None
    activations = [
        model.predict_embeddings(part.as_array()).concept_activations for part in study.splits
    ]

    def read(columns: np.ndarray) -> dict[str, float]:
        parts = []
        for values, part in zip(activations, study.splits, strict=True):
            parts += [values[:, columns], np.asarray(part.labels)]
        return leakage(*parts, seed=seed)

    count, real = len(NUISANCE_PHRASES), len(study.concepts)
    nuisance = read(np.arange(real, real + count))
    return {
        "leakage_top1": nuisance["top1"],
        "leakage_chance": nuisance["chance"],
        "leakage_real_top1": read(np.arange(count) * real // count)["top1"],
    }


def _key(config: dict[str, Any], study: Study) -> str:
    """Everything that results depend on besides method and seed."""
    facts = [
        config,
        study.encoder.content_hash,
        study.concepts.content_hash,
        [part.key for part in study.splits],
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
