"""What a run prints stands in run.json too, as numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from recsys.evaluate.spec import Evaluate
from recsys.runs.console import clock
from recsys.runs.promise import fault
from tests.runs.conftest import Trained

pytestmark = pytest.mark.slow


def day(text: str) -> str:
    return f"{date.fromisoformat(text):%d %b %Y}".lstrip("0")


def lines_of(facts: dict[str, Any]) -> Iterator[str]:
    """Write what run.json holds the way the console writes it."""
    data, task, test = facts["data"], facts["task"], facts["test"]
    yield f"recsys {facts['recsys']}   "
    yield from facts["said"]
    yield f"device   {facts['device']['kind']}, {facts['device']['threads']} thread"
    yield f"{day(data['first'])} to {day(data['last'])}"
    yield f"{data['members']:,} members, {data['sales']:,} sales, {data['events']:,} events"
    aside = sum(rows for reasons in data["set_aside"].values() for rows in reasons.values())
    yield f"{data['rows_read']:,} rows read, {aside:,} set aside"
    ends = [f"{name} to {day(end)[:-5]}" for name, end in task["split"].items()]
    yield f"by time: {', '.join(ends[:3])},"
    yield ", ".join(ends[3:])
    yield f"requests {', '.join(f'{rows:,}' for rows in task['requests'].values())}"
    features = task["features"]
    yield f"{features['of_a_sale']} fields a sale, {features['of_a_member']} a member, "
    yield f"{features['share_a_row']:.1%} share a row"
    parts = facts["memory"]["parts"]
    room = facts["memory"]["room"] / 2**30
    yield f"memory   about {sum(parts.values()) / 2**20:.0f} MB of {room:.1f} GB "
    yield from (f"{name} {size / 2**20:.0f} MB" for name, size in parts.items())
    for epoch, row in facts["epochs"].items():
        best = "best" if row["best"] else "    "
        yield (
            f" {epoch:>5}  {row['loss']:>6.3f}   {row['val/ndcg_at_10']:>9.4f} {best}"
            f"{row['val/recall_at_10']:>19.4f}{row['requests_per_second']:>13,.0f}"
            f"{clock(row['seconds']):>8}"
        )
    yield f"{day(test['first'])} to {day(test['last'])}: {test['requests']:,} requests"
    for scorer, metrics in test["scorers"].items():
        yield f"  {scorer} "
        for figure in metrics.values():
            yield f"{figure['value']:.4f} ± {(figure['high'] - figure['low']) / 2:.4f}"
    yield f"  report   {facts['report']}"
    yield f"  bundle   bundles/{facts['bundle']} "


NO_FACT = (
    r" epoch    loss .*",
    r"( +[a-z]+_at_\d+)+",
    r" ± half of a 95 % interval.*",
    r"  (recsys|python) .*",
    r"done in \d:\d\d",
)
"""Lines with digits that tell nothing of this run which `lines_of` could compare."""


def test_run_json_tells_everything_printed(trained: Trained) -> None:
    facts = json.loads((trained.run / "run.json").read_text())
    printed = trained.said.stdout
    held = list(lines_of(facts))
    assert [text for text in held if text not in printed] == []
    known = re.compile("|".join(f"(?:{pattern})" for pattern in NO_FACT))
    silent = [
        line
        for line in printed.splitlines()
        if re.search(r"\d", line) and not known.fullmatch(line)
        if not any(text in line for text in held)
    ]
    assert silent == []
    assert f"done in {clock(facts['seconds'])}" in printed


def test_the_figures_in_run_json_are_those_of_the_report(trained: Trained) -> None:
    facts = json.loads((trained.run / "run.json").read_text())
    judged = json.loads((trained.run / "report.json").read_text())["report"]["scorers"]
    for scorer, metrics in facts["test"]["scorers"].items():
        for metric, figure in metrics.items():
            of_report = judged[scorer][facts["test"]["slice"]][metric]
            assert figure["value"] == pytest.approx(of_report["value"], abs=1e-9)


def test_a_gate_may_ask_for_every_figure_that_a_report_holds(trained: Trained) -> None:
    scorers = json.loads((trained.run / "report.json").read_text())["report"]["scorers"]
    assert {"taste", "slates", "oracle"} <= scorers.keys()
    asked = {
        f"{scorer}:{where}/{metric}>popular"
        for scorer, slices in scorers.items()
        for where, metrics in slices.items()
        for metric in metrics
    }
    refused = [
        require
        for require in asked
        if fault(
            Evaluate.model_construct(
                **{**Evaluate().model_dump(), "require": require},
            ),
            slots=6,
            known_truth=True,
            outcome_hours=48.0,
            spectral=False,
        )
    ]
    assert refused == []
