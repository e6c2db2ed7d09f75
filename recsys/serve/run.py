"""Open, verify, warm up, then listen; turn with the pointer, drain when told to stop."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from recsys.campaign.arms import read_experiment
from recsys.domain.errors import PortTakenError
from recsys.serve.bundle import Bundle, open_bundle
from recsys.serve.http import app
from recsys.serve.keys import Keys
from recsys.serve.leaving import CLOSE, heard_out, let_in
from recsys.serve.live import Live
from recsys.serve.recommender import Recommender
from recsys.serve.spec import Serve, instant
from recsys.serve.watch import log_to_stderr, tell
from recsys.serve.wire import wire
from recsys.serve.workers import Crew

LEAVING_SECONDS = 5.0
"""How long a worker may take to end once it has finished what was in flight."""
SWITCH_SECONDS = 0.0005
"""How long the loop may keep the search thread waiting for the interpreter, a tenth of Python's
own: a flood that is refused does not starve what was let in."""
WARNINGS = frozenset({"reload_failed", "keys_not_read", "worker_died"})


@dataclass(frozen=True)
class Listening:
    """What a person wants to know when the service is up."""

    url: str
    bundle: Bundle
    seconds: float
    """From the start to the first request that could be answered."""


def load(spec: Serve, folder: Path) -> Recommender:
    """Open a bundle, check it, and make one slate so that the first caller does not wait.

    Raises:
        ArtefactError: it cannot be used.
        SettingError: the file of an experiment is not there, or says none.
    """
    at = None if spec.at is None else instant(spec.at)
    arms = None if spec.arms is None else read_experiment(Path(spec.arms))
    recommender = Recommender(open_bundle(folder), None if at is None else lambda: at, arms)
    recommender.recommend(recommender.bundle.parts.members.ids[:1].tolist(), slots=spec.slots)
    return recommender


def serve(spec: Serve, *, ready: Callable[[Listening], None] | None = None) -> None:
    """Answer until told to stop; `ready` is called once the service listens.

    SIGTERM drains, Ctrl-C stops after what is in flight, SIGHUP looks for a new bundle at once.

    Raises:
        SettingError: the file of keys is not there, or others may read it.
        PortTakenError: another process listens there.
        ArtefactError: no bundle, or none that can be used.
    """
    log_to_stderr()
    keys = None if spec.keys is None else Keys(Path(spec.keys), said=heard)
    if spec.workers > 1:
        _serve_with_workers(spec, ready)
    else:
        with _bound(spec) as listener:
            _answer(spec, listener, keys, ready=lambda listening: _say(listening, ready))
    tell("stopped")


def _answer(
    spec: Serve,
    listener: socket.socket,
    keys: Keys | None,
    *,
    ready: Callable[[Listening], None],
    worker: int | None = None,
) -> None:
    """Answer until told to stop; `worker` is the number of this process among several."""
    started = time.perf_counter()
    live = Live(spec, lambda folder: load(spec, folder), said=heard)
    seconds = time.perf_counter() - started
    made = app(live, spec, keys, worker=worker)

    def listens() -> None:
        # made here and not kept: it would hold the first bundle for good
        ready(Listening(_url(listener), live.generation.bundle, seconds))

    server = _Server(live, spec, made, ready=listens)
    _listen(listener, spec)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # what was opened stays: looking at it again and again would keep callers waiting
    live.start()
    try:
        server.run(sockets=[listener])
    finally:
        made.state.close()
        live.stop()


def _serve_with_workers(spec: Serve, ready: Callable[[Listening], None] | None) -> None:
    """Keep several processes answering on one port; the system hands each its callers.

    What keeps a worker from starting ends the command here, before there is one.
    """
    started = time.perf_counter()
    with _bound(spec) as alone:  # fails where others listen, whoever they share the port with
        spec = spec.model_copy(update={"port": alone.getsockname()[1]})
    with _bound(spec, shared=True) as held:  # the port stays ours while workers come and go
        first = [Live(spec, lambda folder: load(spec, folder), said=heard).generation.bundle]
        crew = Crew(spec.workers, partial(_work, spec), said=heard)

        def listens() -> None:
            # told once: the one who watches workers answers nothing, and needs no bundle
            _say(Listening(_url(held), first.pop(), time.perf_counter() - started), ready)

        patience = spec.drain_grace_seconds + spec.drain_seconds + LEAVING_SECONDS
        crew.keep(listens, patience=patience)


def _work(spec: Serve, number: int, says: Connection) -> None:
    """Answer as one of several."""
    log_to_stderr()
    keys = None if spec.keys is None else Keys(Path(spec.keys), said=heard)
    with _bound(spec, shared=True) as listener:
        ready = f"worker {number}"
        _answer(spec, listener, keys, ready=lambda _: says.send(ready), worker=number)


class _Server(uvicorn.Server):
    """uvicorn with our way of stopping: go on accepting for a while, then finish, then exit 0."""

    def __init__(
        self,
        live: Live[Recommender],
        spec: Serve,
        made: FastAPI,
        *,
        ready: Callable[[], None],
    ) -> None:
        # its layers alone: FastAPI would look for telemetry at each request
        super().__init__(
            uvicorn.Config(
                made.middleware_stack or made,
                lifespan="off",
                ws="none",
                http=wire(spec.body_seconds),
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=spec.connections,
                timeout_keep_alive=spec.keep_alive_seconds,
                timeout_graceful_shutdown=spec.drain_seconds,
            )
        )
        self._live, self._spec, self._ready = live, spec, ready
        self._stop_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell whoever waits for it."""
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Hear SIGTERM, SIGINT and SIGHUP while serving; put back what heard them before."""
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # ruff: ignore[unused-method-argument]  # uvicorn's
        """Drain and stop, stop at once when asked again, or look for a new bundle (SIGHUP)."""
        if sig == signal.SIGHUP:
            self._live.wake()
            return
        again = self._live.draining
        self._live.draining = True
        grace = self._spec.drain_grace_seconds if sig == signal.SIGTERM and not again else 0.0
        self._stop_at = time.monotonic() + grace
        self.force_exit = again and sig == signal.SIGINT

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop: the time to go on accepting is over, or uvicorn says so."""
        told = await super().on_tick(counter)
        if self._stop_at is None:
            return told
        self.server_state.default_headers = [*self.config.encoded_headers, CLOSE]
        return told or time.monotonic() >= self._stop_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let in who stands at the door, hear what they ask, and then stop as uvicorn does."""
        made: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        state, lifespan = self.server_state, self.lifespan.state

        def close() -> None:
            for server in self.servers:
                server.close()

        await let_in(sockets or [], close, lambda: made(self.config, state, lifespan))
        await heard_out(state.connections)
        await super().shutdown(sockets)


def heard(event: str, what: str) -> None:
    """Log what became of a new bundle; one that could not be opened is a warning."""
    if event == "reloaded":
        gc.unfreeze()  # what was opened first is looked at again, and can go
    level = logging.WARNING if event in WARNINGS else logging.INFO
    tell(event, level=level, what=what)


def _say(listening: Listening, ready: Callable[[Listening], None] | None) -> None:
    if ready is not None:
        ready(listening)
    tell(
        "listening",
        url=listening.url,
        generation=listening.bundle.generation,
        seconds=round(listening.seconds, 3),
    )


@contextmanager
def _bound(spec: Serve, *, shared: bool = False) -> Generator[socket.socket]:
    """Take the port before the bundle is opened, so that a taken one is said at once.

    A shared one is taken by several processes of one user.
    """
    family = socket.AF_INET6 if ":" in spec.host else socket.AF_INET
    # TCP by name: asyncio sends answers at once only on sockets that say so
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with _taken(spec):
            listener.bind((spec.host, spec.port))
        yield listener


def _listen(listener: socket.socket, spec: Serve) -> None:
    with _taken(spec):
        listener.listen(spec.connections)


@contextmanager
def _taken(spec: Serve) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise
        why = "is taken" if error.errno == errno.EADDRINUSE else "may not be used by you"
        raise PortTakenError(
            f"port {spec.port} of {spec.host} {why}",
            "name another: serve.port=8001        or any free one: serve.port=0",
        ) from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
