"""Concept Matrix Search of pictures and texts, embedded where they are not yet.

What departs from the published code, and why:

* One similarity for all classes. The published function overwrites its argument, so that the first
  class is compared by the cosine and all others by its cube.
* All test images, in any order and of classes of any size; the published runs read 500 train images
  and take classes for equally large blocks.
* Centred similarities are an option of ours.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcbm.bottleneck import search
from jaxcbm.bottleneck.search import Normalization, SearchResult, Similarity
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.image.open import ImageLike
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError

Embeddings = jax.Array | np.ndarray


def concept_search(
    image_embeddings: Embeddings | Features | ImageLike | Iterable[ImageLike],
    class_embeddings: Embeddings | str | Iterable[str],
    concept_embeddings: Embeddings | ConceptSet | str | Path | Iterable[str],
    *,
    encoder: DualEncoder | str | Path | None = None,
    similarity: Similarity = "cosine",
    normalize: Normalization = "none",
    block: int = 1024,
) -> SearchResult:
    """Predict the class whose row of class-concept similarities is closest to the image's row.

    The search itself, and what the options mean, is `jaxcbm.bottleneck.search.concept_search`.

    Args:
        image_embeddings: [N, E] floats of any norm above 0, `Features`; or, with an encoder, an
            `ImageSet` or whatever else `embed_images` takes.
        class_embeddings: [K, E]; or, with an encoder, K texts, used as they are.
        concept_embeddings: [D, E]; or, with an encoder, D phrases, a `ConceptSet`, the name of a
            built-in one, or a file.
        encoder: embeds pictures and texts: a dual encoder, or what `load_encoder` loads it by.
        similarity: `cosine`, `cubed` or `max_score`.
        normalize: `none`, `rows`, `columns` or `centred`.
        block: images whose similarities to all concepts are held at once.

    Returns:
        SearchResult(labels int32 [N], scores float32 [N, K]).

    Raises:
        UserError: pictures or texts without an encoder, an unknown option, or embeddings of
            different widths.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), Concept Matrix Search.

    >>> texts = ["a bird with a red crown", "a bird with a black crown"]
    >>> found = concept_search(
    ...     np.eye(2, 128), texts, ["red crown", "black crown"], encoder="jaxcbm/tiny")
    >>> found.scores.shape
    (2, 2)
    """
    loaded = None if encoder is None else load_encoder(encoder)

    def embedded(part: Any, role: str, embed: Callable[[DualEncoder, Any], np.ndarray]) -> Any:
        if _is_embedded(part):
            return part
        if loaded is None:
            raise UserError(
                f"{role}: no embeddings [N, E]: give encoder=, as encoder='jaxcbm/tiny', to embed "
                "pictures and texts"
            )
        return embed(loaded, part)

    images = image_embeddings
    return search.concept_search(
        embedded(
            images.as_array() if isinstance(images, Features) else images,
            "images",
            DualEncoder.embed_images,
        ),
        embedded(class_embeddings, "classes", DualEncoder.embed_texts),
        embedded(
            concept_embeddings,
            "concepts",
            lambda own, concepts: own.embed_texts(ConceptSet.of(concepts)),
        ),
        similarity=similarity,
        normalize=normalize,
        block=block,
    )


def _is_embedded(part: Any) -> bool:
    """Whether these are rows of embeddings; pixels are bytes, or have more axes."""
    return isinstance(part, jax.Array | np.ndarray) and part.ndim == 2 and part.dtype != np.uint8
