"""The built-in datasets of painted birds: the quick start's species, and birds of no species."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np

from jaxcbm.data.birds.captions import write_captions
from jaxcbm.data.birds.drawing import PARTS, draw_bird, draw_parts
from jaxcbm.data.birds.scene import Scene, sample_scene
from jaxcbm.data.birds.species import (
    PHRASES,
    SIZES,
    Values,
    all_species,
    distance_to_species,
    one_hot,
)
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import ArrayImages
from jaxcbm.errors import UserError

# Keys of the random streams: every picture draws from [seed, stream, index] and nothing else, so
# that splits never share a bird and neither the order nor the number of workers matters.
_STREAMS = {"train": 1, "valid": 2, "test": 3, "random": 4, "combinations": 5}
_IMAGES_PER_CLASS = {"train": 60, "valid": 15, "test": 30}
_ATYPICAL = 0.06


def load_birds(
    split: str,
    *,
    seed: int = 0,
    images_per_class: int | None = None,
    size: int = 64,
    workers: int = 1,
) -> ImageSet:
    """Birds of the 48 species, painted on the spot.

    An individual differs from its species in each attribute with probability 0.06. Annotations and
    captions tell what is painted, not what is typical.

    Args:
        split: "train", "valid" or "test"; no two share a picture.
        seed: another seed, other pictures of the same species.
        images_per_class: 60, 15 and 30 by default.
        size: of the square pictures, in pixels.
        workers: processes that paint; the result is the same for any number. A script that asks for
            more than one needs the `if __name__ == "__main__":` guard of multiprocessing.

    Returns:
        An `ImageSet` with annotations over `species.PHRASES` and six captions an image, in the
        order of the classes.

    Raises:
        UserError: no such split.

    >>> birds = load_birds("test", images_per_class=1)
    >>> len(birds), birds.classes[0], birds.annotations.shape
    (48, 'barred fernwit', (48, 57))
    """
    labels, values = _birds_of(split, seed, images_per_class)
    names = tuple(species.name for species in all_species())
    return _paint(values, (seed, _STREAMS[split]), size, workers, labels, names, split)


def load_parts(
    split: str, *, seed: int = 0, images_per_class: int | None = None, size: int = 64
) -> dict[str, np.ndarray]:
    """Where the attributes show in the pictures that `load_birds` paints of the same arguments.

    Returns:
        Name of the attribute -> bool [N, size, size]; see `drawing.draw_parts`.

    Raises:
        UserError: no such split.

    >>> load_parts("test", images_per_class=1)["crown"].shape
    (48, 64, 64)
    """
    _, values = _birds_of(split, seed, images_per_class)
    key = (seed, _STREAMS[split])
    parts = [draw_parts(row, _scene(key, index), size) for index, row in enumerate(values)]
    return {name: np.stack([part[name] for part in parts]) for name in PARTS}


def _birds_of(
    split: str, seed: int, images_per_class: int | None
) -> tuple[np.ndarray, list[Values]]:
    """Labels and attribute values of the birds of a split."""
    if split not in _IMAGES_PER_CLASS:
        names = ", ".join(_IMAGES_PER_CLASS)
        raise UserError(f"birds have no split {split!r}: choose one of {names}")
    per_class = _IMAGES_PER_CLASS[split] if images_per_class is None else images_per_class
    species = all_species()
    labels = np.repeat(np.arange(len(species), dtype=np.int32), per_class)
    typical_NxM = np.array([s.values for s in species])[labels]
    key = (seed, _STREAMS[split])
    return labels, [_individual(row, key, i) for i, row in enumerate(typical_NxM.tolist())]


def random_birds(n: int, *, seed: int, size: int = 64, workers: int = 1) -> ImageSet:
    """Birds of no species, to pre-train an encoder that has not seen the quick start's classes.

    Every combination of attributes differs in at least two of them from every species.

    Args:
        n: how many.
        seed: another seed, other birds.
        size: of the square pictures, in pixels.
        workers: processes that paint; the result is the same for any number. A script that asks for
            more than one needs the `if __name__ == "__main__":` guard of multiprocessing.

    Returns:
        An `ImageSet` with annotations, six captions an image, and labels of -1.

    >>> random_birds(2, seed=0).captions[0][0]
    '...'
    """
    chance = np.random.default_rng([seed, _STREAMS["combinations"]])
    kept_NxM = np.zeros((0, len(SIZES)), np.int64)
    while len(kept_NxM) < n:
        drawn_RxM = chance.integers(0, SIZES, (max(n - len(kept_NxM), 64), len(SIZES)))
        far = distance_to_species(drawn_RxM).min(axis=1) >= 2
        kept_NxM = np.concatenate([kept_NxM, drawn_RxM[far]])
    values = [tuple(row) for row in kept_NxM[:n].tolist()]
    key = (seed, _STREAMS["random"])
    return _paint(values, key, size, workers, np.full(n, -1, np.int32), (), "random")


def _individual(typical: list[int], key: tuple[int, int], index: int) -> Values:
    """The species' values, some of them replaced by any other value of the attribute."""
    rng = np.random.default_rng([*key, index, 0])
    odd = rng.random(len(SIZES)) < _ATYPICAL
    steps = rng.integers(1, SIZES)
    mixed = np.where(odd, (np.array(typical) + steps) % SIZES, typical)
    return tuple(mixed.tolist())


def _paint(
    values: list[Values],
    key: tuple[int, int],
    size: int,
    workers: int,
    labels: np.ndarray,
    classes: tuple[str, ...],
    split: str,
) -> ImageSet:
    jobs = list(enumerate(values))
    paint = partial(_picture, key=key, size=size)
    if workers > 1 and jobs:
        # Not fork: a process that runs JAX has threads, and a fork of it may hang.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            done = list(pool.map(paint, jobs, chunksize=max(1, len(jobs) // (8 * workers))))
    else:
        done = [paint(job) for job in jobs]
    pixels = np.stack([image for image, _ in done]) if done else np.zeros((0, size, size, 3), "u1")
    return ImageSet(
        source=ArrayImages(pixels, prefix=f"birds/{split}"),
        labels=labels,
        classes=classes,
        annotations=one_hot(np.array(values, np.int64).reshape(-1, len(SIZES))),
        annotation_phrases=PHRASES,
        captions=tuple(captions for _, captions in done),
    )


def _picture(
    job: tuple[int, Values], *, key: tuple[int, int], size: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    index, values = job
    captions = write_captions(values, np.random.default_rng([*key, index, 2]))
    return draw_bird(values, _scene(key, index), size), captions


def _scene(key: tuple[int, int], index: int) -> Scene:
    return sample_scene(np.random.default_rng([*key, index, 1]))
