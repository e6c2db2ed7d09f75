"""The data contract alone: counts per rule, three sample rows each."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recsys.data.contract import Checked
from recsys.runs import tell
from recsys.runs.console import Console
from recsys.runs.prepare import prepare
from recsys.runs.spec import Check

SAMPLES = 3


def check(spec: Check) -> None:
    """Hold a source to the contract and say what was kept and set aside.

    Raises:
        DataRefusedError: too many rows break a rule; quarantine.parquet is written all the same.
    """
    console = Console()
    prepared = prepare(spec.data, folder=Path(spec.out))
    tell.data(console, prepared)
    tables(console, prepared.checked)
    for warning in prepared.notes:
        console.fact("note", warning)
    if prepared.checked.quarantine.height:
        console.fact("all kept", f"{spec.out.rstrip('/')}/quarantine.parquet")


def tables(console: Console, checked: Checked) -> None:
    """Print in = kept + set aside for each table, and three rows of each rule that was broken."""
    rows = [["table", "rows", "kept", "set aside"]]
    for table, read in checked.rows_in.items():
        kept = checked.rows_kept[table]
        rows.append([table, f"{read:,}", f"{kept:,}", f"{read - kept:,}"])
    console.table(rows)
    for (table, reason), group in checked.quarantine.group_by(
        "table", "reason", maintain_order=True
    ):
        console.line(f"  {table} {reason}: {group.height:,}")
        shown = group.head(SAMPLES).select(
            pl.format(
                "    row {} of {}: {} = {}",
                pl.col("source_row").fill_null(-1),
                pl.col("source_file").fill_null("the source"),
                pl.col("column").fill_null("row"),
                pl.col("value").fill_null("null").str.slice(0, 40),
            )
        )
        for line in shown.to_series().to_list():
            console.line(line)
