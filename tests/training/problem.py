"""A small classification problem on features, and one fit of it, shared by the training tests."""

import jax
import numpy as np

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import place_rows
from jaxcbm.training.config import FitConfig, TrainingConfig
from jaxcbm.training.feeds import memory_feed
from jaxcbm.training.fit_arrays import place_valid
from jaxcbm.training.loop import run
from jaxcbm.training.state import place_state, state_shardings
from jaxcbm.training.step import TrainData, ValidData, make_plan

IMAGES, CONCEPTS, CLASSES = 203, 10, 3


def make_problem(images=IMAGES, concepts=CONCEPTS, classes=CLASSES):
    """Standardised scores, labels that a linear rule on them gives, and positives."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(images, concepts)).astype(np.float32)
    labels = np.argmax(scores @ rng.normal(size=(concepts, classes)), axis=1).astype(np.int32)
    return scores, labels, (scores > 0.4).astype(np.uint8)


def start(bottleneck=None, concepts=CONCEPTS, seed=0):
    """Structure and initial parameters of the fit that `train` makes."""
    bottleneck = bottleneck or BottleneckConfig()
    return build_bottleneck(bottleneck, concepts, concepts, CLASSES, seed=seed)


def train(bottleneck=None, training=None, workdir=None, devices=None, model=1, problem=None):
    """Fit the problem; returns the final progress."""
    scores, labels, positives = problem or make_problem()
    concepts = scores.shape[1]
    config = FitConfig(
        bottleneck=bottleneck or BottleneckConfig(),
        training=training or TrainingConfig(epochs=4, batch_size=32, checkpoint_every=1),
    )
    structure, params = start(config.bottleneck, concepts, config.training.seed)
    mesh = make_mesh(model=model, devices=devices or jax.devices()[:1])
    held = max(len(scores) // 5, 1)
    data = TrainData(*(place_rows(part[held:], mesh) for part in (scores, labels, positives)))
    plan = make_plan(structure, config, len(scores) - held)
    valid = place_valid(ValidData(scores[:held], labels[:held], np.ones(held, np.float32)), mesh)
    shardings = state_shardings(plan, params, mesh)
    return run(
        memory_feed(plan, data, valid, shardings, mesh),
        place_state(plan, params, shardings),
        mesh,
        steps=plan.total_steps,
        keep_best=config.training.keep_best,
        patience=config.training.patience,
        checkpoint_every=config.training.checkpoint_every,
        workdir=workdir,
    )
