from __future__ import annotations

import json
import re

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from recsys.evaluate import tradeoff
from recsys.serve.bundle import open_bundle
from tests.runs.conftest import Trained
from tests.runs.starting import verb

pytestmark = pytest.mark.slow
CELL = r" +\d+\.\d ±\d+\.\d"


def test_a_run_keeps_what_its_dial_costs_and_so_does_its_bundle(trained: Trained) -> None:
    rows = tradeoff.kept(trained.run)
    assert rows is not None
    assert set(rows["way"]) == {"boost", "slots"}
    spec = yaml.safe_load((trained.run / "config.yaml").read_text())["rerank"]
    assert rows.filter("published")["setting"].to_list() == [spec["novelty"]]
    assert rows["value_kept"][0] == 1
    dial = open_bundle(trained.bundle).parts.dial
    assert dial is not None
    assert dial.equals(rows)


def test_every_way_is_tried_printed_and_kept(copied: Trained) -> None:
    short = tradeoff.kept(copied.run)
    said = verb(copied.folder, "pareto")
    assert (said.returncode, said.stderr) == (0, "")
    lines = said.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = tradeoff.kept(copied.run)
    assert rows is not None
    assert set(rows["way"]) == {
        "boost", "slots", "price", "picks", "mmr", "dpp", "ssd", "calibrated"
    }  # fmt: skip
    figures = [line for line in lines if re.fullmatch(rf"  \S.*?{CELL * 5}", line)]
    assert len(figures) == rows.height
    assert sum(" * " in line for line in figures) == rows["published"].sum() == 3
    # the dial and the kept places are as the run had judged them
    assert short is not None
    # up to the rounding of sums that another number of threads cuts elsewhere
    assert_frame_equal(rows.filter(pl.col("way").is_in(["boost", "slots"])), short, rel_tol=1e-5)
    run = f"runs/{copied.run.name}"
    assert f"  written  {run}/pareto.parquet\n" in said.stdout
    assert f"  report   {run}/report.html: what novelty costs\n" in said.stdout
    assert "what editors' picks cost" in (copied.run / "report.html").read_text()
    again = verb(copied.folder, "refresh", f"run={run}", "quiet=true")
    assert again.returncode == 0, again.stderr
    dial = open_bundle(copied.folder / again.stdout.strip()).parts.dial
    assert dial is not None
    assert dial.equals(rows)


@pytest.mark.parametrize("name", ["CURRENT", "bundle", "folder"])
def test_a_run_is_found_by_what_other_verbs_call_it(copied: Trained, name: str) -> None:
    called = {"bundle": copied.bundle.name, "folder": f"runs/{copied.run.name}"}.get(name, name)
    said = verb(copied.folder, "pareto", f"run={called}")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"  run      runs/{copied.run.name}\n")


def test_what_cannot_be_swept_is_named(copied: Trained) -> None:
    nobody = verb(copied.folder, "pareto", "run=nobody")
    assert (nobody.returncode, nobody.stdout) == (4, "")
    assert "no run 'nobody' in runs" in nobody.stderr
    facts = copied.run / "run.json"
    known = json.loads(facts.read_text())
    facts.write_text(json.dumps(known | {"data_fingerprint": "another"}))
    moved = verb(copied.folder, "pareto")
    assert moved.returncode == 3
    assert "learned from data another, its source now holds" in " ".join(moved.stderr.split())
    del known["bundle"]
    facts.write_text(json.dumps(known))
    without = verb(copied.folder, "pareto")
    assert without.returncode == 4
    assert f"finish it: python train.py resume=runs/{copied.run.name}" in without.stderr


def test_a_broken_table_of_a_run_is_named_by_refresh(copied: Trained) -> None:
    (copied.run / tradeoff.FILE).write_bytes(b"no parquet")
    said = verb(copied.folder, "refresh")
    assert said.returncode == 4
    assert "pareto.parquet is no table of settings" in said.stderr
    assert "make it again: recsys pareto run=" in said.stderr
