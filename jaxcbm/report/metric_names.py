"""How each metric is called and written, and statistics over seeds."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class MetricFormat(NamedTuple):
    """One column.

    Attributes:
        label: heading.
        better: 1 if more is better, -1 if less is, 0 where it is a choice and not a merit.
        percent: whether a share is written in per cent.
        digits: after the point.
        meaning: for a note under the table.
    """

    label: str
    better: int
    percent: bool = False
    digits: int = 3
    meaning: str = ""


class Summary(NamedTuple):
    """Values over seeds: mean, sample standard deviation (NaN for one value), and how many."""

    mean: float
    deviation: float
    count: int


METRICS = {
    "top1": MetricFormat("top-1 %", 1, True, 1),
    "top5": MetricFormat("top-5 %", 1, True, 1),
    "macro_f1": MetricFormat("macro F1 %", 1, True, 1),
    "anec": MetricFormat("ANEC %", 1, True, 1, "mean top-1 at NEC 5 to 30"),
    "nec": MetricFormat("NEC", 0, False, 1, "mean number of non-zero weights a class"),
    "active_concepts": MetricFormat(
        "active concepts", 0, False, 1, "concepts an image with 1 % or more of its contributions"
    ),
    "concept_auc": MetricFormat("concept AUC", 1, meaning="area under ROC against annotations"),
    "concept_fidelity": MetricFormat(
        "fidelity", 1, meaning="correlation of concept logits with the encoder's own scores"
    ),
    "ece": MetricFormat(
        "ECE %", -1, True, 1, "expected calibration error of its own probabilities"
    ),
    "explanation_truth_1": MetricFormat(
        "truth at 1 %", 1, True, 1, "share of the supporting reasons shown that annotations confirm"
    ),
    "explanation_truth_3": MetricFormat("truth at 3 %", 1, True, 1),
    "explanation_truth_5": MetricFormat("truth at 5 %", 1, True, 1),
    "explanation_truth_present_5": MetricFormat(
        "truth at 5, present %", 1, True, 1, "the same of those that say that a concept is there"
    ),
    "clarity": MetricFormat(
        "clarity", 1, meaning="harmonic mean of accuracy, sparsity and precision of present reasons"
    ),
    "selective_top1": MetricFormat(
        "top-1 % at 80 %", 1, True, 1, "of the 80 % of images whose class is likeliest"
    ),
    "set_size": MetricFormat(
        "set size", -1, False, 1, "classes in prediction sets of 95 % coverage, mean"
    ),
    "random_top1": MetricFormat(
        "random top-1 %", 0, True, 1, "with as many random words as concepts"
    ),
    "leakage_top1": MetricFormat(
        "leakage top-1 %",
        *(-1, True, 1),
        "what a small network reads of the classes from phrases that say nothing about them",
    ),
    "leakage_chance": MetricFormat(
        "leakage by chance, top-1 %", 0, True, 1, "what it would read from nothing"
    ),
}
_FURTHER = {
    "valid_top1": MetricFormat("validation top-1 %", 1, True, 1),
    "images": MetricFormat("images", 0, digits=0),
    "macro_precision": MetricFormat("macro precision %", 1, True, 1),
    "macro_recall": MetricFormat("macro recall %", 1, True, 1),
    "weighted_precision": MetricFormat("weighted precision %", 1, True, 1),
    "weighted_recall": MetricFormat("weighted recall %", 1, True, 1),
    "weighted_f1": MetricFormat("weighted F1 %", 1, True, 1),
    "top1_at_nec_5": MetricFormat("top-1 % at NEC 5", 1, True, 1),
    "encoder_concept_auc": MetricFormat("AUC of the encoder's scores", 0),
    "explanation_truth_absent_5": MetricFormat("truth at 5, absent %", 1, True, 1),
    "explanation_truth_right_5": MetricFormat("truth at 5, right predictions %", 1, True, 1),
    "explanation_truth_wrong_5": MetricFormat("truth at 5, wrong predictions %", 1, True, 1),
    "corrected_top1_1": MetricFormat("top-1 %, 1 carried correction", 1, True, 1),
    "corrected_top1_5": MetricFormat("top-1 %, 5 carried corrections", 1, True, 1),
    "corrected_top1_20": MetricFormat("top-1 %, 20 carried corrections", 1, True, 1),
    "concept_ece": MetricFormat("ECE of concept probabilities %", -1, True, 1),
    "deletion": MetricFormat("deletion", -1),
    "random_deletion": MetricFormat("deletion, random order", 0),
    "insertion": MetricFormat("insertion", 1),
    "random_insertion": MetricFormat("insertion, random order", 0),
    "bar_error": MetricFormat("logit beside the sum of bars", -1, digits=5),
    "leakage_real_top1": MetricFormat("leakage of as many real phrases, top-1 %", 0, True, 1),
    "concept_sparsity": MetricFormat("concepts not said of an image, %", 0, True, 1),
    "concept_precision": MetricFormat("concepts said of an image that are there, %", 1, True, 1),
    "unexplained": MetricFormat("accuracy that needs no meaning", -1),
    "set_coverage": MetricFormat("coverage of 95 % sets, %", 0, True, 1),
    "unfamiliar": MetricFormat("images called unlike train, %", 0, True, 1),
    "nll": MetricFormat("NLL", -1),
    "brier": MetricFormat("Brier", -1),
    "temperature": MetricFormat("temperature", 0),
    "ece_equal_width": MetricFormat("ECE %, equal width", -1, True, 1),
    "scaled_ece": MetricFormat("ECE %, temperature-scaled", -1, True, 1),
    "scaled_ece_equal_width": MetricFormat("ECE %, equal width, scaled", -1, True, 1),
    "scaled_nll": MetricFormat("NLL, scaled", -1),
    "scaled_brier": MetricFormat("Brier, scaled", -1),
}


def metric(name: str) -> MetricFormat:
    """A metric's column; one that is not known goes by its own name and is never called best.

    >>> metric("top1").label, metric("new_one").label
    ('top-1 %', 'new one')
    """
    known = METRICS.get(name) or _FURTHER.get(name)
    return known or MetricFormat(name.replace("_", " "), 0)


def summarise(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation of the values that are numbers.

    >>> summarise((1.0, 3.0, float("nan")))
    Summary(mean=2.0, deviation=1.4142135623730951, count=2)
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return Summary(math.nan, math.nan, 0)
    deviation = statistics.stdev(known) if len(known) > 1 else math.nan
    return Summary(statistics.fmean(known), deviation, len(known))


def number(value: float, column: MetricFormat) -> str:
    """A value as its column writes it, with a true minus sign; an en dash where there is none.

    >>> number(0.8125, metric("top1")), number(-0.5, metric("concept_auc"))
    ('81.2', '\\u22120.500')
    """
    if not math.isfinite(value):
        return "\u2013"
    text = f"{100 * value if column.percent else value:.{column.digits}f}"
    if not text.strip("-0."):
        text = text.lstrip("-")
    return text.replace("-", "\u2212")


def mean_and_deviation(summary: Summary, column: MetricFormat) -> str:
    """`mean \u00b1 deviation`; the mean alone for a single value.

    >>> mean_and_deviation(Summary(0.5, 0.012, 5), metric("top1"))
    '50.0 \u00b1 1.2'
    """
    text = number(summary.mean, column)
    if not math.isfinite(summary.deviation):
        return text
    return f"{text} \u00b1 {number(summary.deviation, column)}"


def best(summaries: Sequence[Summary], column: MetricFormat) -> list[bool]:
    """Which are best: the best mean, and those within its deviation or written alike.

    >>> rows = [Summary(0.80, 0.01, 3), Summary(0.795, 0.0, 3), Summary(0.7, 0.2, 3)]
    >>> best(rows, METRICS["top1"])
    [True, True, False]
    """
    known = [s.mean for s in summaries if math.isfinite(s.mean)]
    if not known or not column.better:
        return [False] * len(summaries)
    top = max(known, key=lambda mean: mean * column.better)
    # Of equal means the steadiest says how wide a tie is.
    deviations = [s.deviation for s in summaries if s.mean == top and math.isfinite(s.deviation)]
    margin = min(deviations, default=0.0)
    return [
        abs(s.mean - top) <= margin or number(s.mean, column) == number(top, column)
        if math.isfinite(s.mean)
        else False
        for s in summaries
    ]
