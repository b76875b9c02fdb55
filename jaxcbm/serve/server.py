"""A server that can be told to stop, and connections that may not stay for nothing."""

import asyncio
import contextlib
import functools
import gc
import ipaddress
import socket
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import uvicorn
from absl import logging
from uvicorn.protocols.http.h11_impl import H11Protocol

from jaxcbm.errors import UserError
from jaxcbm.serve.limits import Limits
from jaxcbm.serve.service import Service

_BACKLOG = 1024
_LAST_PORT = 65535
_KEEP_ALIVE_SECONDS = 10
# A request may be on its way through a connection on which none is known of.
_LAST_SECONDS = 1.0


class _Connection(H11Protocol):
    """A connection that is closed when a request's header does not come in time.

    Uvicorn waits for one as long as it takes.
    """

    def __init__(self, *args: Any, limits: Limits, **options: Any):
        super().__init__(*args, **options)
        self._limits = limits
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore
        super().connection_made(transport)
        client = transport.get_extra_info("socket")
        # A head and a body are two writes: the second would wait 40 ms for the first one's receipt.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A client that takes no answer is left by the system.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = int(1000 * self._limits.seconds)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        if len(self.connections) > self._limits.connections:
            transport.abort()
        else:
            self._await_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._header_timer is None:
            self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server is about to end: answer what is under way, and what a client has just sent."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_SECONDS, self._shut_down)
        else:
            super().shutdown()

    def _shut_down(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _await_header(self) -> None:
        seconds = self._limits.header_seconds
        self._header_timer = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


class _Server(uvicorn.Server):
    """A server that goes on for a while when it is told to stop.

    Meanwhile it says that it is not ready, and that each connection ends with its answer, so that
    nobody's next request is on its way when the connections are closed.
    """

    def __init__(self, config: uvicorn.Config, service: Service, drain: float):
        super().__init__(config)
        self._service, self._drain = service, drain
        self._end: float | None = None
        self._frozen = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: the first asks, the second hurries."""
        self.force_exit = self.should_exit
        self.should_exit = self._service.stopping
        self._service.stopping = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        now = time.monotonic()
        if self._service.batcher.ready.is_set() and not self._frozen:
            # What libraries and programs made lives to the end: in profiles, looking through it for
            # garbage was a tenth of the event loop's time.
            self._frozen = True
            gc.collect()
            gc.freeze()
        if self._service.stopping and self._end is None:
            self._end = now + self._drain
        over = self._end is not None and now >= self._end
        failed = self._service.batcher.failure is not None
        self.should_exit = self.should_exit or over or failed
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners, with nobody between the system's queue and ours."""
        waiting = [client for listener in sockets or () for client in _accept_all(listener)]
        for server in self.servers:
            server.close()
        taken = asyncio.ensure_future(self._take(waiting))
        await super().shutdown(sockets)
        await taken

    async def _take(self, clients: Sequence[socket.socket]) -> None:
        loop, kind = asyncio.get_running_loop(), self.config.http_protocol_class
        how = {"config": self.config, "server_state": self.server_state, "app_state": {}}
        make = functools.partial(kind, **how, _loop=loop)  # pyright: ignore[reportCallIssue]

        for client in clients:
            _, connection = await loop.connect_accepted_socket(make, client)
            connection.shutdown()  # pyright: ignore[reportAttributeAccessIssue]


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """Those who were let in by the system and not yet by us; closing would reset them."""
    with contextlib.suppress(BlockingIOError):
        while True:
            client, _ = listener.accept()
            client.setblocking(False)
            yield client


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: the port is taken, or the host is none of this machine's.
    """
    if port > _LAST_PORT:
        raise UserError(f"--port={port}: the last port is {_LAST_PORT}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UserError(f"--host={host} --port={port}: {error.strerror or error}") from error


def is_loopback(host: str) -> bool:
    """Whether a host is reached from this machine alone.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(app: Any, service: Service, listener: socket.socket, proxy: str, drain: float) -> None:
    """Serve until SIGTERM or SIGINT; what was taken by then is answered.

    Args:
        app: of the service.
        service: whose device thread is stopped at the end.
        listener: from `listen`.
        proxy: address whose word on a client's address is taken; "" for nobody's.
        drain: seconds to go on after the signal.

    Raises:
        UserError: the model cannot be compiled or run on this device.
    """
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=functools.partial(_Connection, limits=service.limits),  # pyright: ignore
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxy),
        forwarded_allow_ips=proxy,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(service.limits.seconds) + 1,
    )
    server = _Server(config, service, drain)
    try:
        server.run(sockets=[listener])
    finally:
        gc.unfreeze()
    service.batcher.stop()
    service.decoder.close()
    if service.batcher.failure is not None:
        raise UserError(f"the model does not run here: {service.batcher.failure}")
    logging.info("stopped; nothing is left unanswered")
