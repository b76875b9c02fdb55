"""`jaxcbm pretrain`: a small dual encoder of one's own, from image-caption pairs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from absl import logging

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import UnreadableImage
from jaxcbm.data.skipped import tell_skipped
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.encoders.checkpoint.save import save_encoder
from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.encoders.tokenizer import Tokenizer, train_tokenizer
from jaxcbm.errors import UserError
from jaxcbm.experiment.config import Changes, Named, read_experiment
from jaxcbm.experiment.config_file import settled
from jaxcbm.experiment.workdir_lock import hold
from jaxcbm.training.config import MeshConfig
from jaxcbm.training.pretrain import PretrainConfig, pretrain
from jaxcbm.typed_json import Count, Range, Whole


@dataclass(frozen=True)
class PairsConfig:
    """Where image-caption pairs come from; several sources are pooled.

    Attributes:
        birds: how many procedural birds to draw; none of a quick-start species.
        birds_seed: of those birds.
        fashion_mnist: how many pictures of Fashion-MNIST's train split to add, with captions.
        folder: a folder of pictures with captions ("" for none).
        captions_per_image: captions kept for each image; shorter lists repeat.
        workers: processes that draw birds.
    """

    birds: Whole = 0
    birds_seed: Whole = 1
    fashion_mnist: Whole = 0
    folder: str = ""
    captions_per_image: Count = 6
    workers: Count = 2


@dataclass(frozen=True)
class ArchitectureConfig:
    """Sizes of the two towers; see `ClipConfig.tiny`.

    Attributes:
        image_size: height and width of the pictures, in pixels.
        patch_size: height and width of a patch, in pixels.
        width: of the blocks of both towers.
        layers: blocks of the image tower.
        text_layers: blocks of the text tower.
        context_length: most tokens of a caption.
        embed_dim: E, the size of an embedding.
        vocab_size: most tokens of the tokenizer, which is learned from the captions.
    """

    image_size: Annotated[int, Range(1, 8192)] = 64
    patch_size: Count = 8
    width: Count = 128
    layers: Count = 4
    text_layers: Count = 2
    context_length: Count = 32
    embed_dim: Count = 128
    vocab_size: Count = 1024


@dataclass(frozen=True)
class PretrainExperiment:
    """A whole pre-training.

    Attributes:
        pairs: where image-caption pairs come from.
        architecture: sizes of the two towers.
        training: how long and with which loss.
        mesh: devices.
        weights_dtype: of the saved weights: `float16` or `float32`.
    """

    pairs: PairsConfig = field(default_factory=PairsConfig)
    architecture: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    training: PretrainConfig = field(default_factory=PretrainConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    weights_dtype: Literal["float16", "float32"] = "float16"


def run(
    config: PretrainExperiment | Named, workdir: Path | str, changes: Changes | None = None
) -> Path:
    """Train, and leave the encoder in `workdir/encoder` in the Hugging Face folder layout.

    Args:
        config: the name or path of a config file, nested dicts, or a `PretrainExperiment`.
        workdir: folder for what it writes.
        changes: path of a field -> its new value, such as `{"training.steps": 100}`.

    Returns:
        The encoder's folder, which `jaxcbm.load_encoder` opens.

    Raises:
        UserError: no such config or field, or a work directory of another config or in use.
    """
    experiment, workdir = read_experiment(config, changes, PretrainExperiment), Path(workdir)
    with hold(workdir), settled(workdir, asdict(experiment)):
        return _run(experiment, workdir)


def _run(experiment: PretrainExperiment, workdir: Path) -> Path:
    sizes = experiment.architecture
    preprocess = Preprocess.square(sizes.image_size)
    pixels, captions = load_pairs(experiment.pairs, preprocess)
    texts = [text for group in captions for text in group]
    tokenizer = train_tokenizer(
        texts, sizes.vocab_size, workdir / "tokenizer", context_length=sizes.context_length
    )
    logging.info("%d pictures, %d captions", len(pixels), len(texts))
    clip_config = ClipConfig.tiny(**asdict(sizes) | {"vocab_size": len(tokenizer.backend)})
    params = pretrain(
        pixels,
        tokenise(captions, tokenizer, experiment.pairs.captions_per_image),
        clip_config,
        experiment.training,
        mean=preprocess.mean,
        std=preprocess.std,
        mesh=make_mesh(experiment.mesh.data, experiment.mesh.model),
        workdir=workdir,
    )
    folder = workdir / "encoder"
    save_encoder(
        folder,
        clip_config,
        {path: np.asarray(value) for path, value in params.items()},
        workdir / "tokenizer",
        preprocess,
        dtype=experiment.weights_dtype,
    )
    logging.info("encoder written to %s", folder)
    return folder


def load_pairs(
    config: PairsConfig, preprocess: Preprocess
) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """All pictures at the encoder's size, uint8 [N, S, S, 3], and their captions."""
    pixels: list[np.ndarray] = []
    captions: list[tuple[str, ...]] = []
    skipped: list[tuple[str, str]] = []
    for images in _sources(config):
        assert images.captions is not None
        for i in range(len(images)):
            try:
                pixels.append(preprocess(images.source.load(i)))
            except (UnreadableImage, UserError) as error:
                skipped.append((images.source.name(i), str(error)))
                continue
            captions.append(images.captions[i])
    tell_skipped(tuple(skipped), len(pixels) + len(skipped))
    if not pixels:
        raise UserError("no image-caption pairs: set config.pairs.birds, .fashion_mnist or .folder")
    return np.stack(pixels), captions


def tokenise(
    captions: Sequence[tuple[str, ...]], tokenizer: Tokenizer, per_image: int
) -> np.ndarray:
    """Token ids of `per_image` captions an image, int32 [N, C, T]; short lists repeat."""
    chosen = [group[c % len(group)] for group in captions for c in range(per_image)]
    unique, inverse = np.unique(np.asarray(chosen, dtype=object), return_inverse=True)
    ids = tokenizer.ids(list(unique))
    longest = max(map(len, ids))
    return tokenizer.pad(ids, longest)[inverse].reshape(len(captions), per_image, longest)


def _sources(config: PairsConfig) -> list[ImageSet]:
    sources = []
    if config.birds:
        from jaxcbm.data.birds.birds import random_birds

        logging.info("drawing %d birds", config.birds)
        sources.append(random_birds(config.birds, seed=config.birds_seed, workers=config.workers))
    if config.fashion_mnist:
        from jaxcbm.data.sources.fashion_mnist import load_fashion_mnist

        images = load_fashion_mnist("train")
        sources.append(images.select(np.arange(min(config.fashion_mnist, len(images)))))
    if config.folder:
        from jaxcbm.data.sources.captioned import load_captioned_folder

        sources.append(load_captioned_folder(Path(config.folder)))
    return sources
