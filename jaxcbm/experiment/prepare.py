"""From an experiment's settings to encoder, phrases and the features of its splits."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.annotations import ANNOTATIONS
from jaxcbm.data.birds.dials import withheld_phrases
from jaxcbm.data.datasets import DataConfig, load_dataset
from jaxcbm.data.features import Features, Splits
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.phrase_key import phrase_key
from jaxcbm.data.skipped import report_skipped
from jaxcbm.data.store.cache import features_folder
from jaxcbm.data.store.feature_store import encode
from jaxcbm.distributed.mesh import local_mesh
from jaxcbm.distributed.processes import agree
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.finetune.finetuned import FinetunedWeights, apply_finetuned
from jaxcbm.encoders.finetune.trainable import rules_of, trainable
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.evaluation.protocol import check_overlap, pooled_split, stratified_split
from jaxcbm.experiment.config import Changes, EncoderConfig, Experiment, Named, read_experiment
from jaxcbm.experiment.stored_split import settle_split
from jaxcbm.storage import as_path
from jaxcbm.training.fit_arrays import source_of


class Prepared(NamedTuple):
    """Everything a fit or an evaluation starts from.

    Attributes:
        encoder: frozen, or finetuned.
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


def concepts_of(experiment: Experiment, images: ImageSet | None = None) -> ConceptSet:
    """The phrases that the settings name, in the order of their set, without those that a dial of
    the birds withholds, and as many as are asked for.

    Args:
        experiment: its `concepts` may be `annotations`.
        images: of train, with their annotations; None where nobody reads them.

    Raises:
        UserError: no such set, images without annotations, or fewer phrases than are asked for.
    """
    concepts, count = _named_concepts(experiment, images), experiment.concept_count
    if share := experiment.data.dials.missing_concepts:
        keys = {phrase_key(phrase) for phrase in withheld_phrases(share, experiment.data.seed)}
        withheld = [phrase for phrase in concepts.phrases if phrase_key(phrase) in keys]
        reasons = dict.fromkeys(withheld, "withheld by a dial of the birds")
        concepts = concepts.without(reasons, "missing_concepts", {"share": share})
    if not count:
        return concepts
    if not 0 < count <= len(concepts):
        raise UserError(
            f"config.concept_count={count}: {experiment.concepts} has {len(concepts)} phrases"
        )
    order = np.random.default_rng(experiment.data.seed).permutation(len(concepts))
    left = {concepts.phrases[d]: "not drawn" for d in order[count:]}
    how = {"concept_count": count, "seed": experiment.data.seed}
    return concepts.without(left, "draw", how)


def _named_concepts(experiment: Experiment, images: ImageSet | None) -> ConceptSet:
    if experiment.concepts != ANNOTATIONS:
        return ConceptSet.from_file(experiment.concepts)
    if images is None:
        why = "a plan reads no images: give --concept-count"
    elif not images.annotation_phrases:
        why = "the images have no annotations: name a concept set or a file of phrases"
    else:
        return ConceptSet.from_phrases(images.annotation_phrases, {"source": ANNOTATIONS})
    raise UserError(f"config.concepts={ANNOTATIONS}: {why}")


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


def prepare(
    config: Experiment | Named,
    workdir: Path | str | None,
    finetuned: FinetunedWeights | None = None,
    changes: Changes | None = None,
    *,
    fits: bool = False,
    batch_size: int | None = None,
) -> Prepared:
    """Load the encoder and the data, encode once, split, and check that no image is in two splits.

    Args:
        config: the name or path of a config file, nested dicts, or an `Experiment`.
        workdir: for which picture belongs to which split (`settle_split`), which None does not
            keep, and perhaps for the feature store (`features_folder`).
        finetuned: what training has changed of the encoder; None takes it as it is.
        changes: path of a field -> its new value.
        fits: whether a bottleneck will be fitted; what no fit accepts then shows before encoding.
        batch_size: images a step of the encoder, see `encode_here`.

    Raises:
        UserError: the same picture (by content hash) lies in two splits; the encoder has nothing
            that the rules could train; the work directory began with other classes or pictures; too
            few phrases have annotations.
    """
    experiment = read_experiment(config, changes)
    how = experiment.encoder
    train_images, test_images, valid_images = load_dataset(experiment.data)
    concepts = concepts_of(experiment, train_images)
    if fits:
        source_of(experiment.bottleneck, train_images, concepts.phrases)
    encoder = encoder_of(how)
    rules = rules_of(how.train, how.rules, how.lora)
    if how.train != "frozen":
        trainable(encoder.params, rules)  # a mistake shows before hours of encoding
    encoder = encoder if finetuned is None else apply_finetuned(encoder, finetuned)
    agree("their concepts", concepts.content_hash)
    store = as_path(experiment.features or features_folder(workdir))
    encoded = partial(encode_here, encoder=encoder, store=store, batch_size=batch_size, quiet=True)
    train = encoded(train_images)
    test, valid = (
        None if images is None else encoded(images) for images in (test_images, valid_images)
    )
    report_skipped([part for part in (train, test, valid) if part is not None], workdir)
    splits = split(experiment.data, train, test, valid)
    if workdir is not None:
        splits = settle_split(Path(workdir), experiment.data, splits)
    fitted = train_images if valid_images is None else train_images.joined(valid_images)
    return Prepared(encoder, concepts, splits, test_images or train_images, fitted)


def encode_here(
    images: ImageSet,
    encoder: DualEncoder,
    store: Path,
    batch_size: int | None = None,
    quiet: bool = False,
) -> Features:
    """Embed images with every device of this process.

    Args:
        images: to embed.
        encoder: on one device.
        store: folder of feature stores.
        batch_size: images a step, over all devices; None for 64 a device.
        quiet: see `encode`.

    Raises:
        UserError: the processes of the run have other weights.
    """
    agree("their encoder's weights", encoder.content_hash)
    mesh = local_mesh()
    encoder = encoder if mesh is None else encoder.on_mesh(mesh)
    devices = 1 if mesh is None else mesh.shape["data"]
    size = batch_size or 64 * devices
    return encode(images, encoder, store, batch_size=size, quiet=quiet)


def split(
    data: DataConfig, train: Features, test: Features | None, valid: Features | None = None
) -> Splits:
    """Take validation and test out of train where there are none; no picture lies in two splits.

    Raises:
        UserError: the same picture (by content hash) lies in two splits.
    """
    if test is None:
        rest, held = stratified_split(
            train.labels, data.test_fraction, data.seed + 1, digests=train.digests
        )
        train, test = train.select(rest), train.select(held)
    if data.protocol != "official":
        return _pooled([train, test] if valid is None else [train, valid, test], data.seed)
    if valid is None:
        kept, held = stratified_split(
            train.labels, data.valid_fraction, data.seed, digests=train.digests
        )
        train, valid = train.select(kept), train.select(held)
    splits = Splits(train, valid, test)
    if data.check_overlap:
        check_overlap(
            train=splits.train.digests, valid=splits.valid.digests, test=splits.test.digests
        )
    logging.info("%d train, %d validation, %d test images", *map(len, splits))
    return splits


def _pooled(parts: Sequence[Features], seed: int) -> Splits:
    """All images pooled, and three draws that know nothing of each other."""
    pooled = Features.concatenate(parts)
    logging.warning("protocol=pooled: test images are also train images; for study only")
    return Splits(*(pooled.select(rows) for rows in pooled_split(len(pooled), seed)))
