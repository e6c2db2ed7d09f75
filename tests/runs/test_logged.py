"""A whole run that a logger hears of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.starting import environment, only
from tests.towers.diaries import needing, settings

REACHED = """
import socket, sys

reached = []
socket.socket.connect = socket.socket.connect_ex = lambda self, at: reached.append(at)
socket.getaddrinfo = lambda *at, **more: reached.append(at)

from recsys.runs.cli import start

start(["train", "debug=fdr", "trainer.threads=1", "trainer.logger=mlflow", "quiet=true"])

import mlflow.telemetry

print(reached, mlflow.telemetry.get_telemetry_client())
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*noload.*:DeprecationWarning")
@pytest.mark.parametrize("logger", [needing("mlflow")])
def test_a_run_that_mlflow_hears_of_reaches_for_no_network(tmp_path: Path, logger: str) -> None:
    # MLflow tells of nobody where it sees one of these
    plain = environment(tmp_path).items()
    outside = {k: v for k, v in plain if k not in {"CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST"}}
    ran = subprocess.run(
        [sys.executable, "-c", REACHED],
        cwd=tmp_path,
        env=outside,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1] == "[] None"
    run = only(tmp_path, "runs/2*")
    assert settings(run, logger)["run"] == run.name
    assert settings(run, logger)["data.size"] == "small"
    assert {path.name for path in tmp_path.iterdir()} == {"offline", "runs", "bundles"}
