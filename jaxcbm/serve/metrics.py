"""What is counted, in the form that Prometheus reads."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from jaxcbm.serve.batcher import Batch, Batcher

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one server.

    Labels are taken from routes, statuses and batch sizes alone: a client cannot make new ones.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter(
            "jaxcbm_requests",
            "Requests that were answered; status 499: the client had left.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "jaxcbm_request_seconds",
            "From the end of a request's header to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._pictures = Counter(
            "jaxcbm_pictures",
            "Pictures that were answered or could not be read.",
            ("outcome",),
            registry=registry,
        )
        self._batches = Counter(
            "jaxcbm_batches", "Batches that were computed.", ("size",), registry=registry
        )
        self._rows = Counter(
            "jaxcbm_batch_pictures",
            "Pictures in those batches; the rest of their rows is filling.",
            ("size",),
            registry=registry,
        )
        self._batch_seconds = Counter(
            "jaxcbm_batch_seconds", "Time that those batches took.", ("size",), registry=registry
        )
        self._under_way = Gauge(
            "jaxcbm_pictures_under_way", "Pictures that have a place.", registry=registry
        )
        self._ready = Gauge(
            "jaxcbm_ready", "Whether requests are taken: 0 or 1.", registry=registry
        )
        for outcome in ("answered", "unreadable"):
            self._pictures.labels(outcome)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def pictures(self, answered: int, unreadable: int) -> None:
        """Count what became of a request's pictures."""
        self._pictures.labels("answered").inc(answered)
        self._pictures.labels("unreadable").inc(unreadable)

    def batch(self, batch: Batch) -> None:
        """Count a batch."""
        size = str(batch.size)
        self._batches.labels(size).inc()
        self._rows.labels(size).inc(batch.count)
        self._batch_seconds.labels(size).inc(batch.seconds)

    def watch(self, batcher: Batcher) -> None:
        """Read the gauges from a batcher whenever somebody asks."""
        self._under_way.set_function(lambda: batcher.under_way)

    def text(self, ready: bool) -> bytes:
        """All of it, as `/metrics` says it."""
        self._ready.set(ready)
        return generate_latest(self._registry)
