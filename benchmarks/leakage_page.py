"""The page on leakage, from what `benchmarks.leakage` measured."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report import table

COLUMNS = {
    "nuisances": "nuisance leakage %",
    "nuisances_wider": "512 hidden %",
    "real": "real phrases %",
    "beyond": "beyond annotations %",
    "anec": "ANEC %",
    "top1": "top-1 %",
    "concept_auc": "concept AUC",
    "nuisance_auc": "nuisance AUC",
    "nuisance_fidelity": "nuisance fidelity",
}
HIDDEN_COLUMNS = ("nuisances", "anec", "top1", "concept_auc", "hidden_auc")
HEADER = """# Leakage, and what rules against it cost

Written by `python -m benchmarks.leakage`; do not edit by hand.

A concept that is equally frequent in every class should tell nothing about the class. Fifteen
phrases about the scene of a painted bird (`jaxcbm/data/birds/nuisances.py`) are such concepts by
construction. A layer is fitted on the birds' own 57 phrases and these; a network then reads the
class from the activations of the nuisances alone (`jaxcbm/evaluation/leakage.py`). By chance it
is right for 2.1 % of test images. No rule is told which phrases are nuisances. Encoder
`{encoder}`; mean ± deviation over {seeds} seeds. Within a seed, all rules use the same fits.
"""
FINDINGS = """
## What to make of it

- **The frozen encoder leaks, not the fit alone.** From the encoder's own scores of the 15 phrases
  the network reads {scores} % of classes, from 15 random directions of the embedding {random} %.
  This encoder has never seen words for a scene: its scores tell whether such a phrase is true
  with an AUC of 0.50. A rule that follows them exactly (fidelity 1) leaks as much, and one that
  takes an image's best-matching phrases as present leaks hardly less.
- **Erasure** (`config.sparse_head.erasure`) removes the class means from the logits of phrases
  without annotations, in closed form (LEACE, arXiv 2306.03819; `jaxcbm/bottleneck/erasure.py`). A
  penalty on the variance between classes leads to the same result (here in closed form too;
  losses such as that of f-CBM, arXiv 2603.13163, approach it by gradients and were not run).
- **Where all phrases that matter are annotated, erasure costs nothing**: it leaves those alone.
- **A phrase without annotations that is about the class loses its meaning.** If the annotations
  of some of the birds' own phrases are hidden, erasure leaves these an AUC little above 0.5;
  leaving them out altogether costs less accuracy. No statistic of labels and scores that was
  tried tells such a phrase from a nuisance reliably (last table). So erasure is off by default,
  and there is no rule here for a set without annotations.
- **Annotated phrases about a scene** leak little, since they are learned from the truth. Erasing
  class information from them too removes the rest and keeps nearly all of their AUC.
  `config.sparse_head.erasure` does not do that: it leaves annotated phrases alone.
- **Annotated concepts tell more than their annotations do.** The column *beyond annotations* says
  how much accuracy a network gains from the activations of 15 real phrases if it knows their
  annotations already (the question of arXiv 2504.09459). Erasing from each concept the class
  information that its own annotations lack removes this, but costs far more than a point.
- Dropping half of the concepts or adding noise to activations during training would change
  nothing: each concept is a separate logistic regression, which no gradient of a head reaches.
"""
ALL_HEADER = """
## Where all of the birds' phrases are annotated

A rule says how the fit treats phrases without annotations, and what is done afterwards. The
nuisances are these phrases, except in the rows that say that they are annotated. *512 hidden*: a
network with 512 hidden units instead of 64. *Real phrases*: what is read from 15 of the birds'
own phrases. The AUC of nuisances is against the scenes that were drawn; fidelity is the
correlation of logits with the encoder's own scores.
"""
SIGNS_HEADER = """
## What might tell such phrases from nuisances

The table shows the area under the ROC curve of some statistics. Most are statistics of the
encoder's own scores over train images; the last is how well the embedding of a phrase is a
combination of those of annotated phrases. 1: higher for each of the birds' own phrases than for
any nuisance; 0.5: says nothing. In the last rows five draws hide the annotations of some phrases,
and only those are told from nuisances.
"""
HIDDEN_HEADER = """
## Where some of them have lost their annotations

A share of the birds' own phrases, drawn by the seed, is treated like the nuisances. The hidden
annotations are still used to measure the AUC of concepts.
"""


def render(result: Mapping[str, Any]) -> str:
    """The page."""
    found, scores = result["rules"], result["scores"]
    head = HEADER.format(encoder=result["encoder"], seeds=result["seeds"])
    told = {name: f"{100 * statistics.fmean(values):.1f}" for name, values in scores.items()}
    findings = FINDINGS.format(scores=told["nuisances"], random=told["random directions"])
    lines = [[name, *(_cell(key, v) for key in COLUMNS)] for name, v in found["all"].items()]
    hidden = [
        [f"{100 * float(group):.0f} %", name, *(_cell(key, v) for key in HIDDEN_COLUMNS)]
        for group, rows in found.items()
        if group != "all"
        for name, v in rows.items()
    ]
    titles = {**COLUMNS, "hidden_auc": "AUC of the hidden"}
    parts = [
        head + findings + ALL_HEADER,
        table(["rule", *COLUMNS.values()], lines),
        HIDDEN_HEADER,
        table(["hidden", "rule", *(titles[key] for key in HIDDEN_COLUMNS)], hidden),
        SIGNS_HEADER,
        table(["statistic", "AUC"], [[name, _number(v)] for name, v in result["signs"].items()]),
    ]
    return "\n".join(parts) + "\n"


def _cell(key: str, found: Sequence[Mapping[str, float]]) -> str:
    values = [value[key] for value in found if key in value]
    if not values:
        return ""
    if key.endswith(("auc", "fidelity")):
        return _number(values)
    return _number([100 * value for value in values], 1)


def _number(values: Sequence[float], digits: int = 3) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(values):.{digits}f}"
