"""What is set for libraries before they are imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from recsys.runs.environment import before_imports

NAMES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "THP_MEM_ALLOC_ENABLE",
)


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        # set first, so that it is put back whatever the test leaves
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("unset")
def test_what_is_unset_is_set() -> None:
    before_imports(1)
    assert [os.environ[name] for name in NAMES] == ["1", "1", "1", "PASSIVE", "1"]


@pytest.mark.usefixtures("unset")
def test_what_a_person_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "own")
    before_imports(1)
    assert {os.environ[name] for name in NAMES} == {"own"}


@pytest.mark.usefixtures("unset")
def test_as_many_threads_as_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8}, raising=False)
    before_imports()
    assert os.environ["OMP_NUM_THREADS"] == "3"


ALIGNED = """
from recsys.runs.environment import before_imports
before_imports()
import torch
print({torch.ones(1 << 20).data_ptr() % 4096 for _ in range(8)})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="torch knows large pages on Linux alone")
@pytest.mark.parametrize(("asked", "aligned"), [("1", True), ("0", False)])
def test_torch_reads_it(asked: str, aligned: bool) -> None:
    environment = dict(os.environ) | {"THP_MEM_ALLOC_ENABLE": asked}
    told = subprocess.run(
        [sys.executable, "-c", ALIGNED], env=environment, capture_output=True, text=True, check=True
    )
    # tensors that fill a large page begin at a page, others where the heap has room
    assert (told.stdout.strip() == "{0}") is aligned
