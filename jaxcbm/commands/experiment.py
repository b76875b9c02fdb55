"""What an experiment is: data, encoder and concepts around a fit; from config to features."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from absl import logging
from ml_collections import ConfigDict

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.datasets import DataConfig, load_dataset
from jaxcbm.data.feature_store import encode
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.load import load_encoder
from jaxcbm.evaluation.protocol import check_overlap, released_split, stratified_split
from jaxcbm.training.config import (
    FitConfig,
    MeshConfig,
    SparseHeadConfig,
    TrainingConfig,
    from_mapping,
)


@dataclass(frozen=True)
class EncoderConfig:
    """Which dual encoder.

    Attributes:
        name: `jaxcbm/tiny`, a folder in the Hugging Face layout, or a hub name.
        dtype: of the inputs of matrix products; sums stay float32.
    """

    name: str = "jaxcbm/tiny"
    dtype: Literal["float32", "bfloat16"] = "float32"


@dataclass(frozen=True)
class Experiment:
    """A whole experiment; the sections of every file in configs/.

    Attributes:
        data: which images, and how they are split.
        encoder: which frozen dual encoder.
        concepts: a built-in concept set's name, or a file of phrases.
        features: folder of the feature store; "" keeps it in the work directory.
        bottleneck: the model.
        training: the loop.
        sparse_head: the elastic-net head.
        mesh: devices.
    """

    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    concepts: str = "birds"
    features: str = ""
    bottleneck: BottleneckConfig = field(default_factory=BottleneckConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sparse_head: SparseHeadConfig = field(default_factory=SparseHeadConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)

    @property
    def fit(self) -> FitConfig:
        """The part that `jaxcbm.fit` takes."""
        return FitConfig(self.bottleneck, self.training, self.sparse_head, self.mesh)


def default_config() -> ConfigDict:
    """Every setting with its default, for config files to change."""
    return ConfigDict(asdict(Experiment()))


def read_experiment(config: dict[str, Any]) -> Experiment:
    """Settings as typed dataclasses; raises UserError on an unknown or ill-typed one."""
    return from_mapping(Experiment, config)


class Splits(NamedTuple):
    """Features of the three splits."""

    train: Features
    valid: Features
    test: Features


class Prepared(NamedTuple):
    """Everything a fit or an evaluation starts from; `pictures` are there to be explained."""

    encoder: DualEncoder
    concepts: ConceptSet
    splits: Splits
    pictures: ImageSet


def prepare(experiment: Experiment, workdir: Path) -> Prepared:
    """Load the encoder and the data, encode once, split, and check that no image is in two splits.

    Raises:
        UserError: the same picture (by content hash) lies in two splits.
    """
    concepts = ConceptSet.from_file(experiment.concepts)
    encoder = load_encoder(experiment.encoder.name, dtype=experiment.encoder.dtype)
    store = Path(experiment.features) if experiment.features else workdir / "features"
    train_images, test_images = load_dataset(experiment.data)
    train = encode(train_images, encoder, store)
    test = None if test_images is None else encode(test_images, encoder, store)
    splits = split(experiment.data, train, test)
    return Prepared(encoder, concepts, splits, test_images or train_images)


def split(data: DataConfig, train: Features, test: Features | None) -> Splits:
    """Take validation out of train (and test, where there is none); no picture lies in two splits.

    Raises:
        UserError: the same picture (by content hash) lies in two splits.
    """
    if test is None:
        rest, held = stratified_split(
            train.labels, data.test_fraction, data.seed + 1, digests=train.digests
        )
        train, test = train.select(rest), train.select(held)
    if data.protocol == "released":
        return _released(train, test, data.seed)
    kept, held = stratified_split(
        train.labels, data.valid_fraction, data.seed, digests=train.digests
    )
    splits = Splits(train.select(kept), train.select(held), test)
    if data.check_overlap:
        check_overlap(
            train=splits.train.digests, valid=splits.valid.digests, test=splits.test.digests
        )
    logging.info("%d train, %d validation, %d test images", *map(len, splits))
    return splits


def _released(train: Features, test: Features, seed: int) -> Splits:
    """The released splits: all images pooled, three draws that know nothing of each other."""
    pooled = Features.concatenate([train, test])
    logging.warning("protocol=released: test images are also train images; for study only")
    return Splits(*(pooled.select(rows) for rows in released_split(len(pooled), seed)))
