"""Write what runs really printed into README.md: `python docs/tables.py RUN [RUN ...]`.

The first run's log.txt goes between the markers `demo`, and the report.json of every run named
becomes a table between the markers of its data set's name.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[1] / "README.md"
SHOWN = 9
"""Rows of a table: ours, then the best baselines."""
OURS = ("taste", "slates")
TRUTH = ("visible_oracle", "oracle")


def main(runs: list[Path]) -> None:
    """Fill the markers and say which were filled."""
    text = README.read_text(encoding="utf-8")
    log = (runs[0] / "log.txt").read_text(encoding="utf-8")
    text = filled(text, "demo", f"```\n$ make demo\n{log.rstrip()}\n```")
    for run in runs:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        name = report["facts"]["name"]
        if f"<!-- {name}:start -->" in text:
            text = filled(text, name, table(report["report"]))
    README.write_text(text, encoding="utf-8")


def filled(text: str, marker: str, body: str) -> str:
    """Replace what stands between a marker's start and end."""
    pattern = re.compile(f"(<!-- {marker}:start -->\n).*?(<!-- {marker}:end -->)", re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"README.md has no marker {marker!r}")
    return pattern.sub(lambda found: f"{found[1]}{body}\n{found[2]}", text)


def table(report: dict[str, Any]) -> str:
    """Write ours and the best baselines by the headline, each with its interval."""
    where, _, metric = report["headline"].rpartition("/")
    scorers, where = report["scorers"], where or "all"
    metrics = [metric, "recall_at_10", "ndcg_at_6"]
    known = {n: s[where][metric]["value"] for n, s in scorers.items() if metric in s.get(where, {})}
    rivals = sorted((n for n in known if n not in OURS + TRUTH), key=lambda n: -known[n])
    names = [
        *(n for n in OURS if n in scorers),
        *rivals[:SHOWN],
        *(n for n in TRUTH if n in scorers),
    ]
    requests = scorers["taste"][where][metric]["n"]
    lines = [
        f"| {where}, {requests:,} requests | " + " | ".join(metrics) + " |",
        "|---|" + "---|" * len(metrics),
    ]
    for name in names:
        cells = [cell(scorers[name].get(where, {}).get(m)) for m in metrics]
        lines.append(f"| {label(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(estimate: dict[str, float] | None) -> str:
    """Write a figure with half of its interval."""
    if estimate is None:
        return "-"
    return f"{estimate['value']:.4f} ± {(estimate['high'] - estimate['low']) / 2:.4f}"


def label(name: str) -> str:
    """Name a scorer for readers."""
    plain = name.replace("_", " ")
    return (
        f"**{plain}** (ours)" if name in OURS else f"*{plain}* (truth)" if name in TRUTH else plain
    )


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
