"""A small model, its server in this process, and pictures to send."""

import asyncio
import base64
import io
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

import jaxcbm
from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.model.model import make_model
from jaxcbm.model.texts import Texts
from jaxcbm.serve.app import make_app
from jaxcbm.serve.limits import Limits
from jaxcbm.serve.server import listen
from jaxcbm.serve.server import run as run_server
from jaxcbm.serve.service import Service, compute_of, make_service
from jaxcbm.training.calibrate import calibrate

PHRASES = ["an amber glow", "a blue tint", "a coral <b>hue</b>", "something else"]


def small_model(pictures: Path, encoder_folder: Path) -> jaxcbm.Model:
    """Untrained, on an encoder with random weights, and calibrated on pictures."""
    encoder, folders = jaxcbm.load_encoder(encoder_folder), sorted(pictures.iterdir())
    config, width, classes = BottleneckConfig(), encoder.embed_dim, [each.name for each in folders]
    _, params = build_bottleneck(config, width, len(PHRASES), len(classes), seed=3)
    rows_DxE = np.random.default_rng(0).standard_normal((len(PHRASES), width), np.float32)
    rows_DxE /= np.linalg.norm(rows_DxE, axis=1, keepdims=True)
    scale = encoder.logit_scale
    texts = Texts(tuple(PHRASES), tuple(classes), rows_DxE, None, scale, encoder.logit_bias)
    concepts, no_map = ConceptSet.from_phrases(PHRASES), InputMap(None, np.zeros(width, np.float32))
    params = {name: np.asarray(value) for name, value in params.items()}
    model = make_model(encoder, concepts, texts, config, params, no_map)
    files = [(file, k) for k, each in enumerate(folders) for file in sorted(each.iterdir())]
    embeddings = encoder.embed_images([file for file, _ in files])
    features = Features.from_arrays(embeddings, [k for _, k in files], classes=classes)
    return calibrate(model, features, features)


@contextmanager
def served(model: jaxcbm.Model, max_batch: int = 4, **limits: Any) -> Iterator[Service]:
    """A service that is ready, and its thread ended after."""
    service = make_service(model, Limits(**limits), max_batch)
    assert service.batcher.ready.wait(60)
    try:
        yield service
    finally:
        service.batcher.stop()
        service.decoder.close()


def before_each_batch(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> None:
    """Have something done in the device's thread before it computes."""

    def wrapped(model: jaxcbm.Model) -> Callable[[np.ndarray], Any]:
        compute = compute_of(model)

        def after(pixels: np.ndarray) -> Any:
            work()
            return compute(pixels)

        return after

    monkeypatch.setattr("jaxcbm.serve.service.compute_of", wrapped)


@contextmanager
def listening(service: Service, drain: float = 0.0) -> Iterator[int]:
    """The port of a server in a thread of its own, which ends after."""
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        arguments = make_app(service, ("127.0.0.1",)), service, listener, "", drain
        thread = threading.Thread(target=run_server, args=arguments)
        thread.start()
        try:
            yield port
        finally:
            service.stopping = True
            thread.join(30)
            assert not thread.is_alive()


def ask(
    service: Service,
    work: Callable[[httpx.AsyncClient], Awaitable[Any]],
    hosts=("localhost",),
    address: str = "127.0.0.1",
) -> Any:
    """What comes of some work with a client of the service's application."""

    async def run() -> Any:
        app = make_app(service, hosts)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 1))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=60
        ) as client:
            return await work(client)

    return asyncio.run(run())


def post(service: Service, path: str = "/v1/predict", **request: Any) -> httpx.Response:
    return ask(service, lambda client: client.post(path, **request))


def picture_bytes(seed: int, kind: str = "PNG") -> bytes:
    """A small picture like none of another seed."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(12, 40, 2)
    pixels = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


PICTURE = picture_bytes(0)
PNG = {"content-type": "image/png"}


def form(*seeds: int) -> dict:
    return {"files": [("image", (f"{seed}.png", picture_bytes(seed))) for seed in seeds]}


def as_json(*seeds: int) -> dict:
    encoded = [(seed, base64.b64encode(picture_bytes(seed)).decode()) for seed in seeds]
    return {"json": {"images": [{"name": f"{seed}.png", "data": data} for seed, data in encoded]}}


def raw(seed: int) -> dict:
    return {"content": picture_bytes(seed), "headers": PNG, "params": {"name": f"{seed}.png"}}


def counted(service) -> dict[tuple, float]:
    """Every sample by its name and the values of its labels, those by their names."""
    families = text_string_to_metric_families(get(service, "/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, *(s.labels[name] for name in sorted(s.labels))): s.value for s in samples}


def requests_of(service, method: str, route: str, status: int) -> float:
    return counted(service).get(("jaxcbm_requests_total", method, route, str(status)), 0)


def get(service, path, **request) -> httpx.Response:
    return ask(service, lambda client: client.get(path, **request))
