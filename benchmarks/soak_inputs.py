"""What `benchmarks.soak` predicts, and with what: pictures drawn by the thousand, a toy model."""

import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import jaxcbm
from jaxcbm.encoders.checkpoint.save import save_encoder
from jaxcbm.encoders.load import load_encoder
from jaxcbm.model.calibration import fit_calibration
from jaxcbm.model.familiarity import fit_familiarity
from jaxcbm.model.random_model import random_model

SIDE = 16
CLASSES, CONCEPTS = 20, 200
_TOKENIZER = Path(jaxcbm.__file__).parent / "encoders" / "pretrained" / "tiny"
_END = bytes(2 * tarfile.BLOCKSIZE)


def draw_shards(folder: Path, pictures: int, shard: int) -> list[Path]:
    """Tar files of different little pictures, in webdataset's layout, and their paths."""
    paths = []
    for number, start in enumerate(range(0, pictures, shard)):
        paths.append(folder / f"soak-{number:04d}.tar")
        with open(paths[-1], "wb") as file:
            for name, content in draw(start, min(shard, pictures - start)):
                file.write(_member(name, content))
            file.write(_END)
    return paths


def draw(start: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Names and PNG files of noise around a colour; the same for the same numbers."""
    rng = np.random.default_rng(start)
    rows = 1 + 3 * SIDE  # each line of a PNG begins with its filter
    lines = rng.integers(0, 128, (count, SIDE, rows), np.uint8)
    lines[..., 1:] += rng.integers(0, 128, (count, 1, 1), np.uint8)
    lines[..., 0] = 0
    for index in range(count):
        yield picture_name(start + index), _png(lines[index].tobytes())


def picture_name(number: int) -> str:
    """What the picture of this number is called."""
    return f"{number:08d}.png"


def _png(lines: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    # Stored and not compressed, which takes a fifth of the time.
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(lines, 0)), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    padding = bytes(-len(content) % tarfile.BLOCKSIZE)
    return header.tobuf(tarfile.USTAR_FORMAT) + content + padding


def save_toy_model(folder: Path) -> Path:
    """A model with random weights on the smallest encoder, which knows all that models can know."""
    from flax import nnx

    from jaxcbm.encoders.clip.config import ClipConfig
    from jaxcbm.encoders.clip.model import make_clip
    from jaxcbm.encoders.image.preprocess import Preprocess
    from jaxcbm.flat_params import split_flat

    words = load_encoder("jaxcbm/tiny").tokenizer
    sizes = {"image_size": SIDE, "patch_size": 8, "width": 32, "embed_dim": 32}
    layers = {"layers": 1, "text_layers": 1, "context_length": 12}
    config = ClipConfig.tiny(vocab_size=len(words.backend), **sizes, **layers)
    _, params = split_flat(make_clip(config, rngs=nnx.Rngs(0)))
    save_encoder(folder / "encoder", config, params, _TOKENIZER, Preprocess.square(SIDE), "float32")
    model = random_model(load_encoder(folder / "encoder"), CONCEPTS, CLASSES)
    pictures = [content for _, content in draw(2**31, 400)]
    said, labels = model.predict(pictures), np.arange(400) % CLASSES
    train, valid = said.select(np.arange(200)), said.select(np.arange(200, 400))
    calibration = fit_calibration(
        train.concept_activations,
        labels[:200],
        valid.concept_activations,
        valid.class_logits,
        labels[200:],
    )
    rows = train.image_embeddings, labels[:200], valid.image_embeddings
    familiarity = fit_familiarity(*rows, valid.class_probabilities, labels[200:])
    replace(model, calibration=calibration, familiarity=familiarity).save(folder / "model")
    return folder / "model"
