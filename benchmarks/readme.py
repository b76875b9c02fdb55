"""Write the tables and sentences with figures in README.md and pages of docs.

python -m benchmarks.readme     # from docs/results; rows and files that are not there are left out

A place is marked by `<!-- figures: NAME -->` and `<!-- end of figures -->`; what stands between is
not edited by hand.
"""

import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks.bfloat16_labels import bfloat16_table
from benchmarks.report import table
from benchmarks.serving_page import serving_figures
from jaxcbm.atomic import write_text
from jaxcbm.evaluation.results.file import read_result
from jaxcbm.evaluation.results.schema import MethodResult, ResultFile
from jaxcbm.experiment.methods import DEFAULT
from jaxcbm.report.metric_names import mean_and_deviation, metric, summarise
from jaxcbm.report.tables import at_nec

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/results.md",
    "docs/protocol.md",
    "docs/serving.md",
    "docs/inference.md",
)
_PLACE = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end of figures -->)", re.S)
# Left to the report: variants of other objectives than the paper's, and what trains nothing.
_LEFT_OUT = (
    *("Similarity-CBM*", "Contrastive-CBM, [!p]*", "l1-CBM, [!p]*"),
    *("zero-shot*", "Concept Matrix Search*", "DescriptionCLS*"),
)
# What README shows of the birds' table.
_IN_SUMMARY = (
    *(DEFAULT, "jaxcbm (default), no annotations", "Sparse-CBM, the paper's system"),
    *("Label-free CBM", "VLG-CBM", "Post-hoc CBM, learned vectors", "LaBo", "linear probe"),
)
_SUMMARY_COLUMNS = ("given", "test top-1 %", "at NEC 5 %", "concept AUC", "true reasons %")


class Missing(Exception):
    """A figure that no result file has; what speaks of it is left out."""


class Study(NamedTuple):
    """All results that figures are taken from.

    Attributes:
        methods: what `jaxcbm reproduce` wrote, by dataset and protocol.
        finetuning: what `benchmarks.finetuning` wrote; empty where it is not there.
        serving: what `benchmarks.serving` wrote; empty like it.
        bfloat16: what `benchmarks.bfloat16_labels` wrote; empty like it.
    """

    methods: Mapping[tuple[str, str], ResultFile]
    finetuning: Mapping[str, Any]
    serving: Mapping[str, Any] = MappingProxyType({})
    bfloat16: Mapping[str, Any] = MappingProxyType({})

    def result(self, dataset: str, protocol: str = "official") -> ResultFile:
        """One result file, or Missing."""
        if (dataset, protocol) not in self.methods:
            raise Missing
        return self.methods[dataset, protocol]

    def mean(self, metric_name: str, dataset: str, row: str, protocol: str = "official") -> float:
        """A row's mean over seeds, or Missing."""
        for found in self.result(dataset, protocol).rows:
            if found.name == row and metric_name in found.metrics:
                return fmean(found.metrics[metric_name])
        raise Missing

    def percent(self, *where: str) -> str:
        """`mean` as a percentage without its sign."""
        return f"{100 * self.mean(*where):.1f}"


def main() -> None:
    """Write every page anew."""
    study = read_study(ROOT / "docs" / "results")
    for name in PAGES:
        write_text(ROOT / name, filled((ROOT / name).read_text(encoding="utf-8"), study))


def read_study(folder: Path) -> Study:
    """The results in a folder such as docs/results."""
    results = map(read_result, sorted((folder / "methods").glob("*.json")))
    finetuning, serving, bfloat16 = (
        json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for file in map(folder.joinpath, ("finetuning.json", "serve.json", "bfloat16_labels.json"))
    )
    methods = {(result.dataset, result.protocol): result for result in results}
    return Study(methods, finetuning, serving, bfloat16)


def filled(page: str, study: Study) -> str:
    """A page with every marked place written anew.

    Raises:
        KeyError: a place of a name that nobody writes.
    """
    return _PLACE.sub(lambda place: f"{place[1]}\n{BLOCKS[place[2]](study)}\n{place[3]}", page)


def method_table(dataset: str, study: Study) -> str:
    """One line a method: what it was given, how right it is, how sparse, and how meaningful.

    Columns that no row has a value for are left out; without a result there is no table.
    """
    return _table(
        *(dataset, study, lambda name: not any(fnmatch(name, out) for out in _LEFT_OUT)),
        tuple(COLUMNS),
    )


def summary_table(study: Study) -> str:
    """The rows and columns of the birds' table that a stranger needs."""
    return _table("birds", study, _IN_SUMMARY.__contains__, _SUMMARY_COLUMNS)


def _table(dataset: str, study: Study, shown: Callable[[str], bool], titles: Sequence[str]) -> str:
    try:
        result = study.result(dataset)
    except Missing:
        return ""
    rows = [row for row in result.rows if shown(row.name)]
    columns = {title: [COLUMNS[title](row) for row in rows] for title in titles}
    told = {title: cells for title, cells in columns.items() if any(cells)}
    names = [f"**{row.name}**" if row.name == DEFAULT else row.name for row in rows]
    lines = [[name, *cells] for name, *cells in zip(names, *told.values(), strict=True)]
    return table(["", *told], lines) + "\n"


def _given(row: MethodResult) -> str:
    # Older files do not say.
    return ", ".join(row.given)


def _of(name: str) -> Callable[[MethodResult], str]:
    """A metric's mean and deviation; nothing where a row lacks it."""

    def cell(row: MethodResult) -> str:
        found = summarise(row.metrics.get(name, ()))
        return mean_and_deviation(found, metric(name)) if found.count else ""

    return cell


def _mean(name: str, digits: int, factor: float = 1.0) -> Callable[[MethodResult], str]:
    def cell(row: MethodResult) -> str:
        found = summarise(row.metrics.get(name, ()))
        return f"{factor * found.mean:.{digits}f}" if found.count else ""

    return cell


def _at_nec(target: float) -> Callable[[MethodResult], str]:
    def cell(row: MethodResult) -> str:
        found = summarise(at_nec(row, target))
        return f"{100 * found.mean:.1f}" if found.count else ""

    return cell


def _leakage(row: MethodResult) -> str:
    leakage, chance = (_mean(f"leakage_{what}", 1, 100)(row) for what in ("top1", "chance"))
    return f"{leakage} ({chance})" if leakage and chance else leakage


COLUMNS: dict[str, Callable[[MethodResult], str]] = {
    "given": _given,
    "test top-1 %": _of("top1"),
    "ANEC %": _of("anec"),
    "at NEC 5 %": _at_nec(5.0),
    "10 %": _at_nec(10.0),
    "20 %": _at_nec(20.0),
    "concepts a class": _mean("nec", 1),
    "concept AUC": _mean("concept_auc", 2),
    "true reasons %": _mean("explanation_truth_5", 1, 100),
    "fidelity": _mean("concept_fidelity", 2),
    "leakage % (chance)": _leakage,
    "nonsense phrases %": _mean("random_top1", 1, 100),
}


def paragraph(*sentences: Callable[[], str]) -> str:
    """Those sentences that have their figures, in lines of at most 100 characters."""
    said = []
    for sentence in sentences:
        try:
            said.append(sentence())
        except Missing:
            continue
    return textwrap.fill(" ".join(said), 100, break_on_hyphens=False, break_long_words=False) + "\n"


def _birds_head(study: Study) -> str:
    def runs() -> str:
        result = study.result("birds")
        return (
            f"{len(result.seeds)} seeds, mean and deviation; test was read once. The fits on the "
            f"birds took {result.seconds / 60:.0f} minutes"
        )

    def fashion() -> str:
        return f"and those on Fashion-MNIST {study.result('fashion_mnist').seconds / 60:.0f}"

    def images() -> str:
        images, load = study.result("birds").images, study.result("birds").load
        others = " that had other work too" if load and load.before > load.cores else ""
        return (
            f"on two CPU cores{others}. There are {images.train:,} train, {images.valid:,} "
            f"validation and {images.test:,} test images of painted birds. Their invented names "
            "tell a text encoder nothing, so zero-shot classification is hardly above chance."
        )

    return paragraph(runs, fashion, images)


def _birds_facts(study: Study) -> str:
    def default(name: str) -> str:
        return study.percent(name, "birds", DEFAULT)

    return paragraph(
        lambda: (
            "The default's class probabilities have a calibration error (ECE) of "
            f"{default('ece')} %, its concept probabilities one of {default('concept_ece')} %. Its "
            "95 % prediction sets contain the true class for "
            f"{default('set_coverage')} % of test images."
        ),
        lambda: (
            f"Of the five largest reasons, {default('explanation_truth_right_5')} % are true where "
            "the decision is right, and "
            f"{default('explanation_truth_wrong_5')} % where it is wrong."
        ),
        lambda: (
            "Setting the first 1, 5 or 20 concepts that the model asks for to their true values, "
            f"and carrying this over to related concepts, takes it from {default('top1')} % to "
            f"{default('corrected_top1_1')}, {default('corrected_top1_5')} and "
            f"{default('corrected_top1_20')} %."
        ),
    )


def _hurts(study: Study) -> str:
    return paragraph(
        lambda: (
            "What hurts: concept logits correlate with the encoder's own scores at "
            f"{study.mean('concept_fidelity', 'birds', DEFAULT):.2f} (Label-free CBM: "
            f"{study.mean('concept_fidelity', 'birds', 'Label-free CBM'):.2f})."
        ),
        lambda: (
            f"{study.percent('leakage_top1', 'birds', DEFAULT)} % of classes can be read from the "
            "activations of phrases that say nothing about them (chance "
            f"{study.percent('leakage_chance', 'birds', DEFAULT)} %)."
        ),
        lambda: (
            f"Nonsense phrases reach {study.percent('random_top1', 'birds', DEFAULT)} % where "
            f"ours reach {study.percent('top1', 'birds', DEFAULT)} %."
        ),
    )


def _finetuning(study: Study) -> str:
    def top1(variant: str) -> str:
        runs = study.finetuning.get("rows", {}).get(variant)
        if not runs:
            raise Missing
        return f"{100 * fmean(run['top1'] for run in runs):.1f}"

    return paragraph(
        lambda: (
            "All of this is with a frozen encoder. Training the encoder too, on the same birds, "
            f"takes {top1('frozen')} % to {top1('attention')} with LoRA of rank 8 on attention "
            f"and to {top1('full')} with the whole image tower "
            "([Fine-tuning](finetuning.md), "
            f"{len(study.finetuning['rows']['frozen'])} seeds, with the contrastive objective)."
        )
    )


def _fashion_head(study: Study) -> str:
    def images() -> str:
        images = study.result("fashion_mnist").images
        return (
            f"The {images.train + images.valid + images.test:,} photographs of Fashion-MNIST have "
            "no annotations. Nonsense phrases reach "
            f"{study.percent('random_top1', 'fashion_mnist', DEFAULT)} % there."
        )

    return paragraph(images)


def _pooled_probe(study: Study) -> str:
    return paragraph(
        lambda: (
            "Under the splits of the released code most test images are train images. They turn "
            f"the linear probe's {study.percent('top1', 'birds', 'linear probe')} % on birds into "
            f"{study.percent('top1', 'birds', 'linear probe', 'released')} %: "
            "[Protocols](protocol.md)."
        )
    )


def _pooled(study: Study) -> str:
    """What the pooled protocol adds, in points, on each dataset."""

    def points(dataset: str, row: str) -> str:
        gain = study.mean("top1", dataset, row, "released") - study.mean("top1", dataset, row)
        return f"{100 * gain:.1f}"

    def dataset(name: str, title: str) -> list[Callable[[], str]]:
        def probe() -> str:
            seeds = len(study.result(name, "released").seeds)
            return (
                f"{title} ({seeds} seeds), in points of top-1: {points(name, 'linear probe')} for "
                f"the linear probe ({study.percent('top1', name, 'linear probe')} % becomes "
                f"{study.percent('top1', name, 'linear probe', 'released')} %),"
            )

        others = {
            DEFAULT: "our default,",
            "Post-hoc CBM, hybrid": "the hybrid Post-hoc CBM,",
            "Post-hoc CBM, text vectors": "Post-hoc CBM on text vectors,",
            "zero-shot, templates": "zero-shot, which trains nothing.",
        }
        gains = [
            lambda row=row, said=said: f"{points(name, row)} for {said}"
            for row, said in others.items()
        ]
        return [probe, *gains]

    birds = dataset("birds", "What that invents on the birds")
    fashion = dataset("fashion_mnist", "On Fashion-MNIST")
    return paragraph(*birds) + "\n" + paragraph(*fashion)


def _serving(study: Study) -> str:
    return f"{serving_figures(study.serving)}\n" if study.serving else ""


def _bfloat16(study: Study) -> str:
    return f"{bfloat16_table(study.bfloat16)}\n" if study.bfloat16 else ""


BLOCKS: dict[str, Callable[[Study], str]] = {
    "summary": summary_table,
    "birds-head": _birds_head,
    "birds": partial(method_table, "birds"),
    "birds-facts": _birds_facts,
    "hurts": _hurts,
    "finetuning": _finetuning,
    "fashion-head": _fashion_head,
    "fashion": partial(method_table, "fashion_mnist"),
    "pooled-probe": _pooled_probe,
    "pooled": _pooled,
    "serving": _serving,
    "bfloat16": _bfloat16,
}


if __name__ == "__main__":
    main()
