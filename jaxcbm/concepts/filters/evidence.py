"""What filters look at, gathered: phrases and class names in one or two text encoders, images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.filters.run import Evidence
from jaxcbm.concepts.filters.similarity import centred, join_embeddings
from jaxcbm.data.features import Features
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.extras import import_extra


class TextSpaces(NamedTuple):
    """In which encoders texts are compared.

    Attributes:
        encoder: the dual encoder; a name or folder for `load_encoder`.
        sentence_encoder: a name or folder for sentence-transformers; "" for none.
        weights: of the dual encoder and of the sentence encoder.
        centre: the concept set whose mean is taken off all texts; "" takes nothing off.
    """

    encoder: str = "jaxcbm/tiny"
    sentence_encoder: str = ""
    weights: tuple[float, float] = (3.0, 1.0)
    centre: str = ""

    def as_json(self) -> dict[str, Any]:
        """What the log of a filtered set remembers."""
        found: dict[str, Any] = {"encoder": self.encoder}
        if self.sentence_encoder:
            found |= {"sentence_encoder": self.sentence_encoder, "weights": list(self.weights)}
        return found | ({"centre": self.centre} if self.centre else {})


def gather(
    phrases: Sequence[str], classes: Sequence[str], spaces: TextSpaces, train: Features | None
) -> Evidence:
    """Embed phrases and class names, and add the train images."""
    texts = [*phrases, *classes]
    reference = list(ConceptSet.from_file(spaces.centre).phrases) if spaces.centre else []
    encoder = load_encoder(spaces.encoder)
    plain_PxE = encoder.embed_texts([*texts, *reference])
    rooms = [plain_PxE]
    if spaces.sentence_encoder:
        rooms.append(_sentences(spaces.sentence_encoder, [*texts, *reference]))
    if reference:
        rooms = [centred(room, room[len(texts) :].mean(axis=0)) for room in rooms]
    joined_PxE = join_embeddings(rooms, spaces.weights[: len(rooms)])
    count = len(phrases)
    evidence = Evidence(
        texts=joined_PxE[:count],
        classes=tuple(classes),
        class_texts=joined_PxE[count : len(texts)] if classes else None,
        pictured=plain_PxE[:count],
    )
    if train is None:
        return evidence
    return replace(evidence, images=train.as_array(), labels=np.asarray(train.labels))


def _sentences(name: str, texts: list[str]) -> np.ndarray:
    # No dependency of ours, not even an extra: it brings torch.
    purpose = f"--sentence-encoder={name}"
    library = import_extra("sentence_transformers", "sentence-transformers", purpose)
    try:
        model = library.SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{purpose}: cannot be loaded ({' '.join(str(error).split())[:120]})"
        ) from error
    return np.asarray(model.encode(texts, normalize_embeddings=True), np.float32)
