"""What is asked of Ray, and whether it keeps to that; skipped where the extra is not installed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.domain.errors import SettingError
from recsys.runs import extras
from recsys.runs.executor import Ray, run
from recsys.runs.ray_environment import environment
from tests.runs.starting import ROOT
from tests.runs.working import Squares

RAY = Ray(tasks=2)


def test_a_library_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    monkeypatch.setattr("recsys.runs.executor.environment", lambda _address: None)
    with pytest.raises(SettingError, match=r"needs ray.*\n.*noon-recsys\[ray\]"):
        list(run(RAY, Squares(str(tmp_path)), [1]))


def test_our_own_cluster_has_a_token_of_its_own_and_stays_on_loopback() -> None:
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    environment(None, first)
    environment(None, second)
    assert first["RAY_AUTH_MODE"] == "token"
    assert first["RAY_USAGE_STATS_ENABLED"] == "0"
    assert first["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert len(first["RAY_AUTH_TOKEN"]) == 64
    assert first["RAY_AUTH_TOKEN"] != second["RAY_AUTH_TOKEN"]


def test_a_cluster_of_others_has_their_token_and_is_never_without_one() -> None:
    known = {"RAY_AUTH_TOKEN_PATH": "token.txt", "RAY_AUTH_MODE": "disabled"}
    environment("10.0.0.1:6379", known)
    assert known["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in known
    environment(None, known)
    assert "RAY_AUTH_TOKEN" not in known


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    for name in ("RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED", "RAY_IGNORE_UNHANDLED_ERRORS"):
        monkeypatch.setenv(name, "")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(SettingError, match=f"nobody listens at {address}"):
        list(run(Ray(address=address), Squares(str(tmp_path)), [1]))


ON_RAY = """
import os, signal, sys
from contextlib import nullcontext
from pathlib import Path
from recsys.domain.errors import RecsysError
from recsys.runs.executor import Ray, run
from recsys.runs.ray_environment import environment
from tests.runs import working

environment(None)
import ray
from recsys.runs import on_ray

def listening():
    inodes = {line.split()[9]: line.split()[1].partition(":")[0] for name in ("tcp", "tcp6")
              for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
              if line.split()[3] == "0A"}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == os.getsid(0):
                held = [os.readlink(fd)[8:-1] for fd in process.glob("fd/*")]
                yield from (inodes[one] for one in held if one in inodes)
        except OSError:
            pass

folder, before = Path(sys.argv[1]), signal.getsignal(signal.SIGTERM)
with on_ray.cluster(None, 2) as room:
    print(ray.util.get_node_ip_address(), signal.getsignal(signal.SIGTERM) is before)
    print(*sorted(set(listening())))
    on_ray.cluster = lambda *_: nullcontext(room)
    work = working.Squares(str(folder), deadly=frozenset({2, 5}))
    print(sorted(run(Ray(tasks=2), work, range(8))))
    for work in (working.refuses, working.breaks, working.always_dies):
        try:
            list(run(Ray(tasks=2), work, [3]))
        except (RecsysError, RuntimeError) as error:
            line = -1 if work is working.breaks else 0
            print(type(error).__name__, str(error).splitlines()[line])
"""


@pytest.mark.slow
def test_on_ray_it_is_the_same_with_nobody_listening_beyond_loopback(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    script = tmp_path / "driver.py"
    script.write_text(ON_RAY)
    said = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        start_new_session=True,
    )
    lines = [line for line in said.stdout.splitlines() if "(raylet)" not in line]
    node, listening, squared, *errors = lines
    assert node == "127.0.0.1 True"
    # 127.0.0.1, bare and as an address of version 6
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert set() < set(listening.split()) <= loopback
    assert squared == str([(number, number**2) for number in range(8)])
    assert errors == [
        "DataRefusedError no member 3",
        "RuntimeError ZeroDivisionError: of 3",
        "NoRoomError 3 was the death of 5 workers (WorkerCrashedError)",
    ]
    assert [len(list(tmp_path.glob(f"{n}.*"))) for n in range(8)] == [1, 1, 2, 1, 1, 2, 1, 1]
