"""What a person looks at first when a run has ended: a few of its test metrics, named."""

from collections.abc import Mapping
from typing import Any

from jaxcbm.lines import aligned
from jaxcbm.report.metric_names import metric, number

_GROUPS = {
    "accuracy": ("top1", "macro_f1"),
    "sparsity": ("nec", "top1_at_nec_5"),
    "concepts and reasons": ("concept_auc", "concept_fidelity", "explanation_truth_5"),
    "probabilities": ("ece", "set_size"),
}


def run_summary(metrics: Mapping[str, Any]) -> str:
    """A few test metrics in groups of aligned lines, each with its name and what it means.

    Args:
        metrics: the content of metrics.json.

    >>> print(run_summary({"test": {"images": 8, "top1": 0.75, "ece": 0.021, "brier": 0.3}}))
    8 test images
    accuracy
      top-1 %  75.0
    probabilities
      ECE %     2.1  expected calibration error of its own probabilities
    """
    test = metrics["test"]
    shown = [name for names in _GROUPS.values() for name in names if name in test]
    cells = [(metric(name).label, number(test[name], metric(name))) for name in shown]
    notes = [(metric(name).meaning,) for name in shown]
    rows = [(*cell, *note) for cell, note in zip(cells, notes, strict=True)]
    lines = dict(zip(shown, aligned(rows, right=(1,)), strict=True)) if rows else {}
    said = [f"{test['images']:,.0f} test images"]
    for title, names in _GROUPS.items():
        inside = [f"  {lines[name]}" for name in names if name in lines]
        said += [title, *inside] if inside else []
    return "\n".join(said)
