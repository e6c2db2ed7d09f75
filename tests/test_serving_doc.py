"""docs/serving.md: its lines are answered, its tables are those of the code and of deploy/."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys.serve.bundle import Bundle, open_bundle, publish_bundle
from recsys.serve.guard import NEEDS
from recsys.serve.keys import SCOPES
from recsys.serve.metrics import Facts, Metrics
from recsys.serve.spec import Serve
from tests.builders import tiny_dataset
from tests.serve.asking import Service
from tests.serve.conftest import parts_of
from tests.serve.started import started
from tests.serve.test_guard import key

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
CURLS = [line for line in PAGE.splitlines() if line.startswith("curl ")]
IDS = {"m000042": "m0003", "m000043": "m0004", "s01195": "s0070"}
"""Ids of the page -> those of the tests' bundle."""


def here(text: str) -> str:
    for ours, theirs in IDS.items():
        text = text.replace(ours, theirs)
    return text


@pytest.fixture(scope="module", name="bundle")
def _bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    dataset = tiny_dataset(members=60, days=10, sales_a_day=8)
    return open_bundle(publish_bundle(parts_of(dataset), tmp_path_factory.mktemp("bundles")))


@pytest.mark.parametrize("line", CURLS, ids=[f"{n} {one[8:60]}" for n, one in enumerate(CURLS)])
def test_a_line_of_curl_is_answered(bundle: Bundle, tmp_path: Path, line: str) -> None:
    path = tmp_path / "keys.json"
    held = key(path, *SCOPES)
    service = Service(bundle.folder.parent, keys=path, feedback=str(tmp_path / "told"))
    words = shlex.split(here(line))
    (url,) = [word for word in words if word.startswith("http://")]
    assert url.startswith("http://127.0.0.1:8000/")
    sent = dict(pairwise(words))
    name, _, value = sent.get("-H", "").partition(": ")
    asked = {name: value.replace("$KEY", held["Authorization"].partition(" ")[2])} if name else {}
    method = "POST" if "-d" in sent else sent.get("-X", "GET")
    answer = service.client.request(method, url, headers=asked, content=sent.get("-d"))
    assert answer.status_code in {200, 202}, answer.text


def test_every_route_but_the_pages_has_its_line() -> None:
    shown = {word.partition(":8000")[2] for line in CURLS for word in line.split() if "://" in word}
    assert shown >= set(NEEDS) - {"/"} | {
        "/v1/shelf",
        "/v1/bundle",
        "/metrics",
        "/livez",
        "/readyz",
    }


@pytest.mark.slow
def test_the_client_on_the_page_runs(bundle: Bundle, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    ast.parse(code)
    spec = Serve(bundles_dir=str(bundle.folder.parent), port=0, feedback=str(tmp_path / "told"))
    with started(spec) as service:
        ran = subprocess.run(
            [sys.executable, "-c", here(code).replace("http://127.0.0.1:8000", service.url)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(ROOT)},
        )
    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "told").glob("events-*.csv"))) == 1
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["1", "2", "3"]


def table(below: str) -> list[list[str]]:
    """The cells of the first table below a title, its head left out."""
    part = PAGE.partition(below)[2]
    rows = re.findall(r"^\|(.*)\|$", part, re.MULTILINE)
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in rows]
    return cells[2:]


def rules() -> list[dict[str, Any]]:
    said = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = said["groups"][0]["rules"]
    return found


def test_the_alerts_of_the_page_are_those_of_the_file() -> None:
    shown = [row for row in table("## What to watch") if row[0].startswith("Recsys")]
    wanted = [
        [one["alert"], f"`{one['expr']}`".replace("|", r"\|"), one.get("for", "at once")]
        for one in rules()
    ]
    assert shown == wanted
    assert len(wanted) == 5


def test_the_settings_on_the_page_are_there_with_their_defaults() -> None:
    spec = Serve().model_dump()
    named = set(re.findall(r"`serve\.([a-z_]+)", PAGE))
    assert named
    assert named <= set(spec)
    for said, value in re.findall(r"`serve\.([a-z_]+)`[^0-9|.]{1,4}([0-9,]+)", PAGE):
        number = float(value.replace(",", ""))
        assert spec[said] in {number, number * 2**20}, said


def test_the_errors_on_the_page_are_those_of_the_code() -> None:
    told = {name for row in table("## A refusal") for name in re.findall(r"`([a-z_]+)`", row[1])}
    code = "\n".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "recsys" / "serve").glob("*.py")
    )
    raised = set(re.findall(r"RefusedError\(\s*\d{3},\s*\"([a-z_]+)\"", code))
    assert raised <= told
    for name in told:
        assert f'"{name}"' in code, name


def test_alerts_speak_of_metrics_that_there_are() -> None:
    metrics = Metrics()
    metrics.watch(lambda: Facts("g", "m", 1.0, 1.0, {"Error": 1}))
    for labelled in (metrics.requests.labels("/v1/recommend", "200"), metrics.fallback.labels("x")):
        labelled.inc()
    metrics.seconds.labels("/v1/recommend").observe(0.1)
    there = {
        re.split(r"[ {]", line)[0]
        for line in metrics.text().decode().splitlines()
        if line[0] != "#"
    } | {"up"}
    for rule in rules():
        named = set(re.findall(r"\b(?:recsys_\w+|up)\b", rule["expr"].replace('"recsys"', "")))
        assert named
        assert named <= there, rule["alert"]
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert rule["annotations"]["summary"]
