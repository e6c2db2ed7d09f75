"""Shops of a few rows, put down by hand, for the laws of the data contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from recsys.data.contract import Checked, check
from recsys.domain.schema import Schema
from recsys.domain.source import Source
from recsys.domain.tables import Tables

LENIENT = Source(max_quarantined_share=1.0)
OPENS = datetime(2026, 5, 1, 10, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def sales(**columns: object) -> pl.DataFrame:
    given: dict[str, object] = {
        "sale": ["a", "b"],
        "opens_at": [OPENS, OPENS],
        "closes_at": [OPENS + timedelta(days=2)] * 2,
    }
    return pl.DataFrame(given | columns)


def events(*rows: tuple[object, ...], **columns: object) -> pl.DataFrame:
    """Rows are member, sale, kind, hours after the opening; a sound row is put before them."""
    sound = ("m0", "a", "view", 1.0)
    member, sale, kind, hours = zip(sound, *rows, strict=True)
    at = [OPENS + timedelta(hours=float(str(hour))) for hour in hours]
    frame = pl.DataFrame({"member": member, "sale": sale, "kind": kind, "at": at}, strict=False)
    return frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})  # type: ignore[arg-type]


def shop(**tables: object) -> Tables:
    given: dict[str, object] = {
        "name": "shop",
        "zone": "Europe/Paris",
        "schema": Schema(),
        "sales": sales(),
        "events": events(),
    }
    return Tables(**(given | tables))  # type: ignore[arg-type]


def checked(**tables: object) -> Checked:
    return check(shop(**tables), LENIENT, now=NOW)


def reasons(of: Checked, table: str = "events") -> list[str]:
    found = of.quarantine.filter(pl.col("table") == table)
    return found["reason"].to_list()


def balanced(of: Checked) -> bool:
    return all(
        rows == of.rows_kept[table] + sum(of.counts[table].values())
        for table, rows in of.rows_in.items()
    )
