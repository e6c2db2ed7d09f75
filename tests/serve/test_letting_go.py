"""A bundle that has been replaced is let go of at once: its files can leave the disk."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Generator
from pathlib import Path

import pytest

from recsys.domain.dataset import Dataset
from recsys.serve.bundle import publish_bundle
from recsys.serve.client import Client
from tests.serve.asking import Service
from tests.serve.conftest import parts_of
from tests.serve.started import running


@pytest.fixture(name="_no_collector")
def _without_collector() -> Generator[None]:
    """What is let go of here is let go of by itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_nothing_that_was_asked_keeps_a_bundle_that_was_replaced(
    root: Path, dataset: Dataset
) -> None:
    service = Service(root)
    asked = (
        ("/v1/recommend", {"member": "m0003"}),
        ("/v1/recommend", {"features": {"region": "x"}}),
        ("/v1/recommend/batch", {"members": ["m0003", "nobody"]}),
        ("/v1/explain", {"member": "m0003", "sale": "s0001"}),
        ("/v1/similar", {"sale": "s0001", "scope": "archive"}),
        ("/v1/similar", {"of": "members", "member": "m0003"}),
    )
    for path, body in asked:
        assert service.post(path, **body).status_code == 200
    for path in ("/v1/shelf", "/v1/bundle", "/metrics", "/", "/readyz"):
        assert service.client.get(path).status_code == 200
    before = weakref.ref(service.live.generation)
    bundle = weakref.ref(service.live.generation.bundle)
    publish_bundle(parts_of(dataset, seed=2), root)
    assert service.live.look()
    assert (before(), bundle()) == (None, None)


def files_of(process: int, generation: str) -> int:
    """Count the files of a generation that a process has mapped."""
    lines = Path(f"/proc/{process}/maps").read_text(encoding="utf-8").splitlines()
    return sum(f"/{generation}/" in line for line in lines)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not say")
def test_a_running_service_lets_go_of_the_files_of_its_first_bundle(
    root: Path, dataset: Dataset
) -> None:
    with running(root) as service, Client(service.url) as client:
        first = client.ready()["generation"]
        assert files_of(service.child.pid, first) > 10
        second = publish_bundle(parts_of(dataset, seed=2), root).name
        deadline = time.monotonic() + 20
        while client.ready()["generation"] != second or files_of(service.child.pid, first):
            assert time.monotonic() < deadline, "the first bundle is still mapped"
            time.sleep(0.02)
        assert files_of(service.child.pid, second) > 10
