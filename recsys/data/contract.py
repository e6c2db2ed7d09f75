"""Raw tables in, a checked dataset out: in = kept + quarantined, for every table, always."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from recsys.data.build import build
from recsys.data.features import columns_of, permitted
from recsys.data.rules import KINDS, LAYOUTS, REASONS
from recsys.data.sieve import ORIGIN, Sieve
from recsys.domain.dataset import Dataset
from recsys.domain.errors import DataRefusedError
from recsys.domain.schema import Schema
from recsys.domain.source import Source
from recsys.domain.tables import Tables

NEVER_EMPTY = ("sales", "members", "events")
ONE_TRUTH = ("sales", "members")
"""Tables whose rows are facts of their own: two contents for one id stop the run."""
QUARANTINE = "quarantine.parquet"


@dataclass(frozen=True)
class Checked:
    """What the contract made of a source, and what it set aside."""

    dataset: Dataset
    quarantine: pl.DataFrame
    """table, reason, column, value (first 200 characters), source_file, source_row (from 1)."""
    counts: Mapping[str, Mapping[str, int]]
    """table -> reason -> rows set aside."""
    rows_in: Mapping[str, int]
    rows_kept: Mapping[str, int]
    warnings: tuple[str, ...]
    """What was read in a way a person should know of, with counts."""


def check(
    tables: Tables, source: Source, *, folder: Path | None = None, now: datetime | None = None
) -> Checked:
    """Return the dataset of all rows that keep the contract; the others go into quarantine.

    `folder` is where quarantine.parquet is written, even when the run then stops.

    Raises:
        DataRefusedError: A table, column or id cannot be used, or too many rows were set aside.
    """
    latest = (now or datetime.now(UTC)) + timedelta(days=1)
    schema, notes = permitted(tables.schema, source)
    sieves: dict[str, Sieve] = {}
    for table, layout in LAYOUTS.items():
        raw: pl.DataFrame | None = getattr(tables, table)
        if raw is None:
            continue
        sieve = _read(table, raw, tables=tables, schema=schema)
        sieve.judge(layout, latest)
        notes += _judge_across(sieve, sieves, source)
        sieve.drop_repeats(layout)
        sieves[table] = sieve
    quarantine = pl.concat([sieve.quarantine() for sieve in sieves.values()])
    if folder is not None:
        _write(quarantine, folder)
    counts = {table: _counts(quarantine, table) for table in sieves}
    rows_in = {table: sieve.raw.height for table, sieve in sieves.items()}
    _refuse(quarantine, rows_in=rows_in, source=source, folder=folder)
    kept = {table: sieve.kept.drop("_row") for table, sieve in sieves.items()}
    doubled = sum(sieve.doubled for sieve in sieves.values())
    if doubled:
        notes += (f"{doubled:,} local times occur twice (autumn): read as the first",)
    dataset, more = build(kept, tables, schema=schema, source=source)
    return Checked(
        dataset=dataset,
        quarantine=quarantine,
        counts=counts,
        rows_in=rows_in,
        rows_kept={table: frame.height for table, frame in kept.items()},
        warnings=notes + more,
    )


def write_quarantine(checked: Checked, folder: Path) -> Path:
    """Write quarantine.parquet, readable by its owner alone: it holds raw input."""
    return _write(checked.quarantine, folder)


def _write(quarantine: pl.DataFrame, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / QUARANTINE
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    quarantine.write_parquet(path)
    return path


def _read(table: str, raw: pl.DataFrame, *, tables: Tables, schema: Schema) -> Sieve:
    """Read a table's columns, after a look at whether they are there."""
    layout = LAYOUTS[table]
    file = _file(raw)
    if not raw.height and table in NEVER_EMPTY:
        raise DataRefusedError(
            f"the {table} are empty{file}", "without rows there is nothing to learn from"
        )
    features = columns_of(schema, table)
    wanted = [column.name for column in layout.columns if column.required]
    if table == "sales" and tables.task == "shelf":
        wanted.append("opens_at")
    for name in [*wanted, *(column.name for column in features)]:
        if name not in raw.columns:
            raise DataRefusedError(f"{table} have no column '{name}'{file}", *_columns(raw, name))
    roles = {column.name: column for column in (*features, *layout.columns)}
    roles |= {name: replace(roles[name], required=True) for name in wanted}
    return Sieve.of(table, raw, tuple(roles.values()), zone=tables.zone)


def _columns(raw: pl.DataFrame, name: str) -> tuple[str, ...]:
    has = [column for column in raw.columns if column not in ORIGIN]
    near = difflib.get_close_matches(name, has, n=1)
    meant = f"        did you mean '{near[0]}'?" if near else ""
    return (
        f"it has: {', '.join(has)}{meant}",
        f"map yours in the data config: columns: {{{name}: YOURS}}",
        "or let me write it: recsys init path=FOLDER",
    )


def _file(raw: pl.DataFrame) -> str:
    if "source_file" not in raw.columns or not raw.height:
        return ""
    return f" ({raw['source_file'][0]})"


def _judge_across(sieve: Sieve, done: Mapping[str, Sieve], source: Source) -> tuple[str, ...]:
    """Set aside rows that do not fit to another table; return what a person should know."""
    if sieve.table not in {"events", "exposures", "curation", "stock"}:
        return ()
    notes: tuple[str, ...] = ()
    if sieve.table == "events":
        identities = done["identities"].kept if "identities" in done else None
        sieve.kept, notes = _resolve(sieve.kept, identities)
    sales = done["sales"].kept.select("sale", "opens_at", "closes_at", known=pl.lit(True))
    met = sieve.kept.join(sales, on="sale", how="left", maintain_order="left")
    unknown = pl.col("sale").is_not_null() & pl.col("known").is_null()
    outside = _outside(source) if sieve.table == "events" else pl.lit(value=False)
    mark = pl.when(unknown).then(pl.lit("unknown_sale|sale"))
    mark_all = mark.when(outside).then(pl.lit("outside_sale|at"))
    sieve.set_aside(met.select(mark_all.alias("mark"))["mark"])
    return notes


def _outside(source: Source) -> pl.Expr:
    """Say which events lie before their sale opened or, if purchases, after it closed.

    A wait list is what there is before the opening.
    """
    opens = pl.col("opens_at") - timedelta(hours=source.preview_hours)
    early = (pl.col("at") < opens) & (pl.col("kind") != "wait_list")
    closed = pl.col("closes_at") + timedelta(hours=source.grace_hours)
    return early | ((pl.col("at") >= closed) & (pl.col("kind") == "purchase"))


def _resolve(
    events: pl.DataFrame, identities: pl.DataFrame | None
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Turn ids of channels into members; ids that nobody claims become members of their own."""
    if not events["id_source"].is_not_null().any():
        return events, ()
    if identities is None:
        identities = pl.DataFrame(schema=dict.fromkeys(("source", "id", "member"), pl.String))
    claimed = identities.select("source", "id", pl.col("member").alias("whose"))
    met = events.join(
        claimed,
        left_on=["id_source", "member"],
        right_on=["source", "id"],
        how="left",
        maintain_order="left",
    )
    foreign = pl.col("id_source").is_not_null()
    alone = foreign & pl.col("whose").is_null()
    ids = met.filter(alone).select(pl.struct("id_source", "member").n_unique()).item()
    own = pl.concat_str("id_source", pl.lit(":"), "member")
    member = pl.when(alone).then(own).when(foreign).then("whose").otherwise("member")
    notes = (f"{ids:,} ids of channels belong to no member: kept as members of their own",)
    return met.with_columns(member.alias("member")).drop("whose"), notes if ids else ()


def _counts(quarantine: pl.DataFrame, table: str) -> dict[str, int]:
    found = quarantine.filter(pl.col("table") == table).group_by("reason").len()
    counted: dict[str, int] = dict(zip(found["reason"], found["len"], strict=True))
    return {reason: counted[reason] for reason in REASONS if reason in counted}


def _refuse(
    quarantine: pl.DataFrame,
    *,
    rows_in: Mapping[str, int],
    source: Source,
    folder: Path | None,
) -> None:
    """Stop where ids contradict themselves or too many rows were set aside."""
    for table, rows in rows_in.items():
        aside = quarantine.filter((pl.col("table") == table) & (pl.col("reason") != "duplicate"))
        conflicts = aside.filter(pl.col("reason") == "conflict")
        where = f"all kept in {folder / QUARANTINE}" if folder is not None else ""
        if table in ONE_TRUTH and conflicts.height:
            raise DataRefusedError(
                f"{conflicts.height:,} rows of the {table} contradict others of the same id"
                " (conflict)",
                _examples(conflicts),
                f"keep one row an id. {where}".strip(),
            )
        if aside.height > source.max_quarantined_share * rows:
            worst = aside["reason"].mode(maintain_order=True)[0]
            broken = aside.filter(pl.col("reason") == worst)
            share = math.ceil(1e4 * aside.height / rows) / 1e4
            raise DataRefusedError(
                f"{aside.height:,} of {rows:,} rows of the {table} set aside"
                f" (over {100 * source.max_quarantined_share:.4g} %)",
                f"{broken.height:,} are {worst}; a good row: {REASONS[worst]}{_meant(broken)}",
                _examples(broken),
                f"mend them, or let them go: data.max_quarantined_share={share:.4g}",
                *([where] if where else []),
            )


def _meant(broken: pl.DataFrame) -> str:
    value = broken["value"][0]
    near = difflib.get_close_matches(value or "", KINDS, n=1)
    if broken["reason"][0] != "unknown_kind" or not near:
        return ""
    return f" ('{value}': did you mean '{near[0]}'?)"


def _examples(broken: pl.DataFrame) -> str:
    rows = broken.head(3).to_dicts()
    shown = (
        f"row {row['source_row']}"
        + (f", {row['column']} {row['value']!r}" if row["column"] else "")
        for row in rows
    )
    file = broken["source_file"][0]
    return f"first: {'; '.join(shown)}" + (f" ({file})" if file else "")
