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

A concept that is as frequent in every class should tell nothing of the class. Fifteen phrases about
the scene of a painted bird (`jaxcbm/data/birds/nuisances.py`) are such concepts by construction. A
layer is fitted on the birds' own 57 phrases and these; a network then reads the class from the
activations of the nuisances alone (`jaxcbm/evaluation/leakage.py`). By chance it is right for
2.1 % of test images. No rule is told which phrases are nuisances. Encoder `{encoder}`; mean ±
deviation over {seeds} seeds; within a seed all rules stand on the same fits.
"""
FINDINGS = """
## What to make of it

- **The frozen encoder leaks, not the fit alone.** From the encoder's own scores of the 15 phrases
  the network reads {scores} % of classes, from 15 random directions of the embedding {random} %.
  This encoder has never seen words for a scene: its scores tell whether such a phrase is true with
  an AUC of 0.50. A rule that is true to them (fidelity 1) leaks as much, and one that takes an
  image's best-matching phrases for present hardly less.
- **Erasure** (`config.sparse_head.erasure`) takes the means of classes out of the logits of phrases
  without annotations, in closed form (LEACE, arXiv 2306.03819; `jaxcbm/bottleneck/erasure.py`). A
  penalty on the variance between classes ends in the same place (here in closed form too; losses
  like that of f-CBM, arXiv 2603.13163, reach for it by gradients, and were not run).
- **Where all phrases that matter are annotated, erasure costs nothing**: it leaves those alone.
- **A phrase without annotations that is about the class loses its meaning.** Of the birds' own
  phrases whose annotations were hidden, erasure leaves an AUC little above 0.5; leaving them out
  altogether costs less accuracy. No statistic of labels and scores that was tried tells such a
  phrase from a nuisance reliably (last table). So erasure is off by default, and there is no rule
  here for a set without annotations.
- **Annotated phrases about a scene** leak little, as they are learnt from what they mean; erasing
  classes from them too takes the rest and leaves them nearly all of their AUC.
  `config.sparse_head.erasure` does not do that: it leaves annotated phrases alone.
- **Annotated concepts tell more than their annotations do.** To a network that knows what
  annotations say of 15 real phrases, their activations add what the column *beyond annotations*
  says (the question of arXiv 2504.09459, in accuracy). Erasing from each concept the class
  information that its own annotations lack takes that away, and with it far more than a point.
- Dropping half of the concepts, or noise on activations, while the layer is trained would change
  nothing: each concept is a logistic regression of its own, which no gradient of a head reaches.
"""
ALL_HEADER = """
## Where all of the birds' phrases are annotated

A rule is what the fit takes phrases without annotations for, and what is then done about it; the
nuisances are these phrases, but for the rows that say that they are annotated. *512 hidden*: a
network with so many hidden units instead of 64. *Real phrases*: what is read from 15 of the birds'
own. The AUC of nuisances is against the scenes that were drawn; fidelity is the correlation of
logits with the encoder's own scores.
"""
SIGNS_HEADER = """
## What might tell such phrases from nuisances

Area under the ROC curve of a statistic of the encoder's own scores over train images, or of how
well the embedding of a phrase is a combination of those of annotated phrases: 1 where it is higher
for every phrase of the birds' own than for every nuisance, 0.5 where it says nothing. In the last
rows five draws hide the annotations of some, and only those are told from nuisances.
"""
HIDDEN_HEADER = """
## Where some of them have lost their annotations

A share of the birds' own phrases, drawn by the seed, is treated as the nuisances are. Hidden
annotations still measure the AUC of concepts that are in the set.
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
