"""Fashion-MNIST: 70,000 real photographs of clothes, read from IDX files on this machine."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import ArrayImages
from jaxcbm.errors import UserError
from jaxcbm.ordinary_file import open_ordinary

DEFAULT_FOLDER = "/usr/share/datasets/fashion-mnist"
CLASSES = (
    "t-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
_PREFIXES = {"train": "train", "test": "t10k"}
_IMAGE_MAGIC, _LABEL_MAGIC = 0x0803, 0x0801
# Twenty times the largest of the files: zeros pack a thousandfold.
_MOST_BYTES = 2**28


def load_fashion_mnist(split: str, folder: str | Path | None = None) -> ImageSet:
    """Read a split of Fashion-MNIST.

    Args:
        split: "train" (60,000 images) or "test" (10,000).
        folder: where the IDX .gz files are; Debian's place by default.

    Returns:
        An `ImageSet` of grey 28 x 28 images; the train split has captions, see `captions_of`.

    Raises:
        UserError: no such split, a missing file, or a file that is not what it should be.

    Reference:
        Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, arXiv 1708.07747.
    """
    if split not in _PREFIXES:
        raise UserError(f"fashion_mnist has no split {split!r}: choose train or test")
    root = Path(DEFAULT_FOLDER if folder is None else folder)
    prefix = _PREFIXES[split]
    pixels = read_idx(root / f"{prefix}-images-idx3-ubyte.gz", _IMAGE_MAGIC)
    labels = read_idx(root / f"{prefix}-labels-idx1-ubyte.gz", _LABEL_MAGIC)
    if len(pixels) != len(labels):
        raise UserError(f"{len(pixels)} images but {len(labels)} labels in {root}: replace them")
    if labels.size and labels.max() >= len(CLASSES):
        raise UserError(f"label {labels.max()} in {root}: Fashion-MNIST has labels 0 to 9")
    captions = None
    if split == "train":
        by_class = [captions_of(name) for name in CLASSES]
        captions = tuple(by_class[label] for label in labels)
    return ImageSet(
        source=ArrayImages(pixels, prefix=f"fashion_mnist/{split}"),
        labels=labels.astype(np.int32),
        classes=CLASSES,
        captions=captions,
    )


def read_idx(path: Path, magic: int) -> np.ndarray:
    """Read one gzipped IDX file of unsigned bytes.

    Args:
        path: the .gz file.
        magic: the number the file must begin with; its last byte counts the dimensions.

    Returns:
        uint8, in the shape the file declares.

    Raises:
        UserError: the file is missing, broken, or of another kind.
    """
    try:
        with open_ordinary(path) as packed, gzip.open(packed) as file:
            data = file.read(_MOST_BYTES)
    except FileNotFoundError:
        raise UserError(
            f"no such file: {path} (install Debian's package dataset-fashion-mnist, "
            "or name the folder that holds the four .gz files)"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason} (download it again)") from error
    dimensions = magic & 0xFF
    header = 4 + 4 * dimensions
    found = int.from_bytes(data[:4], "big")
    if len(data) < header or found != magic:
        raise UserError(f"{path} begins with 0x{found:08x}, not 0x{magic:08x}: not the IDX file")
    # Python's integers, because a broken header can ask for more than an int64 holds.
    shape = tuple(int.from_bytes(data[4 * i : 4 * i + 4], "big") for i in range(1, 1 + dimensions))
    found, expected = len(data) - header, math.prod(shape)
    if found != expected:
        raise UserError(
            f"{path} holds {found} bytes, but its header says {expected}: download it again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


# The names of a class, and what can be seen on nearly every photograph of it. Short sleeves or
# heels, on which pictures of one class differ, are left out: a caption says only true things.
_NAMES = {
    "t-shirt": ("t-shirt", "tee shirt", "short-sleeved top"),
    "trousers": ("trousers", "long trousers", "pants"),
    "pullover": ("pullover", "sweater", "long-sleeved pullover"),
    "dress": ("dress", "one-piece dress", "women's dress"),
    "coat": ("coat", "jacket", "long-sleeved coat"),
    "sandal": ("sandal", "open shoe", "strappy shoe"),
    "shirt": ("shirt", "blouse", "shirt for the upper body"),
    "sneaker": ("sneaker", "sports shoe", "low trainer"),
    "bag": ("bag", "handbag", "carrying bag"),
    "ankle boot": ("ankle boot", "short boot", "boot"),
}
_VISIBLE = {
    "t-shirt": (
        "clothing for the upper body",
        "short sleeves",
        "a wide body with a neck opening",
        "a light garment without a front opening",
    ),
    "trousers": (
        "two separate legs",
        "clothing for the legs",
        "a narrow waist above two long tubes",
        "a gap between two legs",
    ),
    "pullover": (
        "clothing for the upper body",
        "long sleeves",
        "sleeves that hang beside the body",
        "a warm garment pulled over the head",
    ),
    "dress": (
        "one long garment without separate legs",
        "a garment from the shoulders down over the hips",
        "a tall narrow outline",
        "clothing for the whole body",
    ),
    "coat": (
        "long sleeves",
        "a front opening from top to bottom",
        "an outer garment with long sleeves",
        "clothing worn over other clothes",
    ),
    "sandal": (
        "footwear with openings",
        "straps across the foot",
        "an open shoe that shows the foot",
        "thin straps over a sole",
    ),
    "shirt": (
        "clothing for the upper body",
        "a garment with sleeves",
        "a garment with a neckline",
        "a top that reaches the hips",
    ),
    "sneaker": (
        "closed footwear",
        "a low flat shoe",
        "a shoe that ends below the ankle",
        "a thick flat sole",
    ),
    "bag": (
        "a container for carrying things",
        "a box-like outline",
        "an object that is not worn on the body",
        "a wide flat accessory",
    ),
    "ankle boot": (
        "footwear covering the ankle",
        "a tall shaft above the foot",
        "closed footwear",
        "a shoe that rises above the ankle",
    ),
}
_TEMPLATES = ("a photo of {}", "a grey photo of {}", "{} on a black background", "a picture of {}")


def captions_of(name: str) -> tuple[str, ...]:
    """What may be written under any photograph of a class: texts with its name, and without.

    >>> captions_of("ankle boot")[:2]
    ('ankle boot', 'a photo of an ankle boot')
    """
    names = tuple(text for noun in _NAMES[name] for text in (noun, *_sentences(noun)))
    seen = tuple(
        text for part in _VISIBLE[name] for text in (part, f"{_with_article(name)}: {part}")
    )
    return names + seen


def _sentences(noun: str) -> tuple[str, ...]:
    return tuple(template.format(_with_article(noun)) for template in _TEMPLATES)


def _with_article(noun: str) -> str:
    plural = noun.endswith(("trousers", "pants"))
    return noun if plural else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
