"""`jaxcbm reproduce`: the paper's whole table on one dataset, from one feature store."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
from absl import logging

from jaxcbm.bottleneck.sparse.sized_heads import NEC_TARGETS
from jaxcbm.code_version import this_code
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Splits
from jaxcbm.distributed.processes import decide, is_main
from jaxcbm.errors import UserError
from jaxcbm.evaluation.evaluate import FittedMethod, evaluate
from jaxcbm.evaluation.interventions import POLICIES
from jaxcbm.evaluation.results.file import write_result
from jaxcbm.evaluation.results.schema import (
    Concepts,
    Images,
    Interventions,
    MethodResult,
    NecCurves,
    ResultFile,
)
from jaxcbm.experiment.config import Changes, Experiment, Named, read_experiment
from jaxcbm.experiment.content_key import content_key
from jaxcbm.experiment.evaluate import nuisances_of
from jaxcbm.experiment.methods import DEFAULT, METHODS, Method, table_of
from jaxcbm.experiment.prepare import prepare, require_frozen
from jaxcbm.experiment.study import Study, make_study
from jaxcbm.lines import first_line
from jaxcbm.machine_load import Load, watch_load
from jaxcbm.sealed_json import read_sealed, write_sealed

# What is to be known of an encoder's numbers on a dataset: by both names, for the report.
_NOTES = {
    ("fashion_mnist", "jaxcbm/tiny"): (
        "The built-in encoder has read captions made from the labels of 20,000 Fashion-MNIST train "
        "pictures, 2,004 of the 6,000 validation pictures among them, and never read test. Its "
        "zero-shot accuracy is 80.8 % on the validation pictures it has seen, 79.6 % on the "
        "others and 79.1 % on test: no class there is new to it.",
    ),
}
Protocol = Literal["official", "pooled", "released"]
# Of the files of finished parts: another one, and older parts are run again.
_PART_FORMAT = 4


def run(
    config: Experiment | Named,
    workdir: Path | str,
    *,
    changes: Changes | None = None,
    seeds: int = 5,
    protocol: Protocol = "official",
    methods: Sequence[str] = (),
    command: str = "",
    rows_only: bool = False,
    name: str = "",
) -> Path:
    """Run every method for every seed; what the same code has done already is not run again.

    Args:
        config: the name or path of a config file, nested dicts, or an `Experiment`.
        workdir: keeps the feature store, one file for each finished part, and the result.
        changes: path of a field -> its new value.
        seeds: 0 to `seeds - 1`.
        protocol: `official` splits, or `pooled` ones (`released`, an older name, is taken too).
        methods: names of rows; empty: all of them.
        command: what to say the file was written by.
        rows_only: leave out what is measured and shown of the default beyond the other rows.
        name: of the result file in `workdir`.

    Returns:
        The result file: `results-official.json`, or `results-released.json` of pooled splits,
        unless it is named.

    Raises:
        UserError: an unknown method, or no seed.
    """
    if seeds < 1:
        raise UserError(f"--seeds={seeds}: give at least 1")
    if unknown := [name for name in methods if name not in METHODS]:
        raise UserError(f"no method {unknown[0]!r}: choose among {'; '.join(METHODS)}")
    split, told = ("official",) * 2 if protocol == "official" else ("pooled", "released")
    experiment = read_experiment(config, {**(changes or {}), "data.protocol": split})
    workdir = Path(workdir)
    require_frozen(experiment, "reproduce")
    prepared = prepare(experiment, workdir, fits=True)
    study = make_study(prepared, experiment)
    table = table_of(study)
    if absent := [name for name in methods if name not in table]:
        raise UserError(
            f"no row {absent[0]!r} on this data: it needs annotations, which the data lacks, or is "
            f"the row {DEFAULT!r}"
        )
    parts = (
        workdir
        / ("rows" if rows_only else "parts")
        / content_key(
            study.encoder, study.concepts, study.splits, [_PART_FORMAT, asdict(experiment)]
        )
    )
    measured = {
        row: [
            _part(row, method, study, seed, parts, rows_only)
            for seed in range(seeds if method.seeded else 1)
        ]
        for row, method in table.items()
        if not methods or row in methods
    }
    rows = [_row(row, table[row], found) for row, found in measured.items()]
    # What the first seed's default is shown by is cheap beside the table, and made anew.
    shown: dict[str, Any] = {}
    if DEFAULT in measured and not rows_only:
        from jaxcbm.experiment.showcase import showcase

        shown = showcase(study, prepared.pictures, DEFAULT)
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
        notes=_NOTES.get((experiment.data.name, study.encoder.name), ()),
        dials=experiment.data.dials.turned,
        interventions=_interventions(DEFAULT, measured.get(DEFAULT, [])),
        code=this_code(),
        load=_load([part for found in measured.values() for part in found]),
        **shown,
    )
    file = workdir / (name or f"results-{told}.json")
    if is_main():
        write_result(file, result)
    return file


def hardware() -> str:
    """One line on what this runs on."""
    device = jax.devices()[0].device_kind
    return f"{jax.device_count()} x {device}, {os.cpu_count()} cores, {platform.machine()}"


def _row(name: str, method: Method, found: Sequence[dict[str, Any]]) -> MethodResult:
    curves = tuple(tuple(part["top1_at_nec"]) for part in found)
    return MethodResult(
        name=name,
        kind=method.kind,
        metrics={
            metric: tuple(part["metrics"][metric] for part in found)
            for metric in found[0]["metrics"]
        },
        sparse=method.sparse,
        nec_curve=NecCurves(NEC_TARGETS, curves) if curves[0] else None,
        seconds=tuple(part["seconds"] for part in found),
        published_as=method.published_as,
        note=method.note,
        given=method.given,
    )


def _interventions(row: str, found: Sequence[dict[str, Any]]) -> tuple[Interventions, ...]:
    first = found[0]["interventions"] if found else {}
    return tuple(
        Interventions(
            row,
            policy,
            who,
            tuple(range(len(curve))),
            tuple(tuple(part["interventions"][who][policy]) for part in found),
        )
        for who, curves in first.items()
        for policy, curve in curves.items()
    )


def _load(parts: Sequence[dict[str, Any]]) -> Load:
    """Before the first of them, and the largest of all; a part that was read says how it was."""
    loads = [Load(**part["load"]) for part in parts]
    return replace(loads[0], largest=max(load.largest for load in loads))


def _part(
    name: str, method: Method, study: Study, seed: int, parts: Path, rows_only: bool
) -> dict[str, Any]:
    """One method, one seed: read where it was run before, else run and written."""
    slug = "".join(c if c.isalnum() else "-" for c in name.lower())
    file = parts / f"{slug}-{seed}.json"
    found = _found(file)
    if decide(f"{slug}-{seed}", found is not None):
        if found is None:
            raise UserError(f"{file}: process 0 reads it and another does not: share one folder")
        return found
    controlled = method.controls and not rows_only
    start = time.perf_counter()
    with watch_load() as load:
        fitted = method.run(study, seed)
        seconds = time.perf_counter() - start
        found = evaluate(
            fitted,
            study.splits,
            # What the default is known for beyond its row; the other rows go without.
            policies=tuple(POLICIES) if name == DEFAULT and not rows_only else (),
            refit=partial(_refit, method, study, seed) if controlled else None,
            random_phrases=study.experiment.evaluation.random_phrases,
            nuisances=nuisances_of(study.experiment),
            seed=seed,
        )
    part = {
        "metrics": found.metrics,
        "top1_at_nec": found.top1_at_nec,
        "interventions": found.interventions,
        "seconds": seconds,
        "load": asdict(load),
    }
    if is_main():
        write_sealed(file, part)
    whole = time.perf_counter() - start
    told = "%s, seed %d: top-1 %.4f; fitted in %.1f s, with evaluation %.1f s"
    logging.info(told, name, seed, found.metrics["top1"], seconds, whole)
    return part


def _found(file: Path) -> dict[str, Any] | None:
    """A finished part; None where there is none, or it is damaged, which is said."""
    try:
        return read_sealed(file, always=True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logging.warning("%s is damaged (%s): it is run again", file, first_line(error))
        return None


def _refit(
    method: Method, study: Study, seed: int, concepts: ConceptSet, splits: Splits
) -> FittedMethod:
    return method.run(study._replace(splits=splits), seed, concepts=concepts)
