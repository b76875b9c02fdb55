"""The methods of the paper's table."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from jaxcbm.bottleneck.objectives.table import OBJECTIVES, Objective
from jaxcbm.bottleneck.objectives.variants import Variant
from jaxcbm.bottleneck.search import Normalization, Similarity
from jaxcbm.evaluation.evaluate import FittedMethod
from jaxcbm.evaluation.results.schema import Gift
from jaxcbm.experiment.fit_baselines import (
    descriptions,
    discovery,
    grounded,
    label_free,
    learned_post_hoc,
    post_hoc,
    probe,
    search,
    submodular,
    zero_shot,
)
from jaxcbm.experiment.fit_ours import optimizer_of, original, ours, unannotated
from jaxcbm.experiment.original import Setting
from jaxcbm.experiment.study import Study


class Method(NamedTuple):
    """One row of the table.

    Attributes:
        run: (study, seed) -> FittedMethod; where there are controls, `concepts` fits it on others.
        kind: as in a result file.
        seeded: whether the seed matters.
        sparse: whether classes use few concepts.
        published_as: key of `jaxcbm.report.published`.
        annotated: whether it needs annotations.
        given: what it takes besides images and phrases, where the data has it.
        objective: of ours, `paired`, where it is not the experiment's own.
        controls: whether it is also fitted on random phrases and on nuisances.
        note: for the table.
    """

    run: Callable[..., FittedMethod]
    kind: Literal["ours", "baseline", "training-free"]
    seeded: bool = True
    sparse: bool = False
    published_as: str = ""
    annotated: bool = False
    given: tuple[Gift, ...] = ("labels",)
    objective: Objective | None = None
    controls: bool = False
    note: str = ""


def _search(similarity: Similarity, normalize: Normalization) -> Method:
    run = partial(search, similarity=similarity, normalize=normalize)
    return Method(
        run, "training-free", seeded=False, published_as="concept-matrix-search", given=()
    )


def _ours(objective: Objective | None, published_as: str) -> Method:
    return Method(
        partial(ours, objective=objective),
        "ours",
        sparse=True,
        published_as=published_as,
        objective=objective,
        given=("labels", "annotations"),
    )


def _original(setting: Setting, objective: Objective, published_as: str) -> Method:
    run = partial(original, setting=setting, objective=objective)
    note = f"configs/{setting}.py: 10 epochs of batches of 32, or about 2,950 steps"
    return Method(run, "baseline", published_as=published_as, note=note)


def _objectives(
    variant: Variant, title: str, row: Callable[[Objective, str], Method]
) -> dict[str, Method]:
    """A row for each objective that has the variant."""
    return {
        f"{record.label}, {title}": row(name, record.published_as)
        for name, record in OBJECTIVES.items()
        if variant in record.variants
    }


DEFAULT = "jaxcbm (default)"
_CUT = "at a number of concepts, the weights of largest magnitude of its dense head"
_SUPERVISED = Method(
    grounded, "baseline", sparse=True, annotated=True, given=("labels", "annotations")
)

METHODS: dict[str, Method] = {
    DEFAULT: _ours(None, "")._replace(controls=True),
    f"{DEFAULT}, no annotations": Method(
        unannotated,
        "ours",
        sparse=True,
        annotated=True,
        note="the default setting of data without annotations, which it is not shown",
    ),
    f"{DEFAULT}, erasure": _ours(None, "")._replace(
        run=partial(ours, erasure=1.0),
        annotated=True,
        controls=True,
        note="no class information in phrases without annotations; all of the birds' own have some",
    ),
    **_objectives("paired", "paired", _ours),
    **_objectives("paper", "the paper's system", partial(_original, "paper")),
    "Label-free CBM": Method(label_free, "baseline", sparse=True, published_as="label-free-cbm"),
    "VLG-CBM": _SUPERVISED._replace(published_as="vlg-cbm"),
    "Post-hoc CBM, text vectors": Method(
        post_hoc, "baseline", seeded=False, sparse=True, published_as="post-hoc-cbm"
    ),
    "Post-hoc CBM, learned vectors": _SUPERVISED._replace(
        run=partial(learned_post_hoc, pairs=False), seeded=False
    ),
    "Post-hoc CBM, SVM vectors": _SUPERVISED._replace(run=partial(learned_post_hoc, pairs=True)),
    "Post-hoc CBM, hybrid": Method(partial(post_hoc, hybrid=True), "baseline", seeded=False),
    "LaBo": Method(
        submodular,
        "baseline",
        published_as="labo",
        given=("labels", "class descriptions"),
        note=f"{_CUT}; learning rate chosen on validation",
    ),
    "CDM": Method(discovery, "baseline", sparse=True, published_as="cdm", note=_CUT),
    **_objectives("released", "released", partial(_original, "released")),
    "linear probe": Method(probe, "baseline", seeded=False, published_as="linear-probe"),
    "zero-shot, class names": Method(
        partial(zero_shot, templates=False), "training-free", seeded=False, given=()
    ),
    "zero-shot, templates": Method(
        partial(zero_shot, templates=True),
        "training-free",
        seeded=False,
        published_as="zero-shot",
        given=(),
    ),
    "DescriptionCLS": Method(
        descriptions,
        "training-free",
        seeded=False,
        published_as="description-cls",
        given=("class descriptions",),
    ),
    "Concept Matrix Search": _search("cosine", "none"),
    "Concept Matrix Search, centred": _search("cosine", "centred"),
    "Concept Matrix Search, cubed and centred": _search("cubed", "centred"),
}


def table_of(study: Study) -> dict[str, Method]:
    """The rows that make sense for a dataset: no annotations, no row that needs them, and the
    experiment's own setting stands in one row only. Nobody is given what the data has not."""
    own, optimizer = study.experiment.bottleneck, study.experiment.training.cbl
    has: dict[Gift, bool] = {
        "labels": True,
        "annotations": study.annotated,
        "class descriptions": study.described is not None,
    }
    table = {
        name: method._replace(given=tuple(gift for gift in method.given if has[gift]))
        for name, method in METHODS.items()
        if study.annotated or not method.annotated
    }
    default = table[DEFAULT]._replace(
        note=f"objective {own.objective}, variant {own.variant}, sampler {own.sampler}"
    )
    # A row with a sampler or an optimizer of its own is another setting.
    as_in_a_row = own.sampler == "identity" and optimizer == optimizer_of(own.objective)
    for name, method in METHODS.items():
        if as_in_a_row and own.variant == "paired" and own.objective == method.objective:
            default = default._replace(published_as=method.published_as)
            del table[name]
    return {**table, DEFAULT: default}
