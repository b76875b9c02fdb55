"""A result file as rich as a real one, from a seeded generator: for the tests of reports."""

import numpy as np
from PIL import Image

from jaxcbm.evaluation.results.parts import class_weights, picture_text
from jaxcbm.evaluation.results.schema import (
    Concepts,
    ContributionValue,
    Explained,
    Explanations,
    Images,
    Interventions,
    MethodResult,
    NecCurves,
    ReliabilityDiagram,
    ResultFile,
)
from jaxcbm.report.metric_names import METRICS

PARTS = ("crown", "wing bars", "breast", "belly", "tail", "bill", "throat", "back", "eye ring")
COLORS = ("red", "blue", "yellow", "black and white striped", "olive green", "grey", "chestnut")
PHRASES = tuple(f"a {color} {part}" for part in PARTS for color in COLORS)[:57]
KINDS = ("finch", "warbler", "sparrow", "tanager", "flycatcher", "wren")
SPECIES = tuple(f"{color} {PARTS[i]} {kind}" for kind in KINDS for i, color in enumerate(COLORS))
CLASSES = (*SPECIES, *(f"lesser {name}" for name in SPECIES))[:48]
OURS = "Sparse-CBM (paired)"
METHODS = (
    (OURS, "ours", True, 0.742, "sparse-cbm"),
    ("Contrastive-CBM (paired)", "ours", True, 0.735, "contrastive-cbm"),
    ("l1-CBM (paired)", "ours", True, 0.741, "l1-cbm"),
    ("Label-free CBM", "baseline", True, 0.701, "label-free-cbm"),
    ("Post-hoc CBM, text directions", "baseline", True, 0.688, "post-hoc-cbm"),
    ("CDM", "baseline", True, 0.722, "cdm"),
    ("LaBo", "baseline", False, 0.664, "labo"),
    ("Post-hoc CBM, hybrid", "baseline", False, 0.731, ""),
    ("linear probe", "baseline", False, 0.748, "linear-probe"),
    ("zero-shot", "training-free", False, 0.041, "zero-shot"),
    ("Concept Matrix Search", "training-free", False, 0.212, "concept-matrix-search"),
)


def synthetic_result(
    dataset: str = "birds", classes: int = 48, seeds: int = 5, protocol: str = "official"
) -> ResultFile:
    """48 classes, 57 concepts, 5 seeds; everything a result file may hold."""
    rng = np.random.default_rng(7)
    gain = 0.12 if protocol == "released" else 0.0
    rows = tuple(_row(rng, *method, gain=gain, seeds=seeds) for method in METHODS)
    head = rng.normal(0, 1, (classes, len(PHRASES)))
    head[rng.random(head.shape) > 0.12] = 0.0
    return ResultFile(
        dataset=dataset,
        protocol=protocol,
        encoder="jaxcbm/tiny",
        encoder_hash="210f293237d29d9f78a90f91f0ee3b5b56ad4519942d4ba9272ae889d815ec9b",
        concepts=Concepts(
            57, "54d52097c0ffee54d52097c0ffee54d52097c0ffee54d52097c0ffee54d52097", "birds"
        ),
        images=Images(2448, 432, 1440),
        hardware="2 cores, x86_64, 16 GiB",
        seconds=2512.0,
        seeds=tuple(range(seeds)),
        rows=rows,
        command=f"jaxcbm reproduce --dataset={dataset} --seeds={seeds}",
        class_weights=class_weights(OURS, head, CLASSES[:classes], PHRASES),
        reliability=tuple(_reliability(rng, name) for name in (OURS, "CDM", "linear probe")),
        interventions=tuple(_interventions(rng, seeds)),
        explanations=Explanations(OURS, tuple(_explained(rng, i) for i in range(8))),
        notes=("Synthetic numbers.",),
    )


def _row(rng, name, kind, sparse, top1, published_as, *, gain, seeds) -> MethodResult:
    count = 1 if kind == "training-free" else seeds
    top1s = np.clip(top1 + gain + rng.normal(0, 0.006, count), 0, 1)
    metrics = {key: rng.uniform(0.3, 0.9, count) for key in METRICS}
    metrics |= {"top1": top1s, "top5": np.minimum(top1s + 0.2, 1), "macro_f1": top1s - 0.01}
    metrics |= {"ece": rng.uniform(0.02, 0.1, count), "nll": rng.uniform(0.8, 1.2, count)}
    metrics |= {"nec": np.full(count, 8.0 if sparse else 57.0)}
    metrics |= {"active_concepts": rng.uniform(4, 9, count)}
    if not sparse:
        del metrics["anec"], metrics["concept_auc"], metrics["concept_fidelity"]
    curve = None
    if sparse:
        targets = np.array([5, 10, 15, 20, 25, 30])
        means = top1 + gain - 0.25 * np.exp(-targets / 7)
        accuracies = means + rng.normal(0, 0.006, (count, len(targets)))
        curve = NecCurves(_floats(targets), tuple(map(_floats, accuracies)))
    values = {key: _floats(value) for key, value in metrics.items()}
    seconds = _floats(rng.uniform(2, 60, count))
    note = "epochs and penalty chosen on validation." if name == OURS else ""
    return MethodResult(name, kind, values, sparse, curve, seconds, published_as, note)


def _reliability(rng, name) -> ReliabilityDiagram:
    confidences = np.linspace(0.1, 0.97, 15)
    accuracies = np.clip(confidences - 0.06 + rng.normal(0, 0.03, 15), 0, 1)
    counts = tuple(int(n) for n in rng.integers(5, 200, 15))
    return ReliabilityDiagram(name, _floats(confidences), _floats(accuracies), counts)


def _interventions(rng, seeds):
    counts = np.arange(0, 29, 2)
    for name in (OURS, "Label-free CBM"):
        for policy, speed in (("random", 25), ("uncertain", 12), ("greedy", 7), ("oracle", 4)):
            for values in ("expert", "encoder"):
                top = 0.97 if values == "expert" else 0.78
                means = top - (top - 0.72) * np.exp(-counts / speed)
                curves = means + rng.normal(0, 0.004, (seeds, len(counts)))
                steps = tuple(int(n) for n in counts)
                yield Interventions(name, policy, values, steps, tuple(map(_floats, curves)))


def _explained(rng, i) -> Explained:
    pixels = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
    image = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
    values = sorted(rng.normal(0, 1.5, 6), key=abs, reverse=True)
    chosen = rng.choice(len(PHRASES), 6, replace=False)
    labels = [("" if v > 0 else "no ") + PHRASES[d] for v, d in zip(values, chosen, strict=True)]
    contributions = tuple(map(ContributionValue, labels, map(float, values)))
    group = "best" if i < 4 else "worst"
    predicted = CLASSES[i] if i < 4 else CLASSES[i + 9]
    return Explained(group, picture_text(image), CLASSES[i], predicted, 0.83, contributions, -0.4)


def _floats(values) -> tuple[float, ...]:
    return tuple(float(x) for x in np.asarray(values))
