"""The birds with nuisances: their features, and what is true of each picture's scene."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcbm.data.birds.nuisances import NUISANCE_PHRASES
from jaxcbm.data.birds.scene import BACKGROUNDS, Scene, sample_scene
from jaxcbm.data.features import Splits
from jaxcbm.evaluation.protocol import stratified_split
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.prepare import prepare
from jaxcbm.training.config import FitConfig

NUISANCES = len(NUISANCE_PHRASES)
# Whether a scene is what each of the nuisance phrases says, in their order.
PRESENT: tuple[Callable[[Scene], bool], ...] = (
    *(lambda scene, where=where: scene.background == where for where in BACKGROUNDS),
    lambda scene: scene.facing < 0,
    lambda scene: scene.facing > 0,
    lambda scene: scene.tilt < 0,
    lambda scene: scene.tilt >= 0,
    lambda scene: len(scene.leaves_Lx4) > 0,
    lambda scene: scene.brightness > 0.89,
    lambda scene: scene.brightness <= 0.89,
    lambda scene: scene.cast_3[0] > scene.cast_3[2],
    lambda scene: scene.cast_3[0] <= scene.cast_3[2],
    lambda scene: scene.shade > 0.25,
)


class Birds(NamedTuple):
    """Everything that fits share.

    Attributes:
        encoder: of the images.
        config: of the quick start.
        phrases: the birds' own, all annotated, then the nuisances.
        texts_DxE: their embeddings.
        splits: features, with annotations of the birds' own phrases.
        scenes: for each split whether each nuisance is in the picture, float32 [N, 15].
    """

    encoder: Any
    config: FitConfig
    phrases: tuple[str, ...]
    texts_DxE: np.ndarray
    splits: Splits
    scenes: tuple[np.ndarray, ...]

    @property
    def own(self) -> int:
        """How many phrases are the birds' own."""
        return len(self.phrases) - NUISANCES


def load(folder: Path) -> Birds:
    """Encode the birds, or read them where they were encoded."""
    experiment = read_experiment("quickstart")
    prepared = prepare(experiment, folder)
    phrases = (*prepared.concepts.phrases, *NUISANCE_PHRASES)
    data, classes = experiment.data, len(prepared.splits.train.classes)
    train, valid, test = map(len, prepared.splits)
    drawn, held_out = _scenes(data.seed, 1, train + valid), _scenes(data.seed, 3, test)
    labels = np.repeat(np.arange(classes), len(drawn) // classes)
    kept, held = stratified_split(labels, data.valid_fraction, data.seed)
    scenes = drawn[kept], drawn[held], held_out
    texts_DxE = np.asarray(prepared.encoder.embed_texts(list(phrases)))
    return Birds(prepared.encoder, experiment.fit, phrases, texts_DxE, prepared.splits, scenes)


def _scenes(seed: int, stream: int, count: int) -> np.ndarray:
    """Whether each nuisance is in each picture, as `jaxcbm.data.birds.birds` draws them."""
    scenes = [sample_scene(np.random.default_rng([seed, stream, i, 1])) for i in range(count)]
    return np.array([[is_there(scene) for is_there in PRESENT] for scene in scenes], np.float32)
