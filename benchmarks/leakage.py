"""What rules against leakage gain and cost on the birds.

python -m benchmarks.leakage --seeds=5
python -m benchmarks.leakage --render

A run writes the result file and the page anew. A seed draws the start of the fit, the network that
reads activations, and the phrases whose annotations are hidden; the pictures stay.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.leakage_birds import NUISANCES, Birds, load
from benchmarks.leakage_page import render
from benchmarks.leakage_rules import (
    Layer,
    bits,
    erased,
    erased_beyond,
    own_scores,
    penalised,
    standardised,
)
from benchmarks.leakage_signs import separability
from jaxcbm.atomic import atomic_file, write_json
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.birds.nuisances import NUISANCE_PHRASES
from jaxcbm.data.features import Features, Splits
from jaxcbm.evaluation.leakage import leakage
from jaxcbm.evaluation.metrics import class_metrics, concept_auc, concept_fidelity
from jaxcbm.training.fit import fit
from jaxcbm.training.sparsify import sparsify

HIDDEN = (0.25, 0.5, 0.75)
# Of the network that reads as hard as it can.
WIDER = 512


def fit_layer(
    birds: Birds, seed: int, phrases: Sequence[str], known: Sequence[str], treat: str = "absent"
) -> Layer:
    """Fit the layer; `treat` says what the objective takes phrases without annotations for.

    Args:
        birds: data.
        seed: of the fit.
        phrases: of the layer.
        known: those whose annotations may be used.
        treat: `absent` from every image, `top scores`: present where the phrase is among the
            best-matching few of the image, or `annotated`: nuisances as they are painted.
    """
    splits = Splits(*(_with_annotations(birds, i, known) for i in range(3)))
    if treat == "annotated":
        pairs = zip(splits, birds.scenes, strict=True)
        splits = Splits(*(_add(part, NUISANCE_PHRASES, told) for part, told in pairs))
    unknown = ~np.isin(phrases, splits.train.annotation_phrases)
    columns_DxE = birds.texts_DxE[[birds.phrases.index(phrase) for phrase in phrases]]
    train = splits.train
    if unknown.any():
        few = birds.config.bottleneck.positives_k
        present_NxD = np.zeros((len(train), len(phrases)), np.float32)
        if treat == "top scores":
            psi_NxD = standardised(train.as_array() @ columns_DxE.T)
            np.put_along_axis(present_NxD, np.argsort(-psi_NxD, axis=1)[:, :few], 1, axis=1)
        names = np.array(phrases)[unknown]
        train = _add(train, names, present_NxD[:, unknown])
    training = replace(birds.config.training, seed=seed)
    head = replace(birds.config.sparse_head, enabled=False)
    config = replace(birds.config, training=training, sparse_head=head)
    concepts = ConceptSet.from_phrases(phrases)
    model = fit(train, splits.valid, encoder=birds.encoder, concepts=concepts, config=config)
    return Layer(model, splits, unknown)


def _with_annotations(birds: Birds, split: int, known: Sequence[str]) -> Features:
    part = birds.splits[split]
    nothing = replace(part, annotations=np.zeros((len(part), 0)), annotation_phrases=())
    return _add(nothing, known, part.annotations_of(known))


def _add(part: Features, phrases: Sequence[str], present_NxA: Any) -> Features:
    together = np.concatenate([part.annotations, present_NxA], axis=1)
    names = (*part.annotation_phrases, *map(str, phrases))
    return replace(part, annotations=together, annotation_phrases=names)


def measure(birds: Birds, layer: Layer, seed: int) -> dict[str, float]:
    """Solve the head, and read everything on test; shares 0 to 1."""
    train, valid, _ = layer.splits
    model = sparsify(layer.model, train, valid, birds.config.sparse_head)
    phrases, parts = model.concepts.phrases, birds.splits
    found = [model.predict_embeddings(part.as_array()) for part in parts]
    labels = [np.asarray(part.labels) for part in parts]
    path = model.sparse_path
    assert path is not None
    own = [d for d, phrase in enumerate(phrases) if phrase not in NUISANCE_PHRASES]
    truth = [part.annotations_of(phrases) for part in parts]
    auc_D = concept_auc(found[2].concept_logits, np.asarray(truth[2]))
    metrics = {
        "anec": float(path.curve(found[2].concept_activations, labels[2]).anec),
        "top1": class_metrics(found[2].class_logits, labels[2])["top1"],
        "concept_auc": float(auc_D[own].mean()),
    }
    if hidden := [d for d in own if layer.unknown[d]]:
        metrics["hidden_auc"] = float(auc_D[hidden].mean())

    def read(*values: Sequence[np.ndarray], hidden: int = 64) -> float:
        joined = [np.concatenate(columns, axis=1) for columns in zip(*values, strict=True)]
        return _read(joined, labels, seed, hidden)

    some = np.arange(NUISANCES) * len(own) // NUISANCES
    activations = [prediction.concept_activations for prediction in found]
    reasons = [values[:, some] for values in activations]
    if not hidden:
        answers = [values[:, some] for values in map(np.asarray, truth)]
        metrics["real"] = read(reasons)
        metrics["beyond"] = read(reasons, answers) - read(answers)
    if len(phrases) > len(own):
        theirs = [values[:, len(own) :] for values in activations]
        metrics["nuisances"] = read(theirs)
        metrics["nuisances_wider"] = read(theirs, hidden=WIDER)
        logits_NxU = found[2].concept_logits[:, len(own) :]
        fidelity_U = concept_fidelity(logits_NxU, found[2].concept_scores[:, len(own) :])
        metrics["nuisance_fidelity"] = float(fidelity_U.mean())
        metrics["nuisance_auc"] = float(concept_auc(logits_NxU, birds.scenes[2]).mean())
    return metrics


def _read(
    values: Sequence[np.ndarray], labels: Sequence[np.ndarray], seed: int, hidden: int = 64
) -> float:
    told = [array for pair in zip(values, labels, strict=True) for array in pair]
    return leakage(*told, seed=seed, hidden=hidden)["top1"]


def rules(birds: Birds, seed: int) -> dict[str, Layer]:
    """Every rule where all of the birds' phrases are annotated, on top of one of four layers."""
    own, every = birds.phrases[: birds.own], birds.phrases
    absent = fit_layer(birds, seed, every, own)
    top = fit_layer(birds, seed, every, own, "top scores")
    told = fit_layer(birds, seed, every, own, "annotated")
    as_nuisances = np.arange(len(every)) >= birds.own
    return {
        "no nuisances in the set": fit_layer(birds, seed, own, own),
        "absent from every image": absent,
        "own top scores": top,
        "own scores as they are": own_scores(top),
        "own top scores, as yes or no": bits(top),
        **{f"own top scores, penalty {w:g}": penalised(top, w) for w in (10.0, 100.0, 1000.0)},
        **{f"own top scores, erasure {share:g}": erased(top, share) for share in (0.5, 0.9)},
        "own top scores, erasure 1": erased(top, 1.0),
        "absent from every image, erasure 1": erased(absent, 1.0),
        "annotated nuisances": told,
        "annotated nuisances, erasure 1": erased(told._replace(unknown=as_nuisances), 1.0),
        **{
            f"erasure 1, and {share:g} beyond annotations": erased_beyond(erased(top, 1.0), share)
            for share in (0.25, 1.0)
        },
    }


def hiding(birds: Birds, seed: int, share: float) -> dict[str, Layer]:
    """Rules where a share of the birds' own phrases has lost its annotations."""
    own, every = np.array(birds.phrases[: birds.own]), birds.phrases
    order = np.random.default_rng(seed).permutation(len(own))
    known = own[np.sort(order[round(share * len(own)) :])].tolist()
    absent = fit_layer(birds, seed, every, known)
    top = fit_layer(birds, seed, every, known, "top scores")
    return {
        "absent from every image": absent,
        "own top scores": top,
        "own top scores, erasure 1": erased(top, 1.0),
        "phrases without annotations left out": fit_layer(birds, seed, known, known),
    }


def run(folder: Path, seeds: int) -> Iterator[dict[str, Any]]:
    """Every rule, seed by seed; what is known after each."""
    birds = load(folder)
    train = birds.splits.train
    signs = separability(birds.texts_DxE, train.as_array(), np.asarray(train.labels), birds.own)
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    scores: dict[str, list[float]] = {}
    for seed in range(seeds):
        for name, value in encoder_leakage(birds, seed).items():
            scores.setdefault(name, []).append(value)
        groups = {"all": rules(birds, seed)}
        groups |= {f"{share:g}": hiding(birds, seed, share) for share in HIDDEN}
        for group, layers in groups.items():
            for name, layer in layers.items():
                value = measure(birds, layer, seed)
                found.setdefault(group, {}).setdefault(name, []).append(value)
                print(seed, group, name, {k: round(v, 3) for k, v in value.items()}, flush=True)
        yield {
            "encoder": birds.encoder.name,
            "seeds": seed + 1,
            "scores": scores,
            "signs": signs,
            "rules": found,
        }


def encoder_leakage(birds: Birds, seed: int) -> dict[str, float]:
    """What the network reads from the frozen encoder itself."""
    rows = [part.as_array() for part in birds.splits]
    labels = [np.asarray(part.labels) for part in birds.splits]
    nuisances_UxE = birds.texts_DxE[birds.own :]
    random_UxE = np.random.default_rng(seed).normal(size=nuisances_UxE.shape)
    return {
        name: _read([row @ columns.T for row in rows], labels, seed)
        for name, columns in (("nuisances", nuisances_UxE), ("random directions", random_UxE))
    }


def main() -> None:
    """Measure and write the page, or only the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--workdir", type=Path, help="holds the encoded birds, or will")
    parser.add_argument("--result", type=Path, default=Path("docs/results/leakage.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/leakage.md"))
    args = parser.parse_args()
    if not args.render:
        with tempfile.TemporaryDirectory() as folder:
            for result in run(args.workdir or Path(folder), args.seeds):
                write_json(args.result, result)
    with atomic_file(args.page) as temporary:
        text = render(json.loads(args.result.read_text("utf-8")))
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
