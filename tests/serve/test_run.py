from __future__ import annotations

import json
import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recsys.domain.dataset import Dataset
from recsys.domain.errors import MissingArtefactError, PortTakenError
from recsys.serve import run
from recsys.serve.bundle import publish_bundle
from recsys.serve.client import Client, ServiceError
from recsys.serve.run import serve
from recsys.serve.spec import Serve
from tests.serve.conftest import parts_of
from tests.serve.started import running, send

KNOWN = "m0003"


class Crowd:
    """Three callers who ask without a pause until they leave."""

    def __init__(self, url: str) -> None:
        self.asked = self.mixed = 0
        self.failed: list[ServiceError] = []
        self.generations: set[str] = set()
        self._url, self._done = url, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        client = Client(self._url, tries=1)
        while not self._done.is_set():
            try:
                slates = client.batch([KNOWN, "nobody"], slots=4)
            except ServiceError as error:
                self.failed.append(error)
                break
            generations = {slate.generation for slate in slates}
            self.asked += 1
            self.mixed += len(generations) != 1
            self.generations |= generations
        client.close()


def until(client: Client, generation: str) -> None:
    deadline = time.monotonic() + 20
    while client.ready()["generation"] != generation:
        assert time.monotonic() < deadline, "the new bundle never answered"
        time.sleep(0.02)


@pytest.mark.slow
def test_it_swaps_under_requests_refuses_damage_by_name_and_drains(
    root: Path, dataset: Dataset
) -> None:
    with running(root, drain_grace_seconds=0.5) as service:
        assert service.heavy == []
        crowd = Crowd(service.url)
        client = Client(service.url)
        for seed in range(2, 7):
            until(client, publish_bundle(parts_of(dataset, seed=seed), root).name)
        last = client.ready()["generation"]
        bad = publish_bundle(parts_of(dataset, seed=9), root, make_current=False)
        (bad / "sales" / "vectors.npy").chmod(0o644)
        with (bad / "sales" / "vectors.npy").open("r+b") as file:
            file.seek(300)
            file.write(b"\x00\x01\x02")
        (root / "draft").write_text(f"{bad.name}\n")
        (root / "draft").replace(root / "CURRENT")
        time.sleep(0.5)
        assert client.ready()["generation"] == last
        crowd.leave()
        assert crowd.failed == []
        assert crowd.mixed == 0
        assert crowd.asked > 50
        assert len(crowd.generations) >= 5
        client.close()
        code, log = service.stop()
        assert code == 0
        refusals = [line["what"] for line in log if line["event"] == "reload_failed"]
        assert {line["level"] for line in log if line["event"] == "reload_failed"} == {"warning"}
        assert len(refusals) == 1
        assert "vectors.npy was changed" in refusals[0]
        assert log[-1]["event"] == "stopped"
        assert KNOWN not in json.dumps(log)


@pytest.mark.slow
def test_told_to_stop_it_says_so_first_and_finishes_what_it_accepted(root: Path) -> None:
    with running(root, drain_grace_seconds=1.0) as service:
        client = Client(service.url, tries=1)
        client.batch([KNOWN])
        service.child.send_signal(signal.SIGTERM)
        seen, answered = False, 0
        deadline = time.monotonic() + 0.8
        while time.monotonic() < deadline:
            answered += len(client.batch([KNOWN]))
            try:
                client.ready()
            except ServiceError as error:
                seen = seen or error.error == "draining"
        client.close()
        assert seen
        assert answered > 5
        assert service.child.wait(20) == 0


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_a_killed_service_answers_the_same_again(root: Path) -> None:
    with running(root) as service:
        client = Client(service.url)
        before = client.batch([KNOWN, "nobody"])
        client.close()
        service.child.kill()
        service.child.communicate()
    with running(root) as service:
        client = Client(service.url)
        assert client.batch([KNOWN, "nobody"]) == before
        assert client.similar(sale="s0001", k=3, scope="archive")
        with pytest.raises(ServiceError, match="unknown_sale"):
            client.similar(sale="nothing")
        client.close()
        code, _ = service.stop(signal.SIGINT)
        assert code == 0


def test_a_port_that_is_taken_is_said_before_a_bundle_is_opened(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} of 127.0.0.1 is taken") as caught:
            serve(Serve(port=port, bundles_dir=str(tmp_path)))
    assert caught.value.code == 6


def test_without_a_bundle_it_does_not_listen(tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError, match="nothing to use"):
        serve(Serve(port=0, bundles_dir=str(tmp_path)))


def test_a_client_without_a_service_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}", tries=1)
    with pytest.raises(ServiceError, match="no_answer"):
        client.recommend("m1")


def test_people_are_greeted_before_the_log_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(run, "tell", lambda event, **_: told.append(event))
    up: Any = SimpleNamespace(url="", bundle=SimpleNamespace(generation=""), seconds=1.0)
    run._say(up, lambda _: told.append("greeting"))
    assert told == ["greeting", "listening"]


@pytest.mark.slow
def test_beyond_its_connections_it_says_so_and_who_leaves_makes_room(root: Path) -> None:
    with running(root, connections=3) as service:
        host, port = service.url.removeprefix("http://").split(":")
        with ExitStack() as door:
            for _ in range(2):
                door.enter_context(socket.create_connection((host, int(port))))
            asked = b"GET /v1/shelf HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            head, _, body = send(service.url, asked).partition(b"\r\n\r\n")
            alive = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            assert send(service.url, alive).startswith(b"HTTP/1.1 200")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in head.lower()
        assert json.loads(body)["error"] == "overloaded"
        deadline = time.monotonic() + 10
        while not send(service.url, alive.replace(b"livez", b"readyz")).startswith(b"HTTP/1.1 200"):
            assert time.monotonic() < deadline, "nobody is let in"
