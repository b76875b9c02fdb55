"""What `jaxcbm concepts` needs of an experiment's train images, and the map of a set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxcbm.atomic import atomic_file
from jaxcbm.concepts.filters.run import Evidence
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.prepare import prepare


def train_features(config: dict[str, Any], store: Path | None) -> tuple[Features, str]:
    """The train images of an experiment (its validation and test images stay unseen).

    Args:
        config: an experiment's settings.
        store: folder of the feature store; None takes the one that the settings name, or the cache.

    Returns:
        features of the train part, and the encoder's name.

    Raises:
        UserError: the settings or the data are no good.
    """
    experiment = read_experiment(config)
    if store is not None:
        experiment = replace(experiment, features=str(store))
    # Its own concepts have no part in this, and may be what is about to be made.
    experiment = replace(experiment, concepts="birds")
    return prepare(experiment, None).splits.train, experiment.encoder.name


def draw(file: Path, phrases: Sequence[str], kept: set[str], evidence: Evidence) -> None:
    """A map of phrases, kept and dropped, beside classes.

    Raises:
        UserError: the evidence holds no classes.
    """
    from jaxcbm.report.phrase_map import phrase_map

    if evidence.texts is None or evidence.class_texts is None:
        raise UserError("--picture shows phrases beside classes: give --classes=FILE")
    stays = [phrase in kept for phrase in phrases]
    with atomic_file(file) as temporary:
        phrase_map(
            [phrase for phrase in phrases if phrase in kept],
            evidence.texts[stays],
            evidence.classes,
            evidence.class_texts,
            temporary,
            dropped_MxE=evidence.texts[[not stay for stay in stays]],
            title=f"{len(kept)} concepts beside {len(evidence.classes)} classes",
        )
