"""What an experiment is: data, encoder and concepts around a fit; from config to features."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.datasets import DataConfig, load_dataset
from jaxcbm.data.feature_store import encode
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.processes import agree, is_distributed
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.load import load_encoder
from jaxcbm.encoders.lora import LoraConfig
from jaxcbm.encoders.trainable import Mode, rules_of, trainable
from jaxcbm.encoders.tuned import Tuned, apply_tuned
from jaxcbm.errors import UserError
from jaxcbm.evaluation.protocol import check_overlap, released_split, stratified_split
from jaxcbm.storage import as_path
from jaxcbm.training.config import (
    FitConfig,
    MeshConfig,
    SparseHeadConfig,
    TrainingConfig,
    from_mapping,
)
from jaxcbm.training.tuning_config import TuningConfig


@dataclass(frozen=True)
class EncoderConfig:
    """Which dual encoder, and what trains of it.

    `--config.encoder.train=lora` adapts the matrices that `encoder.lora.where` matches,
    `--config.encoder.train=full` trains the image tower, and `--config.encoder.train=rules` does
    what `encoder.rules` says; the section `tuning` says how.

    Attributes:
        name: `jaxcbm/tiny`, a folder in the Hugging Face layout, or a hub name.
        dtype: of the inputs of matrix products; sums, and what trains, stay float32.
        image_size: height and width of the pictures that enter; position embeddings are
            interpolated to it. 0 for the checkpoint's own.
        train: `frozen`, `lora`, `full` or `rules`.
        rules: `PATTERN=train`, `=freeze` or `=lora` on parameter paths, separated by semicolons;
            the first that matches a path wins, and what none matches is frozen.
        lora: rank, strength and place of the adapters.
    """

    name: str = "jaxcbm/tiny"
    dtype: Literal["float32", "bfloat16"] = "float32"
    image_size: int = 0
    train: Mode = "frozen"
    rules: str = ""
    lora: LoraConfig = field(default_factory=LoraConfig)


@dataclass(frozen=True)
class Experiment:
    """A whole experiment; the sections of every file in configs/.

    Attributes:
        data: which images, and how they are split.
        encoder: which dual encoder, and what trains of it.
        concepts: a built-in concept set's name, or a file of phrases.
        features: folder of the feature store, here or gs://; "" keeps it in the work directory.
        bottleneck: the model.
        training: the loop.
        sparse_head: the elastic-net head.
        mesh: devices.
        tuning: how the encoder trains, where it does.
    """

    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    concepts: str = "birds"
    features: str = ""
    bottleneck: BottleneckConfig = field(default_factory=BottleneckConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sparse_head: SparseHeadConfig = field(default_factory=SparseHeadConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)

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
    """Everything a fit or an evaluation starts from.

    Attributes:
        encoder: frozen, or tuned.
        concepts: the phrases.
        splits: features by that encoder.
        pictures: images to be explained.
        train_pictures: the images that train and validation features come from, and perhaps more.
    """

    encoder: DualEncoder
    concepts: ConceptSet
    splits: Splits
    pictures: ImageSet
    train_pictures: ImageSet


def encoder_of(how: EncoderConfig) -> DualEncoder:
    """The encoder that the settings name, as it was before any training here."""
    return load_encoder(how.name, dtype=how.dtype, image_size=how.image_size or None)


def require_frozen(experiment: Experiment, command: str) -> None:
    """Stop a command that compares models on the features of one frozen encoder.

    Raises:
        UserError: the settings train the encoder.
    """
    if (train := experiment.encoder.train) != "frozen":
        raise UserError(
            f"config.encoder.train={train}: `jaxcbm {command}` compares models on features of a "
            "frozen encoder; set config.encoder.train=frozen, or use `jaxcbm train` once a setting"
        )


def prepare(experiment: Experiment, workdir: Path, tuned: Tuned | None = None) -> Prepared:
    """Load the encoder and the data, encode once, split, and check that no image is in two splits.

    Args:
        experiment: the settings.
        workdir: for the feature store.
        tuned: what training has changed of the encoder; None takes it as it is.

    Raises:
        UserError: the same picture (by content hash) lies in two splits; the encoder has nothing
            that the rules could train.
    """
    how = experiment.encoder
    concepts = ConceptSet.from_file(experiment.concepts)
    encoder = encoder_of(how)
    rules = rules_of(how.train, how.rules, how.lora)
    if how.train != "frozen":
        trainable(encoder.params, rules)  # a mistake shows before hours of encoding
    encoder = encoder if tuned is None else apply_tuned(encoder, tuned)
    agree("their concepts", concepts.content_hash)
    store = as_path(experiment.features) if experiment.features else workdir / "features"
    train_images, test_images = load_dataset(experiment.data)
    train = encode_here(train_images, encoder, store)
    test = None if test_images is None else encode_here(test_images, encoder, store)
    splits = split(experiment.data, train, test)
    return Prepared(encoder, concepts, splits, test_images or train_images, train_images)


def encode_here(images: ImageSet, encoder: DualEncoder, store: Path) -> Features:
    """Embed images with every device of this process.

    Simulated devices share the cores of one, so that spreading over them gains nothing; in a run
    of several processes it is done all the same, as a rehearsal.

    Raises:
        UserError: the processes of the run have other weights.
    """
    agree("their encoder's weights", encoder.content_hash)
    devices = jax.local_devices()
    if len(devices) == 1 or not (is_distributed() or devices[0].platform != "cpu"):
        return encode(images, encoder, store)
    spread = encoder.on_mesh(make_mesh(devices=devices))
    return encode(images, spread, store, batch_size=64 * len(devices))


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
