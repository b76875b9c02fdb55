"""The methods of the paper's table, each from one dataset's features to predictions on test."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from jaxcbm.baselines.concept_classifier import (
    ConceptClassifier,
    activations,
    class_logits,
    with_sparse_path,
)
from jaxcbm.baselines.concept_discovery import concept_discovery
from jaxcbm.baselines.description_cls import describing_concepts, description_cls
from jaxcbm.baselines.label_free import label_free_bottleneck
from jaxcbm.baselines.labo import labo
from jaxcbm.baselines.linear_probe import linear_probe
from jaxcbm.baselines.post_hoc import learned_bottleneck, text_bottleneck, with_residual
from jaxcbm.bottleneck.objectives.table import OBJECTIVES, Objective
from jaxcbm.bottleneck.objectives.variants import Variant
from jaxcbm.bottleneck.search import Normalization, Similarity, concept_search
from jaxcbm.bottleneck.sparse.choice import SparseChoice
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.experiment.config import Experiment
from jaxcbm.experiment.prepare import Splits
from jaxcbm.experiment.released import released_fit
from jaxcbm.model.model import Model, Prediction
from jaxcbm.training.config import FitConfig, OptimizerConfig
from jaxcbm.training.fit import fit
from jaxcbm.training.sparsify import sparsify

# Images that CDM sees in all: 400 epochs of a few thousand.
_CDM_IMAGES = 2_000_000


class Study(NamedTuple):
    """What every method starts from; images and texts are encoded once.

    Attributes:
        experiment: the settings.
        encoder: the frozen dual encoder.
        concepts: D phrases.
        splits: features of train, valid and test.
        names_KxE: unit-norm embeddings of the bare class names.
        classes_KxE: unit-norm means over prompt templates.
        concepts_DxE: unit-norm embeddings of the phrases.
    """

    experiment: Experiment
    encoder: DualEncoder
    concepts: ConceptSet
    splits: Splits
    names_KxE: np.ndarray
    classes_KxE: np.ndarray
    concepts_DxE: np.ndarray

    @property
    def annotated(self) -> bool:
        """Whether train images come with annotations of their concepts."""
        return self.splits.train.annotations is not None


class Outcome(NamedTuple):
    """A fitted method on the test split.

    Attributes:
        class_logits: [N, K] on test.
        valid_logits: [M, K] on validation.
        concepts: activations, logits and scores on test, where the method has concepts.
        head: F [K, D], where it has one.
        phrases: of the D concepts.
        choice: the sparse path, with activations on test to draw its curve.
        model: one of ours.
    """

    class_logits: np.ndarray
    valid_logits: np.ndarray
    concepts: Prediction | None = None
    head: np.ndarray | None = None
    phrases: tuple[str, ...] = ()
    choice: SparseChoice | None = None
    model: Model | None = None


class Method(NamedTuple):
    """One row of the table.

    Attributes:
        run: (study, seed) -> Outcome.
        kind: as in a result file.
        seeded: whether the seed matters.
        sparse: whether classes use few concepts.
        published_as: key of `jaxcbm.report.published`.
        annotated: whether it needs annotations.
        objective: of ours, `paired`, where it is not the experiment's own.
        note: for the table.
    """

    run: Callable[[Study, int], Outcome]
    kind: Literal["ours", "baseline", "training-free"]
    seeded: bool = True
    sparse: bool = False
    published_as: str = ""
    annotated: bool = False
    objective: Objective | None = None
    note: str = ""


def zero_shot(study: Study, seed: int, *, templates: bool) -> Outcome:
    """The class whose name, or whose mean over prompt templates, the image is closest to."""
    texts_KxE = study.classes_KxE if templates else study.names_KxE
    scale = study.encoder.logit_scale
    test, valid = (scale * part.as_array() @ texts_KxE.T for part in _held_out(study))
    return Outcome(test, valid)


def search(study: Study, seed: int, *, similarity: Similarity, normalize: Normalization) -> Outcome:
    """Concept Matrix Search; centring takes the mean over the images it is given."""
    texts = study.classes_KxE, study.concepts_DxE
    scores = [
        concept_search(part.as_array(), *texts, similarity=similarity, normalize=normalize).scores
        for part in _held_out(study)
    ]
    test, valid = (study.encoder.logit_scale * np.asarray(x) for x in scores)
    return Outcome(test, valid)


def descriptions(study: Study, seed: int) -> Outcome:
    """DescriptionCLS with the concepts whose texts are closest to a class."""
    few = min(study.experiment.bottleneck.positives_k, len(study.concepts))
    describes = describing_concepts(study.classes_KxE, study.concepts_DxE, few)
    scale = study.encoder.logit_scale
    texts = study.concepts_DxE, study.concepts.phrases
    return _of_classifier(study, description_cls(*texts, describes, scale=scale))


def probe(study: Study, seed: int) -> Outcome:
    """Linear probe on image embeddings."""
    train, valid, test = study.splits
    fitted = linear_probe(
        *(train.as_array(), train.labels, valid.as_array(), valid.labels), len(train.classes)
    )
    return Outcome(fitted.logits(test.as_array()), fitted.logits(valid.as_array()))


def label_free(study: Study, seed: int) -> Outcome:
    """Label-free CBM."""
    parts = study.splits.train, study.splits.valid
    texts = study.concepts_DxE, study.concepts.phrases
    bottleneck = label_free_bottleneck(*parts, *texts, seed=seed)
    return _of_classifier(study, *with_sparse_path(bottleneck, *parts))


def post_hoc(study: Study, seed: int, *, learned: bool = False, hybrid: bool = False) -> Outcome:
    """Post-hoc CBM on text vectors, or on vectors learned from annotations; with a residual."""
    parts = study.splits.train, study.splits.valid
    bottleneck = (
        learned_bottleneck(*parts)
        if learned
        else text_bottleneck(
            study.concepts_DxE, study.concepts.phrases, len(study.splits.train.classes)
        )
    )
    model, choice = with_sparse_path(bottleneck, *parts)
    if hybrid:
        return _of_classifier(study, with_residual(model, *parts))
    return _of_classifier(study, model, choice)


def submodular(study: Study, seed: int) -> Outcome:
    """LaBo: each class chooses among the half of the concepts whose texts are closest to it."""
    half = max(len(study.concepts) // 2, 1)
    candidates = describing_concepts(study.classes_KxE, study.concepts_DxE, half)
    parts = study.splits.train, study.splits.valid
    texts = study.concepts_DxE, study.concepts.phrases
    model = labo(*parts, *texts, candidates, concepts_a_class=min(50, half), seed=seed)
    return _of_classifier(study, model)


def discovery(study: Study, seed: int) -> Outcome:
    """CDM: a mask of concepts for each image."""
    parts = study.splits.train, study.splits.valid
    texts = study.concepts_DxE, study.concepts.phrases
    # Gates settle after a number of steps, not of epochs.
    epochs = int(np.clip(_CDM_IMAGES // len(study.splits.train), 20, 400))
    model = concept_discovery(*parts, *texts, epochs=epochs, seed=seed)
    return _of_classifier(study, model)


def ours(
    study: Study,
    seed: int,
    *,
    objective: Objective | None = None,
    variant: Variant = "paired",
    concepts: ConceptSet | None = None,
) -> Outcome:
    """The experiment's own setting, with another objective or concept set where one is given."""
    base = study.experiment.fit
    training, bottleneck = replace(base.training, seed=seed), base.bottleneck
    if objective is not None:
        bottleneck = replace(bottleneck, objective=objective, variant=variant)
        if (rate := OBJECTIVES[objective].learning_rate) is not None:
            training = replace(training, cbl=OptimizerConfig(learning_rate=rate))
    config = replace(base, training=training, bottleneck=bottleneck)
    return fit_and_sparsify(study, config, concepts or study.concepts)


def released(study: Study, seed: int, *, objective: Objective) -> Outcome:
    """The released code's setting, with all of its surprises."""
    config = released_fit(objective)
    training = replace(config.training, epochs=study.experiment.training.epochs, seed=seed)
    config = replace(config, training=training, mesh=study.experiment.mesh)
    return fit_and_sparsify(study, config, study.concepts)


def fit_and_sparsify(study: Study, config: FitConfig, concepts: ConceptSet) -> Outcome:
    """`jaxcbm.fit`, with the path kept."""
    train, valid, test = study.splits
    dense = replace(config, sparse_head=replace(config.sparse_head, enabled=False))
    model = fit(train, valid, encoder=study.encoder, concepts=concepts, config=dense)
    choice = None
    if config.sparse_head.enabled:
        model, choice = sparsify(model, train, valid, config.sparse_head)
    prediction = model.predict_embeddings(test.as_array())
    valid_logits = model.predict_embeddings(valid.as_array()).class_logits
    return Outcome(
        prediction.class_logits,
        valid_logits,
        prediction,
        model.head,
        concepts.phrases,
        choice,
        model,
    )


def _held_out(study: Study) -> tuple[Features, Features]:
    return study.splits.test, study.splits.valid


def _of_classifier(
    study: Study, model: ConceptClassifier, choice: SparseChoice | None = None
) -> Outcome:
    test, valid = (part.as_array() for part in _held_out(study))
    logits, values = class_logits(model, test), activations(model, test)
    known = {phrase: d for d, phrase in enumerate(study.concepts.phrases)}
    columns = np.array([known.get(phrase, -1) for phrase in model.phrases])
    psi = study.encoder.scores(test, study.concepts_DxE[np.maximum(columns, 0)])
    # An annotation that is no phrase of the set has no score of the encoder to be compared with.
    psi = np.where(columns >= 0, np.asarray(psi), 0.0)
    label_ids = np.argmax(logits, axis=1).astype(np.int32)
    labels = tuple(study.splits.test.classes[i] for i in label_ids)
    prediction = Prediction(logits, values, values, psi, label_ids, labels)
    return Outcome(
        logits, class_logits(model, valid), prediction, model.head, model.phrases, choice
    )


def _with(run: Callable[..., Outcome], **options) -> Callable[[Study, int], Outcome]:
    def method(study: Study, seed: int) -> Outcome:
        return run(study, seed, **options)

    return method


def _search(similarity: Similarity, normalize: Normalization) -> Method:
    run = _with(search, similarity=similarity, normalize=normalize)
    return Method(run, "training-free", seeded=False, published_as="concept-matrix-search")


def _ours(objective: Objective | None, published_as: str, variant: Variant = "paired") -> Method:
    return Method(
        _with(ours, objective=objective, variant=variant),
        "ours",
        sparse=True,
        published_as=published_as,
        objective=objective if variant == "paired" else None,
    )


def _released(objective: Objective, published_as: str) -> Method:
    return Method(_with(released, objective=objective), "baseline", published_as=published_as)


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

METHODS: dict[str, Method] = {
    DEFAULT: _ours(None, ""),
    **_objectives("paired", "paired", _ours),
    **_objectives("paper", "as in the paper", partial(_ours, variant="paper")),
    "Label-free CBM": Method(label_free, "baseline", sparse=True, published_as="label-free-cbm"),
    "Post-hoc CBM, text vectors": Method(
        post_hoc, "baseline", seeded=False, sparse=True, published_as="post-hoc-cbm"
    ),
    "Post-hoc CBM, learned vectors": Method(
        _with(post_hoc, learned=True), "baseline", seeded=False, sparse=True, annotated=True
    ),
    "Post-hoc CBM, hybrid": Method(_with(post_hoc, hybrid=True), "baseline", seeded=False),
    "LaBo": Method(submodular, "baseline", published_as="labo"),
    "CDM": Method(discovery, "baseline", sparse=True, published_as="cdm"),
    **_objectives("released", "released", _released),
    "linear probe": Method(probe, "baseline", seeded=False, published_as="linear-probe"),
    "zero-shot, class names": Method(
        _with(zero_shot, templates=False), "training-free", seeded=False
    ),
    "zero-shot, templates": Method(
        _with(zero_shot, templates=True), "training-free", seeded=False, published_as="zero-shot"
    ),
    "DescriptionCLS": Method(
        descriptions, "training-free", seeded=False, published_as="description-cls"
    ),
    "Concept Matrix Search": _search("cosine", "none"),
    "Concept Matrix Search, centred": _search("cosine", "centred"),
    "Concept Matrix Search, cubed and centred": _search("cubed", "centred"),
}


def table_of(study: Study) -> dict[str, Method]:
    """The rows that make sense for a dataset: no annotations, no row that needs them, and the
    experiment's own setting stands in one row only."""
    own = study.experiment.bottleneck
    table = {
        name: method for name, method in METHODS.items() if study.annotated or not method.annotated
    }
    default = table[DEFAULT]._replace(note=f"objective {own.objective}, variant {own.variant}")
    # A row with a learning rate of its own is another setting.
    same_rate = OBJECTIVES[own.objective].learning_rate is None
    for name, method in METHODS.items():
        if same_rate and own.variant == "paired" and own.objective == method.objective:
            default = default._replace(published_as=method.published_as)
            del table[name]
    return {**table, DEFAULT: default}
