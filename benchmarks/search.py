"""Concept Matrix Search against NumPy and against a double loop over images and classes."""

import functools
from typing import NamedTuple

import numpy as np

from benchmarks.interleave import Contender, Row, Work, versus

SIZES = {"images": 10_000, "classes": 1_000, "concepts": 4_500, "embed_dim": 512}
TINY = {"images": 60, "classes": 7, "concepts": 40, "embed_dim": 16}
LOOP_ROWS = 20
NUMPY, NUMPY_FOLDED, NUMPY_CUBED = "NumPy, V matrix", "NumPy, folded", "NumPy, cubed"
OURS, OURS_CUBED = "jaxcbm", "jaxcbm, cubed"
LOOP, LOOP_CUBED = "torch, double loop", "torch, double loop, cubed"


class Arrays(NamedTuple):
    """Unit-norm embeddings."""

    images_NxE: np.ndarray
    classes_KxE: np.ndarray
    concepts_DxE: np.ndarray


def rows(quick: bool) -> list[Row]:
    """The row `search`."""
    sizes = TINY if quick else SIZES
    count = sizes["images"]
    builders = {
        NUMPY: (functools.partial(_numpy, _whole), count),
        NUMPY_FOLDED: (functools.partial(_numpy, _folded), count),
        NUMPY_CUBED: (functools.partial(_numpy, _cubed), count),
        OURS: (functools.partial(_ours, "cosine"), count),
        OURS_CUBED: (functools.partial(_ours, "cubed"), count),
        LOOP: (functools.partial(_loop, 1), LOOP_ROWS),
        LOOP_CUBED: (functools.partial(_loop, 3), LOOP_ROWS),
    }
    return [
        Row(
            name="search",
            title=(
                f"Concept Matrix Search: N = {count:,} images, D = {sizes['concepts']:,}, "
                f"K = {sizes['classes']:,}, E = {sizes['embed_dim']}, float32"
            ),
            unit="images",
            contenders=[
                Contender(name, functools.partial(build, sizes), units)
                for name, (build, units) in builders.items()
            ],
            ratios=[
                versus(OURS, NUMPY, None if quick else 1.0),
                versus(OURS, NUMPY_FOLDED),
                versus(OURS_CUBED, NUMPY_CUBED, None if quick else 1.0),
                versus(OURS, LOOP_CUBED, None if quick else 600.0),
                versus(OURS_CUBED, LOOP_CUBED),
                versus(OURS, LOOP),
            ],
            check=functools.partial(check_agreement, sizes),
            notes=[
                "From embeddings to every cosine and the best class of each image. `V matrix`: "
                "V [N, D] and T [K, D] as they are defined, then one product. `folded`: the same "
                "cosines without V, as jaxcbm computes them. `cubed` needs V.",
                "The double loops take one cosine of two given rows at a time; the released code's "
                "is the cubed one, whose similarity replaces the cosine after the first pair. A "
                f"round is {LOOP_ROWS} images with every class, and the ratio compares the cost of "
                "an image: the loops were not run to the end.",
                "Directions are random. Where embeddings share a large common part, rounding to "
                "float32 decides between the two best classes of about one image in 600, in "
                "either library.",
            ],
        )
    ]


def make_arrays(sizes: dict[str, int]) -> Arrays:
    """Random directions: the best class of each image is plain in float32."""
    rng = np.random.default_rng(0)
    shapes = ((sizes[name], sizes["embed_dim"]) for name in ("images", "classes", "concepts"))
    return Arrays(*(_unit(rng.standard_normal(shape, np.float32)) for shape in shapes))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _matrices(arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    transposed = arrays.concepts_DxE.T
    return arrays.images_NxE @ transposed, arrays.classes_KxE @ transposed


def _whole(arrays: Arrays) -> np.ndarray:
    V_NxD, T_KxD = _matrices(arrays)
    return np.argmax(_unit(V_NxD) @ _unit(T_KxD).T, axis=1)


def _folded(arrays: Arrays) -> np.ndarray:
    images_NxE, classes_KxE, concepts_DxE = arrays
    gram_ExE = concepts_DxE.T @ concepts_DxE
    moved_NxE, moved_KxE = images_NxE @ gram_ExE, classes_KxE @ gram_ExE
    images_N = np.sqrt(np.sum(moved_NxE * images_NxE, axis=1))
    classes_K = np.sqrt(np.sum(moved_KxE * classes_KxE, axis=1))
    return np.argmax((moved_NxE @ classes_KxE.T) / images_N[:, None] / classes_K, axis=1)


def _cubed(arrays: Arrays) -> np.ndarray:
    V_NxD, T_KxD = _matrices(arrays)
    return np.argmax(_unit(V_NxD * V_NxD * V_NxD) @ _unit(T_KxD * T_KxD * T_KxD).T, axis=1)


def _numpy(function, sizes: dict[str, int]) -> Work:
    arrays = make_arrays(sizes)

    def work() -> None:
        function(arrays)

    return work


def _ours(similarity, sizes: dict[str, int]) -> Work:
    import jax

    from jaxcbm.bottleneck.search import concept_search

    arrays = [jax.device_put(part) for part in make_arrays(sizes)]

    def work() -> None:
        jax.block_until_ready(concept_search(*arrays, similarity=similarity).labels)

    return work


def _loop(power: int, sizes: dict[str, int]) -> Work:
    import torch
    from torch.nn import functional

    from benchmarks.machine import start_torch

    def similarity(image, row):
        if power == 1:
            return functional.cosine_similarity(image, row, dim=0)
        return functional.cosine_similarity(image**power, row**power, dim=0)

    start_torch()
    V_NxD, T_KxD = (torch.as_tensor(part) for part in _matrices(make_arrays(sizes)))

    def work() -> None:
        for image in V_NxD[:LOOP_ROWS]:
            scores = [similarity(image, row).item() for row in T_KxD]
            max(range(len(scores)), key=scores.__getitem__)

    return work


def check_agreement(sizes: dict[str, int]) -> str:
    """Every image must get NumPy's class, for either similarity.

    Raises:
        AssertionError: it does not.
    """
    from jaxcbm.bottleneck.search import concept_search

    arrays = make_arrays(sizes)
    for similarity, functions in (("cosine", (_whole, _folded)), ("cubed", (_cubed,))):
        labels_N = np.asarray(concept_search(*arrays, similarity=similarity).labels)
        for function in functions:
            different = int(np.sum(labels_N != function(arrays)))
            assert different == 0, f"{similarity}: {different} images get another class"
    return (
        f"Checked before timing: all {sizes['images']:,} images get the same class from jaxcbm "
        "and NumPy, for either similarity."
    )
