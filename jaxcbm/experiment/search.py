"""`jaxcbm search`: Concept Matrix Search and zero-shot, which need no training."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.atomic import write_json
from jaxcbm.baselines.zero_shot import TEMPLATES, class_embeddings, zero_shot
from jaxcbm.bottleneck.search import Normalization, Similarity, concept_search
from jaxcbm.data.features import Features
from jaxcbm.data.store.cache import features_folder
from jaxcbm.distributed.processes import is_main, process_count
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.errors import UserError
from jaxcbm.evaluation.metrics import top_k_accuracy
from jaxcbm.experiment.config import Changes, Experiment, Named, read_experiment
from jaxcbm.experiment.prepare import Prepared, prepare
from jaxcbm.lines import aligned


class SearchScore(NamedTuple):
    """One way to classify, and what it reached.

    Attributes:
        method: `zero-shot` or `concept search`.
        similarity: of concept search, else "".
        normalize: of concept search, else "".
        texts: the template of the class texts, or how many were averaged.
        valid_top1: accuracy on validation, 0 to 1: what a choice between rows may rest on.
        test_top1: accuracy on test.
        test_top5: share of test images whose class is among the five best.
    """

    method: str
    similarity: str
    normalize: str
    texts: str
    valid_top1: float
    test_top1: float
    test_top5: float


def run(
    config: Experiment | Named,
    templates: Sequence[str] | None = None,
    output: Path | str | None = None,
    changes: Changes | None = None,
    batch_size: int | None = None,
) -> list[SearchScore]:
    """Classify the config's validation and test splits in every way; writes a JSON file if asked.

    Class texts are each template alone and, of several, their ensemble. `columns` and `centred`
    take statistics of the images of a split, without labels: they judge a split as a whole.

    Args:
        config: data, encoder and concepts; the other sections play no part.
        templates: sentences with `{}` for the class name; None for `TEMPLATES`.
        output: a .json file.
        changes: path of a field -> its new value.
        batch_size: images a step of the encoder, over all devices; None for 64 a device.

    Returns:
        Zero-shot first, then concept search.
    """
    templates = tuple(dict.fromkeys(templates or TEMPLATES))
    if wrong := [template for template in templates if template.count("{}") != 1]:
        raise UserError(f"--template={wrong[0]!r}: write {{}} once, where the class name goes")
    output = None if output is None else Path(output)
    if output and output.suffix != ".json":
        raise UserError(f"--output={output}: name a .json file")
    experiment = read_experiment(config, changes)
    with tempfile.TemporaryDirectory() as folder:
        if process_count() > 1 and not experiment.features:
            raise UserError("give --config.features=FOLDER, which all processes share")
        features = experiment.features or str(features_folder(folder))
        experiment = replace(experiment, features=features)
        prepared = prepare(experiment, None, batch_size=batch_size)
        rows = search(prepared, templates)
    if output and is_main():
        write_json(output, _about(experiment, prepared, templates, rows))
    return rows


def search(prepared: Prepared, templates: Sequence[str]) -> list[SearchScore]:
    """Every row of the table."""
    splits = [(jnp.asarray(part.as_array()), part) for part in prepared.splits[1:]]
    concepts_DxE = jnp.asarray(prepared.encoder.embed_texts(list(prepared.concepts.phrases)))
    texts = _class_texts(prepared.encoder, prepared.splits.train.classes, templates)
    rows = []
    for name, classes_KxE in texts.items():
        scores = [zero_shot(images, classes_KxE) for images, _ in splits]
        rows.append(SearchScore("zero-shot", "", "", name, *_measure(scores, splits)))
    for similarity in get_args(Similarity):
        for normalize in get_args(Normalization):
            for name, classes_KxE in texts.items():
                scores = [
                    concept_search(
                        images,
                        classes_KxE,
                        concepts_DxE,
                        similarity=similarity,
                        normalize=normalize,
                    ).scores
                    for images, _ in splits
                ]
                measured = _measure(scores, splits)
                rows.append(SearchScore("concept search", similarity, normalize, name, *measured))
    return rows


def _class_texts(
    encoder: DualEncoder, classes: Sequence[str], templates: Sequence[str]
) -> dict[str, jax.Array]:
    """Name -> class embeddings [K, E]: each template alone, and all of them together."""
    groups = {template: [template] for template in templates}
    if len(templates) > 1:
        groups[f"ensemble of {len(templates)}"] = list(templates)
    return {name: class_embeddings(encoder, classes, own) for name, own in groups.items()}


def _measure(
    scores: Sequence[jax.Array], splits: Sequence[tuple[jax.Array, Features]]
) -> tuple[float, float, float]:
    """Accuracy on validation, and top-1 and top-5 on test."""
    (valid, test), (valid_labels, test_labels) = (
        [np.asarray(part) for part in scores],
        [np.asarray(features.labels) for _, features in splits],
    )
    return (
        top_k_accuracy(valid, valid_labels),
        top_k_accuracy(test, test_labels),
        top_k_accuracy(test, test_labels, min(5, test.shape[1])),
    )


def chosen(rows: Sequence[SearchScore]) -> list[SearchScore]:
    """For each method, similarity and normalisation the class texts that validate best."""
    best: dict[tuple[str, ...], SearchScore] = {}
    for row in rows:
        kept = best.setdefault(row[:3], row)
        if row.valid_top1 > kept.valid_top1:
            best[row[:3]] = row
    return list(best.values())


def table(rows: Sequence[SearchScore]) -> str:
    """One line a method, with the class texts chosen on validation, and the best line marked."""
    lines = chosen(rows)
    best = max(lines, key=lambda row: row.valid_top1)
    header = ("method", "similarity", "normalize", "class texts", "valid top-1", "test top-1")
    cells: list[tuple[str, ...]] = [(*header, "test top-5", "")]
    for row in lines:
        numbers = (f"{value:.4f}" for value in row[4:])
        mark = "best on validation" if row is best else ""
        cells.append((*row[:4], *numbers, mark))
    return "\n".join(aligned(cells))


def _about(
    experiment: Experiment,
    prepared: Prepared,
    templates: Sequence[str],
    rows: Sequence[SearchScore],
) -> dict[str, Any]:
    names = ("train", "valid", "test")
    best = max(rows, key=lambda row: row.valid_top1)
    return {
        "dataset": experiment.data.name,
        "protocol": experiment.data.protocol,
        "images": {name: len(part) for name, part in zip(names, prepared.splits, strict=True)},
        "encoder": {
            "name": experiment.encoder.name,
            "hash": prepared.encoder.content_hash,
            "dtype": prepared.encoder.dtype,
        },
        "concepts": {"count": len(prepared.concepts), "hash": prepared.concepts.content_hash},
        "templates": list(templates),
        "hardware": {"platform": jax.default_backend(), "devices": jax.device_count()},
        "best_on_validation": best._asdict(),
        "rows": [row._asdict() for row in rows],
    }
