"""Tables of a folder in, which of them are events, sales and members out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.data.look import Look
from recsys.data.roles import kind_column
from recsys.data.words import ABOUT, COLUMN_WORDS, TABLE_WORDS, fit
from recsys.domain.errors import DataRefusedError

LINKED = 0.5
"""A column points at a table if so many of its values are ids of that table."""


@dataclass(frozen=True)
class Link:
    """A column of the log whose values are ids of another table."""

    other: Look
    column: str
    key: str


@dataclass(frozen=True)
class Found:
    """Which table is which; what is None has to come out of the log."""

    events: Look
    member: str
    """Column of the events that names the member."""
    sale: str
    sales: Link | None
    members: Link | None
    others: tuple[str, ...]
    """Paths that nothing is made of."""


def sort_out(tables: list[Look]) -> Found:
    """Return the log of events and the tables its ids point at.

    Raises:
        DataRefusedError: No table has an instant, a member and a sale.
    """
    logs = [table for table in tables if table.times]
    links = {table.path: _links(table, tables) for table in logs}
    for events in sorted(logs, key=lambda table: -_like_a_log(table, links[table.path])):
        sales, members = _sides(links[events.path])
        sale = sales.column if sales else _named(events, "sale", members)
        member = members.column if members else _named(events, "member", sales)
        if sale is not None and member is not None and sale != member:
            used = {events.path, *(side.other.path for side in (sales, members) if side)}
            others = tuple(table.path for table in tables if table.path not in used)
            return Found(events, member, sale, sales, members, others)
    raise DataRefusedError(
        "no table looks like events: a member, a sale and a time in each row",
        *(f"{table.path}: {', '.join(table.names)}" for table in tables[:3]),
        "write configs/data/NAME.yaml, your columns in the place of the capitals:",
        *_skeleton((logs or tables)[0]),
    )


def _skeleton(log: Look) -> tuple[str, ...]:
    """Return the lines of a mapping, filled with what can be told from a table."""
    at = next(iter(log.times), "WHEN")
    names = [
        _named(log, our, None) or missing for our, missing in (("member", "WHO"), ("sale", "WHAT"))
    ]
    return (
        "  kind: tables",
        "  zone: Europe/Paris",
        "  events:",
        f"    path: {log.path}",
        "    kind: view",
        f"    columns: {{member: {names[0]}, sale: {names[1]}, at: {at}}}",
    )


def _links(log: Look, tables: list[Look]) -> list[Link]:
    """Return for each other table the column of the log that points at it best."""
    links = []
    for other in tables:
        scored = [
            (share, _alike(column, key), log.head[column].n_unique(), column, key)
            for key in (other.keys if other is not log else [])
            for column in _ids(log)
            if (share := _share_within(log.head[column], other.column(key))) > LINKED
        ]
        if scored:
            *_, column, key = max(scored)
            links.append(Link(other, column, key))
    return links


def _sides(links: list[Link]) -> tuple[Link | None, Link | None]:
    """Tell the table of sales from that of members by what their columns speak of."""
    lean = {link.other.path: _lean(link) for link in links}
    ordered = sorted(links, key=lambda link: -lean[link.other.path])
    if len(ordered) >= 2:
        return ordered[0], ordered[-1]
    if not ordered:
        return None, None
    only = ordered[0]
    return (only, None) if lean[only.other.path] > 0 else (None, only)


def _lean(link: Link) -> float:
    """Return how much more a table speaks of sales than of members."""
    stem = Path(link.other.path).stem
    lean = 2 * (fit(stem, TABLE_WORDS["sales"]) - fit(stem, TABLE_WORDS["members"]))
    for name in (link.column, link.key):
        lean += fit(name, COLUMN_WORDS["sale"]) - fit(name, COLUMN_WORDS["member"])
    for name in link.other.names:
        lean += (fit(name, ABOUT["sales"]) > 0) - (fit(name, ABOUT["members"]) > 0)
    return lean


def _like_a_log(table: Look, links: list[Link]) -> float:
    named = sum(
        any(fit(name, COLUMN_WORDS[our]) for name in table.names) for our in ("member", "sale")
    )
    said = kind_column(table) is not None
    return 2 * fit(Path(table.path).stem, TABLE_WORDS["events"]) + 3 * len(links) + named + 2 * said


def _named(log: Look, our: str, other_side: Link | None) -> str | None:
    """Return the column of the log whose name means a member (or a sale) best."""
    taken = other_side.column if other_side else None
    scored = {name: fit(name, COLUMN_WORDS[our]) for name in _ids(log) if name != taken}
    best = max(scored, key=lambda name: scored[name], default=None)
    return best if best is not None and scored[best] else None


def _ids(log: Look) -> list[str]:
    """Return the columns of a log that could hold ids."""
    said = kind_column(log)
    return [
        name
        for name in log.names
        if name not in log.times and name != said and not log.head[name].dtype.is_nested()
    ]


def _share_within(values: pl.Series, key: pl.Series) -> float:
    known = values.drop_nulls().cast(pl.String).unique()
    if known.len() < 2:
        return 0.0
    return float(known.is_in(key.cast(pl.String).implode()).sum() / known.len())


def _alike(one: str, other: str) -> bool:
    return one.lower() == other.lower()
