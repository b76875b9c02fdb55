"""A small problem whose features a fit streams, on any mesh."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.data.features import Features
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.model.texts import Texts
from jaxcbm.training.config import FitConfig, SparseHeadConfig, TrainingConfig
from jaxcbm.training.fit import fit_features

WIDTH, CONCEPTS, CLASSES = 12, 9, 3
CLASS_NAMES = ("owl", "wren", "tit")


def make_features(count=203, annotated=False, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(count, WIDTH)) + 0.5
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = np.argmax(embeddings @ np.random.default_rng(7).normal(size=(WIDTH, CLASSES)), axis=1)
    annotations = rng.integers(0, 2, (count, CONCEPTS)).astype(np.float32) if annotated else None
    return Features.from_arrays(
        embeddings.astype(dtype),
        labels,
        CLASS_NAMES,
        annotations=annotations,
        annotation_phrases=PHRASES if annotated else (),
    )


PHRASES = tuple(f"phrase {i}" for i in range(CONCEPTS))
CONFIG = FitConfig(
    training=TrainingConfig(epochs=3, batch_size=32, checkpoint_every=2, data="stream", window=64),
    sparse_head=SparseHeadConfig(enabled=False),
)


def make_texts(count=CONCEPTS):
    rng = np.random.default_rng(3)
    concepts = rng.normal(size=(count, WIDTH)).astype(np.float32)
    classes = rng.normal(size=(CLASSES, WIDTH)).astype(np.float32)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (concepts, classes)]
    phrases = tuple(f"phrase {i}" for i in range(count))
    return Texts(phrases, CLASS_NAMES, *map(jnp.asarray, unit), scale=30.0)


def stream(
    config=CONFIG, train=None, devices=1, model=1, workdir=None, count=CONCEPTS, streamed=True
):
    mesh = make_mesh(model=model, devices=jax.devices()[:devices])
    train = make_features() if train is None else train
    valid = make_features(41, seed=1)
    return fit_features(
        *(train, valid),
        make_texts(count),
        config=config,
        mesh=mesh,
        workdir=workdir,
        streamed=streamed,
    )
