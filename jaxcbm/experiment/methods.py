"""The methods of the paper's table, each from one dataset's features to predictions on test."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxcbm.baselines.concept_classifier import (
    ConceptClassifier,
    activations,
    as_path_of_one,
    class_logits,
    with_sparse_path,
)
from jaxcbm.baselines.concept_discovery import concept_discovery
from jaxcbm.baselines.description_cls import (
    describing_concepts,
    description_cls,
    description_prompts,
    own_descriptions,
)
from jaxcbm.baselines.label_free import label_free_bottleneck
from jaxcbm.baselines.labo import labo
from jaxcbm.baselines.linear_probe import linear_probe
from jaxcbm.baselines.post_hoc import learned_bottleneck, text_bottleneck, with_residual
from jaxcbm.baselines.support_vectors import support_vectors
from jaxcbm.baselines.vlg import PATH_LENGTH, grounded_bottleneck
from jaxcbm.bottleneck.objectives.table import OBJECTIVES, Objective
from jaxcbm.bottleneck.objectives.variants import Variant
from jaxcbm.bottleneck.search import Normalization, Similarity, concept_search
from jaxcbm.bottleneck.sparse.choice import SparseChoice
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features, Splits
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.evaluation.evaluate import FittedMethod, fitted_model
from jaxcbm.evaluation.results.schema import Gift
from jaxcbm.experiment.config import Experiment
from jaxcbm.experiment.original import Setting, original_fit
from jaxcbm.model.prediction import Prediction
from jaxcbm.training.config import FitConfig, OptimizerConfig, TrainingConfig
from jaxcbm.training.fit import fit

# Steps of methods whose published epochs count on tens of thousands of images: on fewer they take
# more epochs, on more images fewer.
_CDM_BATCH, _CDM_STEPS = 2000, 4000
_LABO_BATCH, _LABO_STEPS = 512, 20_000


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

    @property
    def described(self) -> np.ndarray | None:
        """Which phrases describe each class, bool [K, D], where the concept set knows."""
        return own_descriptions(self.concepts, self.splits.train.classes)

    @property
    def texts(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """The phrases' embeddings, and the phrases."""
        return self.concepts_DxE, self.concepts.phrases


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


def zero_shot(study: Study, seed: int, *, templates: bool) -> FittedMethod:
    """The class whose name, or whose mean over prompt templates, the image is closest to."""
    texts_KxE = study.classes_KxE if templates else study.names_KxE
    scale = study.encoder.logit_scale
    return _without_concepts(study, lambda images_NxE: scale * images_NxE @ texts_KxE.T)


def search(
    study: Study, seed: int, *, similarity: Similarity, normalize: Normalization
) -> FittedMethod:
    """Concept Matrix Search; centring takes the mean over the images it is given."""
    texts = study.classes_KxE, study.concepts_DxE

    def logits(images_NxE: np.ndarray) -> np.ndarray:
        found = concept_search(images_NxE, *texts, similarity=similarity, normalize=normalize)
        return study.encoder.logit_scale * np.asarray(found.scores)

    return _without_concepts(study, logits)


def descriptions(study: Study, seed: int) -> FittedMethod:
    """DescriptionCLS by its own prompt, with each class's descriptions."""
    few = min(study.experiment.bottleneck.positives_k, len(study.concepts))
    classes = study.splits.train.classes
    prompts, whose = description_prompts(classes, study.concepts.phrases, _describes(study, few))
    texts = np.asarray(study.encoder.embed_texts(prompts))
    scale = study.encoder.logit_scale
    return _of_classifier(study, description_cls(texts, prompts, whose, scale=scale))


def _describes(study: Study, few: int) -> np.ndarray:
    """The concepts that describe each class, bool [K, D]: its own where the set knows them, else so
    many whose texts are closest to it."""
    if study.described is not None:
        return study.described
    return describing_concepts(study.classes_KxE, study.concepts_DxE, few)


def probe(study: Study, seed: int) -> FittedMethod:
    """Linear probe on image embeddings."""
    train, valid, _ = study.splits
    fitted = linear_probe(
        *(train.as_array(), train.labels, valid.as_array(), valid.labels), len(train.classes)
    )
    return _without_concepts(study, fitted.logits)


def label_free(study: Study, seed: int) -> FittedMethod:
    """Label-free CBM."""
    bottleneck = label_free_bottleneck(*study.splits[:2], *study.texts, seed=seed)
    return _of_classifier(study, *_sparse(study, bottleneck))


def post_hoc(study: Study, seed: int, *, hybrid: bool = False) -> FittedMethod:
    """Post-hoc CBM on text vectors; with a residual."""
    bottleneck = text_bottleneck(*study.texts, len(study.splits.train.classes))
    model, choice = _sparse(study, bottleneck)
    if hybrid:
        return _of_classifier(study, with_residual(model, *study.splits[:2]))
    return _of_classifier(study, model, choice)


def learned_post_hoc(study: Study, seed: int, *, pairs: bool) -> FittedMethod:
    """Post-hoc CBM on vectors learned from annotations, of all images or of some pairs."""
    learn = {"learn": partial(support_vectors, seed=seed)} if pairs else {}
    bottleneck = learned_bottleneck(*study.splits[:2], **learn)
    return _of_classifier(study, *_sparse(study, bottleneck, annotated=True))


def grounded(study: Study, seed: int) -> FittedMethod:
    """VLG-CBM on the data's own annotations."""
    bottleneck = grounded_bottleneck(*study.splits[:2], seed=seed)
    fitted = _sparse(study, bottleneck, annotated=True, path_length=PATH_LENGTH)
    return _of_classifier(study, *fitted)


def _sparse(
    study: Study, bottleneck: ConceptClassifier, *, annotated: bool = False, **own: Any
) -> tuple[ConceptClassifier, SparseChoice]:
    """The sparse path of a bottleneck by the settings of ours, but for a method's own.

    Whoever is given annotations has the corrected copy too.
    """
    how = study.experiment.sparse_head
    settings = {
        "path_length": how.path_length,
        "l1_ratio": how.l1_ratio,
        "tolerance": how.tolerance,
        "max_iterations": how.max_iterations,
        "within": how.within,
        "nec": how.nec,
        "intervened": how.intervened if annotated else 0.0,
        "copy_weight": how.copy_weight,
    }
    return with_sparse_path(bottleneck, *study.splits[:2], **(settings | own))


def submodular(study: Study, seed: int) -> FittedMethod:
    """LaBo: each class chooses among its own concepts, or the half of all whose texts are closest
    to it; accuracy at a number of concepts by cutting its matrix."""
    half = max(len(study.concepts) // 2, 1)
    train, valid, _ = study.splits
    model = labo(
        *(train, valid, *study.texts, _describes(study, half)),
        concepts_a_class=min(50, half),
        epochs=_epochs(train, _LABO_BATCH, _LABO_STEPS),
        batch_size=_LABO_BATCH,
        seed=seed,
    )
    return _of_classifier(study, model, as_path_of_one(model, valid))


def discovery(study: Study, seed: int) -> FittedMethod:
    """CDM: a mask of concepts for each image; accuracy at a number of concepts by cutting its
    head."""
    train, valid, _ = study.splits
    epochs = _epochs(train, _CDM_BATCH, _CDM_STEPS)
    model = concept_discovery(
        *(train, valid, *study.texts),
        epochs=epochs,
        batch_size=_CDM_BATCH,
        patience=max(epochs // 10, 1),
        seed=seed,
    )
    return _of_classifier(study, model, as_path_of_one(model, valid))


def _epochs(train: Features, batch_size: int, steps: int) -> int:
    """Passes over train that make so many steps."""
    return max(steps // max(len(train) // batch_size, 1), 1)


def ours(
    study: Study,
    seed: int,
    *,
    objective: Objective | None = None,
    concepts: ConceptSet | None = None,
    erasure: float | None = None,
) -> FittedMethod:
    """The experiment's own setting, with another concept set or erasure where one is given.

    With an objective, its activations are its logits and its optimizer is its own.
    """
    base = study.experiment.fit
    training, bottleneck = replace(base.training, seed=seed), base.bottleneck
    if objective is not None:
        bottleneck = replace(bottleneck, objective=objective, variant="paired", sampler="identity")
        training = replace(training, cbl=_optimizer(objective))
    config = replace(base, training=training, bottleneck=bottleneck)
    if erasure is not None:
        config = replace(config, sparse_head=replace(base.sparse_head, erasure=erasure))
    return fit_on(study, config, concepts or study.concepts)


def unannotated(study: Study, seed: int) -> FittedMethod:
    """What the default is on data without annotations, where the study's experiment would use them.

    Validation goes without them too; metrics have those of all splits, as for every other row.
    """
    train, valid = (
        replace(part, annotations=None, annotation_phrases=()) for part in study.splits[:2]
    )
    plain, base = Experiment(), study.experiment
    training = replace(base.training, cbl=plain.training.cbl, epochs=plain.training.epochs)
    experiment = replace(base, bottleneck=plain.bottleneck, training=training)
    splits = Splits(train, valid, study.splits.test)
    fitted = ours(study._replace(experiment=experiment, splits=splits), seed)
    # What its numbers mean is then told by the annotations, as it is of the baselines' numbers.
    return fitted._replace(predict=lambda rows: fitted.predict(rows)._replace(calibration=None))


def _optimizer(objective: Objective) -> OptimizerConfig:
    """What the table of methods trains the layer of an objective with."""
    rate = OBJECTIVES[objective].learning_rate
    return TrainingConfig().cbl if rate is None else OptimizerConfig(learning_rate=rate)


def original(study: Study, seed: int, *, setting: Setting, objective: Objective) -> FittedMethod:
    """The paper's system, or the released code with all of its surprises."""
    config = original_fit(setting, objective, len(study.splits.train))
    training = replace(config.training, seed=seed)
    config = replace(config, training=training, mesh=study.experiment.mesh)
    return fit_on(study, config, study.concepts)


def fit_on(study: Study, config: FitConfig, concepts: ConceptSet) -> FittedMethod:
    """`jaxcbm.fit` on the study's features."""
    train, valid, _ = study.splits
    model = fit(train, valid, encoder=study.encoder, concepts=concepts, config=config)
    return fitted_model(model)


def _without_concepts(study: Study, logits: Callable[[np.ndarray], np.ndarray]) -> FittedMethod:
    classes = study.splits.test.classes
    empty = np.zeros((len(classes), 0), np.float32)
    return FittedMethod(lambda images_NxE: Prediction.of(logits(images_NxE), classes), empty)


def _of_classifier(
    study: Study, model: ConceptClassifier, choice: SparseChoice | None = None
) -> FittedMethod:
    known = {phrase: d for d, phrase in enumerate(study.concepts.phrases)}
    columns = np.array([known.get(phrase, -1) for phrase in model.phrases])
    concepts_DxE = study.concepts_DxE[np.maximum(columns, 0)]

    def predict(images_NxE: np.ndarray) -> Prediction:
        values = activations(model, images_NxE)
        # An annotation that is no phrase of the set has no score of the encoder to compare with.
        psi = np.where(columns >= 0, np.asarray(study.encoder.scores(images_NxE, concepts_DxE)), 0)
        logits = class_logits(model, images_NxE)
        return Prediction.of(logits, study.splits.test.classes, values, values, psi)

    return FittedMethod(predict, model.head, model.phrases, choice)


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
    as_in_a_row = own.sampler == "identity" and optimizer == _optimizer(own.objective)
    for name, method in METHODS.items():
        if as_in_a_row and own.variant == "paired" and own.objective == method.objective:
            default = default._replace(published_as=method.published_as)
            del table[name]
    return {**table, DEFAULT: default}
