"""A folder of tables in, a proposed mapping with the reason for each line out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.data.cast import read
from recsys.data.look import Look, looks, time_format
from recsys.data.pairing import Found, Link, sort_out
from recsys.data.roles import SURE, is_constant, kinds_of, known_kinds, roles_of
from recsys.data.shapes import feature_of
from recsys.data.spec import TablesSource
from recsys.data.words import CATEGORY_WORDS, LATER, PRIVATE, fit
from recsys.domain.events import DAY

LOG_OF_PURCHASES = ("value", "quantity")
"""A log without kinds that has one of these tells of purchases."""
Settings = dict[str, Any]


@dataclass(frozen=True)
class Guess:
    """A mapping that can be run as it is, and why each of its lines says what it says."""

    source: TablesSource
    why: Mapping[str, str]
    """Dotted name of a setting -> the reason, one line."""
    notes: tuple[str, ...]
    """What a person should look at first."""


def guess(folder: Path) -> Guess:
    """Propose which file and column is what, out of names, types and values.

    Raises:
        DataRefusedError: There is no table, one cannot be read, or none looks like events.
    """
    found = sort_out(looks(folder))
    why: dict[str, str] = {
        "zone": "CHANGE THIS: where your noon is, as in Europe/Paris or America/New_York"
    }
    events = _events(found, why)
    settings: Settings = {"zone": "UTC", "events": events}
    for table, link in (("sales", found.sales), ("members", found.members)):
        made = (
            _linked(table, link, why)
            if link
            else _out_of_the_log(table, found, events=events, why=why)
        )
        if made:
            settings[table] = made
    settings |= _category(found, settings, why)
    settings |= _task(found, settings, why)
    settings |= _share(found, events["columns"], why)
    notes = tuple(f"{path} is not used" for path in found.others)
    notes += _left_over(found.events, settings)
    return Guess(source=TablesSource.model_validate(settings), why=why, notes=notes)


def _left_over(log: Look, settings: Settings) -> tuple[str, ...]:
    """Name the columns of the log that nothing is made of."""
    of_log = [
        one
        for one in (settings["events"], settings.get("sales"), settings.get("members"))
        if one and one["path"] == log.path
    ]
    used = {their for one in of_log for their in one["columns"].values()}
    used |= {feature["column"] for one in of_log for feature in one.get("features", ())}
    free = [name for name in log.names if name not in used]
    return (f"not used of {log.path}: {', '.join(free)}",) if free else ()


def to_yaml(guess: Guess, name: str) -> str:
    """Write a guess as configs/data/NAME.yaml, each line with its reason."""
    # what the guess did not set has its default, and need not be read
    said = guess.source.model_dump(exclude_unset=True, mode="json")
    lines = [
        f"# configs/data/{name}.yaml, written by: recsys init",
        *(f"# {note}" for note in guess.notes),
        "kind: tables",
        *_lines({"name": name} | said, guess.why, ""),
    ]
    return "\n".join(lines) + "\n"


def _lines(said: Mapping[str, Any], why: Mapping[str, str], place: str) -> Iterator[str]:
    indent = "  " * place.count(".")
    for name, value in said.items():
        where = f"{place}{name}"
        reason = f"  # {why[where]}" if where in why else ""
        key = name if name.isidentifier() else json.dumps(name, ensure_ascii=False)
        if isinstance(value, Mapping):
            yield f"{indent}{key}:{reason}"
            yield from _lines(value, why, f"{where}.")
        else:
            yield f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}{reason}"


def _events(found: Found, why: dict[str, str]) -> Settings:
    """Map the log; `why` gets the reasons."""
    log = found.events
    columns = roles_of("events", log, {"member": found.member, "sale": found.sale})
    made: Settings = {"path": log.path, "columns": columns}
    _tell("events", log, columns, why=why)
    if "kind" in columns:
        made |= _kinds(log.head[columns["kind"]], why)
    elif any(our in columns for our in LOG_OF_PURCHASES):
        made["kind"], made["lines"] = "purchase", True
        why["events.kind"] = "no column says what a member did, and money was spent"
        why["events.lines"] = "lines of one member, sale and time become one purchase"
    else:
        made["kind"] = "view"
        why["events.kind"] = "CHANGE THIS if it was no view: no column says what a member did"
    return made | _written("events", log, columns, why=why)


def _kinds(values: pl.Series, why: dict[str, str]) -> Settings:
    """Say what the words of a log mean; where we know hardly one, all have to be looked at."""
    kinds, unknown = kinds_of(values)
    if unknown and known_kinds(values) > SURE:
        why["events.columns.kind"] = f"no kind of ours, to be set aside: {', '.join(unknown)}"
    elif unknown:
        kinds |= dict.fromkeys(unknown, "view")
        why |= {
            f"events.kinds.{word}": "CHANGE THIS: nobody told what it means" for word in unknown
        }
    return {"kinds": kinds} if kinds else {}


def _linked(table: str, link: Link, why: dict[str, str]) -> Settings:
    """Map a table that the log's ids point at; further columns are features."""
    key = "sale" if table == "sales" else "member"
    columns = roles_of(table, link.other, {key: link.key})
    made: Settings = {"path": link.other.path, "columns": columns}
    _tell(table, link.other, columns, why=why)
    why[f"{table}.columns.{key}"] = f"the events' {link.column} holds ids of it"
    free = [name for name in link.other.names if name not in columns.values()]
    ignored = [name for name in free if PRIVATE.search(name) or LATER.search(name)]
    if ignored:
        made["ignore"] = ignored
        why[f"{table}.ignore"] = "who somebody is, or what was known only later"
    used = [_described(link.other.head[name]) for name in free if name not in ignored]
    if used:
        why[f"{table}.path"] = f"features: {', '.join(used)}"
    return made | _written(table, link.other, columns, why=why)


def _out_of_the_log(
    table: str, found: Found, *, events: Settings, why: dict[str, str]
) -> Settings | None:
    """Describe sales (or members) by the columns of the log that are the same in all their rows."""
    log = found.events
    key, id_column = ("sale", found.sale) if table == "sales" else ("member", found.member)
    taken = {*events["columns"].values()}
    columns = {key: id_column}
    if table == "sales":
        titles = roles_of("sales", log, columns)
        columns |= {our: titles[our] for our in ("title", "brand", "price") if our in titles}
    taken |= {*columns.values()}
    described = [
        _named(log.head[name])
        for name in log.names
        if name not in taken
        and name not in log.times
        and not PRIVATE.search(name)
        and is_constant(log, name, id_column)
    ]
    if len(columns) == 1 and not described:
        return None
    made: Settings = {"path": log.path, "columns": columns, "distinct": True}
    why[f"{table}.distinct"] = f"no table of {table}: the first row of each id describes it"
    if described:
        made["features"] = described
        why[f"{table}.features"] = f"one value for each {key} in nearly all rows"
    return made | _written(table, log, columns, why=why)


def _written(
    table: str, look: Look, columns: Mapping[str, str], *, why: dict[str, str]
) -> Settings:
    """Say how times and columns are written where it is not the usual way."""
    made: Settings = {}
    written = [their for their in columns.values() if look.times.get(their)]
    if written:
        # 4/5/2026 alone tells nothing: a column beside it may have a 4/25/2026
        form = time_format(*map(look.column, written))
        made["time_format"] = form or look.times[written[0]]
        why[f"{table}.time_format"] = (
            "reads every time looked at; check day and month"
            if form
            else f"CHANGE THIS: {' and '.join(written)} are written in different ways"
        )
    if look.delimiter != ",":
        made["delimiter"] = look.delimiter
    return made


def _category(found: Found, settings: Settings, why: dict[str, str]) -> Settings:
    """Choose the column that groups sales, if one is called so."""
    sales: Settings = settings.get("sales", {})
    free = [feature["column"] for feature in sales.get("features", ())]
    if found.sales is not None:
        free = [name for name in found.sales.other.names if name not in sales["columns"].values()]
    named = max(free, key=lambda name: fit(name, CATEGORY_WORDS), default="")
    if not fit(named, CATEGORY_WORDS) or named in sales.get("ignore", ()):
        return {}
    why["category"] = "groups sales in reports and in the mix of a slate"
    return {"category": named}


def _task(found: Found, settings: Settings, why: dict[str, str]) -> Settings:
    """Choose shelf or endless by whether sales open, and windows that fit the span of events."""
    if "opens_at" in settings.get("sales", {}).get("columns", {}):
        return {}
    at = settings["events"]["columns"]["at"]
    span = _span_days(found.events, at)
    outcome = max(1, min(28, span // 12))
    why["cadence"] = "nothing says when a sale opens: nothing ever closes"
    why["outcome_hours"] = f"the events span {span} days"
    why["shelf_hours"] = "on offer is what somebody engaged with in these hours"
    return {
        "cadence": "engagement",
        "outcome_hours": 24.0 * outcome,
        "shelf_hours": 24.0 * max(2, min(30, span // 4)),
    }


def _span_days(log: Look, at: str) -> int:
    values, form = log.column(at), log.times[at]
    if form is not None:
        values = values.str.strptime(pl.Datetime("us"), form, strict=False)
    at_us = read(values, "time", "UTC").values.dt.timestamp("us").drop_nulls().to_numpy()
    return int(np.ptp(at_us) // DAY) if len(at_us) else 0


def _share(found: Found, columns: Mapping[str, str], why: dict[str, str]) -> Settings:
    """Let rows without an id or with a negative amount go where they are many, and say so."""
    # where kinds are told, visits and opened mails rightly have no sale
    needed = ("member",) if "kind" in columns else ("member", "sale")
    ids = [found.events.column(columns[our]) for our in needed]
    amounts = [found.events.column(columns[our]) for our in LOG_OF_PURCHASES if our in columns]
    missing = pl.any_horizontal(*(pl.lit(column.is_null()) for column in ids))
    below = [column.cast(pl.Float64, strict=False) < 0 for column in amounts]
    negative = pl.any_horizontal(pl.lit(value=False), *(pl.lit(column) for column in below))
    rows = pl.select(missing.alias("missing"), negative.alias("negative"))
    either = rows.select((pl.col("missing") | pl.col("negative")).fill_null(value=False))
    share = _mean(either.to_series())
    if share <= 0.01:
        return {}
    why["max_quarantined_share"] = (
        f"{_mean(rows['missing']):.1%} of the events lack an id,"
        f" {_mean(rows['negative']):.1%} have a negative amount (returns?)"
    )
    return {"max_quarantined_share": math.ceil(110 * share) / 100}


def _mean(mask: pl.Series) -> float:
    return int(mask.sum()) / max(1, len(mask))


def _named(values: pl.Series) -> Settings:
    """Write a feature down as far as it differs from the defaults of its kind."""
    feature = feature_of(values)
    return {"kind": feature.kind} | feature.model_dump(exclude_defaults=True)


def _tell(table: str, look: Look, columns: Mapping[str, str], *, why: dict[str, str]) -> None:
    """Note for each mapped column what its first values look like."""
    for our, their in columns.items():
        if our == "member":  # whose rows they are belongs in no config
            why[f"{table}.columns.member"] = "its name or its values say who it was"
            continue
        shown = look.head[their].drop_nulls().unique(maintain_order=True).head(2).to_list()
        values = ", ".join(str(value)[:24].replace("\n", " ") for value in shown)
        why[f"{table}.columns.{our}"] = f"such as {values}"


def _described(values: pl.Series) -> str:
    feature = feature_of(values)
    unused = ", unused unless named in sensitive" if feature.sensitive else ""
    return f"{feature.column} ({feature.kind}{unused})"
