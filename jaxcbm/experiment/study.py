"""What every method of the table starts from: one dataset, encoded once."""

from typing import Any, NamedTuple

import numpy as np

from jaxcbm.baselines.description_cls import own_descriptions
from jaxcbm.baselines.zero_shot import class_embeddings
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Splits
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.experiment.config import Experiment
from jaxcbm.experiment.prepare import Prepared


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


def make_study(prepared: Prepared, experiment: Any) -> Study:
    """Embed classes and phrases once."""
    encoder, classes = prepared.encoder, prepared.splits.train.classes
    return Study(
        experiment=experiment,
        encoder=encoder,
        concepts=prepared.concepts,
        splits=prepared.splits,
        names_KxE=np.asarray(class_embeddings(encoder, classes, ("{}",))),
        classes_KxE=np.asarray(class_embeddings(encoder, classes)),
        concepts_DxE=np.asarray(encoder.embed_texts(list(prepared.concepts.phrases))),
    )
