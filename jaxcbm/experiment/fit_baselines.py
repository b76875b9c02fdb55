"""Each baseline of the table, from one dataset's features to predictions on test."""

from collections.abc import Callable
from functools import partial
from typing import Any

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
)
from jaxcbm.baselines.label_free import label_free_bottleneck
from jaxcbm.baselines.labo import labo
from jaxcbm.baselines.linear_probe import linear_probe
from jaxcbm.baselines.post_hoc import learned_bottleneck, text_bottleneck, with_residual
from jaxcbm.baselines.support_vectors import support_vectors
from jaxcbm.baselines.vlg import PATH_LENGTH, grounded_bottleneck
from jaxcbm.bottleneck.search import Normalization, Similarity, concept_search
from jaxcbm.bottleneck.sparse.choice import SparseChoice
from jaxcbm.data.features import Features
from jaxcbm.evaluation.evaluate import FittedMethod
from jaxcbm.experiment.study import Study
from jaxcbm.model.prediction import Prediction

# Steps of methods whose published epochs count on tens of thousands of images: on fewer they take
# more epochs, on more images fewer.
_CDM_BATCH, _CDM_STEPS = 2000, 4000
_LABO_BATCH, _LABO_STEPS = 512, 20_000


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
