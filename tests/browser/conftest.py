"""A made-up model in a page, and Chromium to open it with; without one the tests are skipped."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.explore.model_part import model_part, shown_prediction
from jaxcbm.explore.packing import packed, quantised
from jaxcbm.explore.page import page as page_of
from jaxcbm.explore.payload import explorer_payload
from jaxcbm.explore.thumbnails import thumbnails
from jaxcbm.model.calibration import fit_calibration
from jaxcbm.model.familiarity import fit_familiarity
from jaxcbm.model.model import Model
from jaxcbm.model.prediction import Prediction

PICTURES, CONCEPTS = 300, 40
CLASSES = (
    "amber owl",
    "blue kite",
    "coral wren of the far and misty eastern hills",
    "dun crake",
    "</script><b>evil</b>",
)
PHRASES = (
    "<img src=x onerror=alert(1)> & 50 % #more",
    "no tail",
    "an orange bill",
    *(f"part {d}" for d in range(36)),
    "a few <spots>",
)


def made_up(seed: int, name: str) -> tuple[dict[str, Any], Model, Prediction, np.ndarray]:
    """A part of a page, its model, what the page says, and the pictures' classes."""
    rng, world = np.random.default_rng(seed), np.random.default_rng(7)
    labels = (np.arange(PICTURES) * 7 % len(CLASSES)).astype(np.int32)
    present = (world.random((len(CLASSES), CONCEPTS)) < 0.4)[labels]
    present ^= world.random(present.shape) < 0.1
    activations = (present * 3.0 + rng.normal(0, 1.2, present.shape)).astype(np.float32)
    truth = present.astype(np.float32)
    truth[:, 5:9] = np.nan
    head = rng.normal(size=(len(CLASSES), CONCEPTS)) * (rng.random((len(CLASSES), CONCEPTS)) < 0.3)
    for k in range(len(CLASSES)):
        head[k] += 0.8 * (activations[labels == k].mean(0) - activations.mean(0)) * (head[k] != 0)
    bias = np.linspace(-1, 1, len(CLASSES), dtype=np.float32)
    params = {"head.kernel": head.T.astype(np.float32), "head.bias": bias}
    embeddings = rng.normal(size=(PICTURES, 8)).astype(np.float32)
    logits = activations @ params["head.kernel"] + params["head.bias"]
    record = fit_calibration(activations, labels, activations, logits, labels, truth, truth)
    said = Prediction.of(logits, CLASSES, activations, activations, activations, record)
    trust = fit_familiarity(embeddings, labels, embeddings, said.class_probabilities, labels)
    path = {"nec": [2.0, 8.0, 20.0], "valid_top1": [0.4, 0.7, 0.8]}
    model = Model(
        config=BottleneckConfig(),
        params=params,
        input_map=InputMap(None, np.zeros(8, np.float32)),
        concepts=ConceptSet.from_phrases(PHRASES),
        concept_embeddings=rng.normal(size=(CONCEPTS, 8)).astype(np.float32),
        classes=CLASSES,
        encoder_name="made up",
        encoder_hash="0" * 64,
        logit_scale=1.0,
        logit_bias=0.0,
        metrics={"path": path, "chosen_nec": 8.0},
        calibration=record,
        familiarity=trust,
    )
    said = dataclasses.replace(said, image_embeddings=embeddings, trust=trust)
    heat = packed(np.eye(12)[None] * 255, "uint8")
    part = model_part(
        model,
        said,
        labels,
        name=name,
        truth_NxD=truth,
        metrics={"top1_at_nec_5": 0.6, "top1_at_nec_10": 0.7},
        maps=[{"picture": 2, "concepts": [3], "values": heat}],
    )
    return part, model, shown_prediction(model, said, quantised(activations)), labels


@pytest.fixture(scope="session")
def first():
    return made_up(0, "first")


def written(parts: list[dict[str, Any]], labels: np.ndarray, file: Path) -> Path:
    """A page of all pictures."""
    colours = np.random.default_rng(1).integers(0, 255, (PICTURES, 3))
    pictures = (Image.new("RGB", (32, 24), tuple(map(int, colour))) for colour in colours)
    names = [f"{CLASSES[k].replace('/', '')}/{n:03d}.png" for n, k in enumerate(labels)]
    small = list(thumbnails(pictures))
    payload = explorer_payload("made up", names, small, labels, CLASSES, parts)
    file.write_text(page_of(payload), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def explorer(first, tmp_path_factory) -> Path:
    """A page of two models."""
    file = tmp_path_factory.mktemp("explorer") / "explorer.html"
    return written([first[0], made_up(1, "second")[0]], first[3], file)


@pytest.fixture(scope="session")
def unsure(first, tmp_path_factory) -> Path:
    """A page of a model that had too few validation images to know what is unfamiliar."""
    part, model, said, labels = first
    trust = dataclasses.replace(model.familiarity, valid_distances=np.ones(18, np.float32))
    model = dataclasses.replace(model, familiarity=trust)
    said = dataclasses.replace(said, trust=trust)
    part = model_part(model, said, labels, name="unsure")
    return written([part], labels, tmp_path_factory.mktemp("explorer") / "unsure.html")


@pytest.fixture(scope="session")
def bare(first, tmp_path_factory) -> Path:
    """A page of a model that was saved without what its numbers mean, on pictures of no class."""
    model = dataclasses.replace(first[1], calibration=None, familiarity=None, metrics={})
    said = dataclasses.replace(first[2], calibration=None, trust=None)
    labels = np.full(PICTURES, -1, np.int32)
    part = model_part(model, said, labels, name="bare")
    return written([part], labels, tmp_path_factory.mktemp("explorer") / "bare.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Of a module: while the driver lives, no test of its process can use asyncio.run."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install the extra `browser`"
    )
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(names)} is installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found)
        yield opened
        opened.close()


@pytest.fixture
def page(watched) -> Iterator[Any]:
    """A tab that fails the test on any complaint and on any request but for the file itself."""
    with watched("file:") as tab:
        yield tab


@pytest.fixture
def watched(browser) -> Callable[[str], AbstractContextManager[Any]]:
    """Opens a tab that fails on any complaint, and on a request to another address."""
    return partial(_watched, browser)


@contextmanager
def _watched(browser, own: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    tab, complaints = context.new_page(), []
    tab.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    tab.on(
        "request",
        lambda request: (
            request.url.startswith((own, "data:", "blob:"))
            or complaints.append(f"request: {request.url}")
        ),
    )
    tab.set_default_timeout(10_000)
    yield tab
    context.close()
    assert not complaints
