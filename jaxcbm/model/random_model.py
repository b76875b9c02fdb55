"""A model that nobody trained, for what does not depend on that: speed, shapes, examples."""

import numpy as np

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.model.model import Model


def random_model(encoder: DualEncoder, concepts: int = 8, classes: int = 3) -> Model:
    """A bottleneck with random weights on an encoder.

    >>> from jaxcbm.encoders.load import load_encoder
    >>> len(random_model(load_encoder("jaxcbm/tiny")).classes)
    3
    """
    rng, config, width = np.random.default_rng(0), BottleneckConfig(), encoder.embed_dim
    _, params = build_bottleneck(config, width, concepts, classes)
    embeddings_DxE = rng.standard_normal((concepts, width), np.float32)
    return Model(
        config=config,
        params={name: np.asarray(value) for name, value in params.items()},
        input_map=InputMap(None, np.zeros(width, np.float32)),  # pyright: ignore[reportArgumentType]
        concepts=ConceptSet.from_phrases([f"concept {d}" for d in range(concepts)]),
        concept_embeddings=embeddings_DxE / np.linalg.norm(embeddings_DxE, axis=1, keepdims=True),
        classes=tuple(f"class {k}" for k in range(classes)),
        encoder_name=encoder.name,
        encoder_hash=encoder.content_hash,
        logit_scale=encoder.logit_scale,
        logit_bias=encoder.logit_bias,
        encoder=encoder,
    )
