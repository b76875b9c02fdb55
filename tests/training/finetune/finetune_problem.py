"""A few coloured pictures and one end-to-end fit of them, shared by its tests and their worker."""

from dataclasses import replace

import numpy as np

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import ArrayImages
from jaxcbm.encoders.finetune.lora import LoraConfig
from jaxcbm.encoders.finetune.trainable import rules_of
from jaxcbm.encoders.load import load_encoder
from jaxcbm.training.config import (
    FitConfig,
    MeshConfig,
    OptimizerConfig,
    SparseHeadConfig,
    TrainingConfig,
)
from jaxcbm.training.finetune.config import FinetuneConfig
from jaxcbm.training.finetune.fit import ImageSplit, Recipe

PHRASES = ("red bird", "blue bird", "a red fish", "fish")
CLASSES = ("red", "green", "blue")
# Plain gradient steps: Adam would blow the rounding noise of a tiny gradient up to a full step.
SGD = OptimizerConfig(name="sgd", learning_rate=0.05, schedule="constant")
FINETUNE = FinetuneConfig(
    epochs=2, batch_size=8, encoder=SGD, lora=SGD, cbl=SGD, head=SGD, threads=1
)


def pictures(count: int = 30, seed: int = 0) -> ImageSet:
    """Noise of one of three colours; annotations say which of four phrases are true of it."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count).astype(np.int32)
    pixels = rng.integers(0, 120, (count, 16, 16, 3))
    pixels[np.arange(count), :, :, labels] += 100
    present = np.stack([labels == 0, labels == 2, labels == 0, labels != 1], axis=1)
    return ImageSet(
        ArrayImages(pixels.astype(np.uint8)),
        labels,
        CLASSES,
        annotations=present.astype(np.float32),
        annotation_phrases=PHRASES,
    )


def make_recipe(encoder_folder, mode="lora", rules="", *, lora=None, bottleneck=None, **finetune):
    """All that a fit needs; more keywords are settings of the fine-tuning."""
    lora = lora or LoraConfig(rank=2, alpha=4.0)
    return Recipe(
        encoder=load_encoder(encoder_folder),
        concepts=ConceptSet.from_phrases(list(PHRASES)),
        classes=CLASSES,
        rules=rules_of(mode, rules, lora),
        lora=lora,
        finetune=replace(FINETUNE, **finetune),
        config=FitConfig(
            bottleneck=bottleneck or BottleneckConfig(),
            training=TrainingConfig(epochs=2, batch_size=8, checkpoint_every=100),
            sparse_head=SparseHeadConfig(path_length=4),
            mesh=MeshConfig(data=1),
        ),
    )


def make_splits(encoder) -> tuple[ImageSplit, ImageSplit]:
    """Train and validation images with their features, in memory."""
    return _split(encoder, pictures()), _split(encoder, pictures(11, seed=1))


def _split(encoder, images: ImageSet) -> ImageSplit:
    digests = [np.frombuffer(images.source.digest(i), np.uint8) for i in range(len(images))]
    features = Features.from_arrays(
        encoder.embed_pixels(images.source.pixels),
        images.labels,
        images.classes,
        annotations=images.annotations,
        annotation_phrases=images.annotation_phrases,
        digests=np.stack(digests),
    )
    return ImageSplit(images, features)
