"""A record in the table of objectives is all that a fit needs to train by it."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcbm
from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.objectives.table import OBJECTIVES, ObjectiveRecord
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.encoders.load import load_encoder
from jaxcbm.training.config import FitConfig, SparseHeadConfig, TrainingConfig

NAME = "throwaway"


def split(seed, count=60):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Features.from_arrays(rows, rng.integers(0, 3, count), ["a", "b", "c"])


@pytest.fixture
def fit_by(monkeypatch, tiny_encoder_folder):
    def fit(record):
        monkeypatch.setitem(OBJECTIVES, NAME, record)
        config = FitConfig(
            BottleneckConfig(objective=NAME),
            TrainingConfig(epochs=10, batch_size=20),
            SparseHeadConfig(enabled=False),
        )
        concepts = ConceptSet.from_phrases([f"a red bird number {i}" for i in range(6)])
        encoder = load_encoder(tiny_encoder_folder)
        return jaxcbm.fit(split(0), split(1), encoder=encoder, concepts=concepts, config=config)

    return fit


def mean_square(model):
    return float(np.mean(model.predict_embeddings(split(0).as_array()).concept_logits ** 2))


def test_its_loss_trains_the_layer(fit_by):
    start = mean_square(fit_by(ObjectiveRecord(lambda config, x: jnp.zeros(()), "Still-CBM")))
    shrunk = fit_by(ObjectiveRecord(lambda config, x: jnp.mean(x.logits**2), "Shrink-CBM"))
    assert shrunk.config.layer == "factored" and mean_square(shrunk) < 0.5 * start


def test_positives_come_where_it_needs_them(fit_by):
    seen = []

    def look(config, x):
        seen.append(None if x.positives is None else x.positives.shape)
        return jnp.mean(x.logits)

    fit_by(ObjectiveRecord(look, "Look-CBM"))
    assert set(seen) == {None}
    seen.clear()
    fit_by(ObjectiveRecord(look, "Look-CBM", positives_in=("paired",)))
    assert set(seen) == {(20, 6)}


def test_its_proximal_map_follows_each_step_and_the_loss_gives_no_gradient(fit_by):
    record = ObjectiveRecord(
        lambda config, x: jnp.sum(x.kernel) / jnp.zeros(()),
        "Zero-CBM",
        proximal={"paired": lambda config, kernel, rate: jnp.where(kernel > 0, kernel, 0.0)},
        needs_cross_entropy=True,
        layer="residual",
    )
    kernel = np.asarray(fit_by(record).params["cbl.kernel"])
    assert (kernel >= 0).all() and (kernel > 0).any() and (kernel == 0).any()
