"""The built-in datasets of painted birds: the quick start's species, and birds of no species."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np

from jaxcbm.data.birds.captions import write_captions
from jaxcbm.data.birds.dials import Dials, marked_share, with_noise, withheld_phrases
from jaxcbm.data.birds.drawing import PARTS, draw_bird, draw_parts
from jaxcbm.data.birds.scene import Scene, sample_scene, strengthened
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
# What a picture draws from its stream; one more kind leaves the others as they were.
_INDIVIDUAL, _SCENE, _CAPTIONS, _ODD, _CLUTTER, _MARK, _NOISE = range(7)
_IMAGES_PER_CLASS = {"train": 60, "valid": 15, "test": 30}
_ATYPICAL = 0.06
_AT_ZERO = Dials()


def load_birds(
    split: str,
    *,
    seed: int = 0,
    images_per_class: int | None = None,
    size: int = 64,
    workers: int = 1,
    dials: Dials = _AT_ZERO,
) -> ImageSet:
    """Birds of the 48 species, painted on the spot.

    An individual differs from its species in each attribute with probability 0.06. Annotations and
    captions tell what is painted, not what is typical; a dial may falsify annotations.

    Args:
        split: "train", "valid" or "test"; no two share a picture.
        seed: another seed, other pictures of the same species.
        images_per_class: 60, 15 and 30 by default.
        size: of the square pictures, in pixels.
        workers: processes that paint; the result is the same for any number. A script that asks for
            more than one needs the `if __name__ == "__main__":` guard of multiprocessing.
        dials: what makes them harder to learn; at zero, nothing.

    Returns:
        An `ImageSet` with annotations over `species.PHRASES` (those that the dials leave) and six
        captions an image, in the order of the classes.

    Raises:
        UserError: no such split.

    >>> birds = load_birds("test", images_per_class=1)
    >>> len(birds), birds.classes[0], birds.annotations.shape
    (48, 'barred fernwit', (48, 57))
    """
    labels, values = _birds_of(split, seed, images_per_class, dials)
    names = tuple(species.name for species in all_species())
    seen = dials if split != "test" else replace(dials, shortcut=0.0, annotation_noise=0.0)
    key = (seed, _STREAMS[split])
    return _paint(values, key, size, workers, labels, names, split, seen)


def load_parts(
    split: str,
    *,
    seed: int = 0,
    images_per_class: int | None = None,
    size: int = 64,
    dials: Dials = _AT_ZERO,
) -> dict[str, np.ndarray]:
    """Where the attributes show in the pictures that `load_birds` paints of the same arguments.

    Returns:
        Name of the attribute -> bool [N, size, size]; see `drawing.draw_parts`.

    Raises:
        UserError: no such split.

    >>> load_parts("test", images_per_class=1)["crown"].shape
    (48, 64, 64)
    """
    _, values = _birds_of(split, seed, images_per_class, dials)
    key = (seed, _STREAMS[split])
    parts = [draw_parts(row, _scene(key, i, dials), size) for i, row in enumerate(values)]
    return {name: np.stack([part[name] for part in parts]) for name in PARTS}


def _birds_of(
    split: str, seed: int, images_per_class: int | None, dials: Dials
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
    rows = enumerate(typical_NxM.tolist())
    return labels, [_individual(row, key, i, dials.atypical) for i, row in rows]


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


def _individual(typical: list[int], key: tuple[int, int], index: int, atypical: float) -> Values:
    """The species' values, some of them replaced by any other value of the attribute."""
    rng = _chance(key, index, _INDIVIDUAL)
    odd = rng.random(len(SIZES)) < _ATYPICAL
    steps = rng.integers(1, SIZES)
    rng = _chance(key, index, _ODD)
    if rng.random() < atypical:
        odd[rng.choice(np.flatnonzero(~odd))] = True
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
    dials: Dials = _AT_ZERO,
) -> ImageSet:
    jobs = list(zip(range(len(values)), values, labels.tolist(), strict=True))
    paint = partial(_picture, key=key, size=size, dials=dials)
    if workers > 1 and jobs:
        # Not fork: a process that runs JAX has threads, and a fork of it may hang.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            done = list(pool.map(paint, jobs, chunksize=max(1, len(jobs) // (8 * workers))))
    else:
        done = [paint(job) for job in jobs]
    pixels = np.stack([image for image, _ in done]) if done else np.zeros((0, size, size, 3), "u1")
    annotations = one_hot(np.array(values, np.int64).reshape(-1, len(SIZES)))
    told = with_noise(annotations, dials.annotation_noise, _chance(key, 0, _NOISE))
    withheld = withheld_phrases(dials.missing_concepts, key[0])
    known = [a for a, phrase in enumerate(PHRASES) if phrase not in withheld]
    return ImageSet(
        source=ArrayImages(pixels, prefix=f"birds/{split}"),
        labels=labels,
        classes=classes,
        annotations=told[:, known],
        annotation_phrases=tuple(PHRASES[a] for a in known),
        captions=tuple(captions for _, captions in done),
    )


def _picture(
    job: tuple[int, Values, int], *, key: tuple[int, int], size: int, dials: Dials
) -> tuple[np.ndarray, tuple[str, ...]]:
    index, values, label = job
    captions = write_captions(values, _chance(key, index, _CAPTIONS))
    share = marked_share(dials.shortcut, len(all_species()))
    mark = label if _chance(key, index, _MARK).random() < share else None
    return draw_bird(values, _scene(key, index, dials), size, mark), captions


def _scene(key: tuple[int, int], index: int, dials: Dials) -> Scene:
    scene = sample_scene(_chance(key, index, _SCENE))
    if not dials.nuisances:
        return scene
    return strengthened(scene, dials.nuisances, _chance(key, index, _CLUTTER))


def _chance(key: tuple[int, int], index: int, what: int) -> np.random.Generator:
    return np.random.default_rng([*key, index, what])
