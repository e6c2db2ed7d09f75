"""The columns of the slate log and of its outcomes: a contract with every program that reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from recsys.domain.errors import DataRefusedError

INSTANT = pl.Datetime("us", "UTC")
KEY = ("send_id", "member_id", "slot")
"""What names one row of the log, and the outcome of it."""
NO_SLOT = -1
"""Slot of the one row of a member who is sent nothing."""

Kinds: TypeAlias = Mapping[str, pl.DataType]
_WORDS: Mapping[pl.DataType, str] = {
    pl.String(): "text",
    INSTANT: "instant, UTC, us",
    pl.Boolean(): "bool",
    pl.Int16(): "int16",
    pl.Int32(): "int32",
    pl.Int64(): "int64",
    pl.UInt64(): "uint64",
    pl.Float32(): "float32",
    pl.List(pl.Float32()): "list of float32",
}


@dataclass(frozen=True)
class Column:
    """One column: its name, its type, and what stands in it, with its unit."""

    name: str
    dtype: pl.DataType
    meaning: str
    may_be_null: bool = False


SLATE_LOG = (
    Column("send_id", pl.String(), "Name of the send; with member and slot it names the row."),
    Column("decided_at", INSTANT, "When the slate was decided: nothing later was known."),
    Column("delivered_for", INSTANT, "When the member is to get it: what is shown is open then."),
    Column("member_id", pl.String(), "The member, as your tables call them."),
    Column("channel", pl.String(), "web, app, mail, shop or other."),
    Column("slot", pl.Int16(), "Place on the slate, 0 = first; -1 = the member is sent nothing."),
    Column("sale_id", pl.String(), "The sale shown, as your tables call it.", may_be_null=True),
    Column(
        "log_propensity",
        pl.Float32(),
        "Natural log of the chance of this sale at this slot, given the slots before it; "
        "0 = certain, null = repaired.",
        may_be_null=True,
    ),
    Column("eligible_count", pl.Int32(), "Sales this member could have been shown."),
    Column("eligible_hash", pl.UInt64(), "Sum of hashes of their ids, whatever their order."),
    Column("appeal", pl.Float32(), "Expected value if shown, in units of value (the unit below)."),
    Column("fatigue", pl.Float32(), "Lost because it was shown in vain before, <= 0, same unit."),
    Column("editor", pl.Float32(), "Added or taken by an editor's boost, same unit."),
    Column("novelty", pl.Float32(), "Added because it is new to the member, >= 0, same unit."),
    Column("floor", pl.Float32(), "Prices of promised minimums, >= 0, same unit."),
    Column("cap", pl.Float32(), "Prices of promised maximums, <= 0, same unit."),
    Column("diversity", pl.Float32(), "Worth of variety beside the slots before, same unit."),
    Column("utility", pl.Float32(), "Sum of appeal to cap, in that order, in float32."),
    Column("gain", pl.Float32(), "utility + diversity, in float32: what the slot was won with."),
    Column(
        "margin",
        pl.Float32(),
        "gain less that of the best sale left out here; below 0 = drawn, inf = none was left out.",
    ),
    Column("new_to_member", pl.Float32(), "0 = known, 1 = new, between by time since last touch."),
    Column("curated", pl.Boolean(), "An editor picked the sale at that instant."),
    Column(
        "reason",
        pl.String(),
        "Why the sale holds the slot; at slot -1, why nothing is sent.",
    ),
    Column("evidence_id", pl.String(), "The sale the reason points at.", may_be_null=True),
    Column("pinned", pl.Boolean(), "Placed by an editor: propensity 1."),
    Column("explored", pl.Boolean(), "Drawn to learn from, not for its gain."),
    Column("repaired", pl.Boolean(), "Swapped in afterwards to keep a promise: no propensity."),
    Column(
        "dial",
        pl.Float32(),
        "Where the novelty dial stood; null = the slate that is for all.",
        may_be_null=True,
    ),
    Column(
        "dial_own",
        pl.Float32(),
        "Where it stands for this member where it is not drawn; null as above.",
        may_be_null=True,
    ),
    Column(
        "context",
        pl.String(),
        "none = no past, else a short or long one and the member's fifth by appetite for what is "
        "new, 1 the least: long3; null as above, or unknown.",
        may_be_null=True,
    ),
    Column(
        "by_dial",
        pl.List(pl.Float32()),
        "The log chance of this sale here had the dial not been drawn, then with it at 0, .35, .7, "
        "1.4 and 2.8; null = dials were not drawn.",
        may_be_null=True,
    ),
    Column("rule_id", pl.String(), "The editor's rule behind a pin or boost.", may_be_null=True),
    Column("arm", pl.String(), "Arm of the experiment, or hold_out, or outside."),
    Column("policy_id", pl.String(), "Hash of the settings of slates and of the value model."),
    Column("prices_id", pl.String(), "Hash of the prices of promises.", may_be_null=True),
    Column("bundle", pl.String(), "Fingerprint of the bundle that decided."),
    Column("seed", pl.Int64(), "Seed of the draws: with the three ids above it replays the slate."),
)
"""One row a member and slot, in this order; value is expected purchases (docs/slate-log.md)."""

OUTCOMES = (
    Column("send_id", pl.String(), "As in the slate log."),
    Column("member_id", pl.String(), "As in the slate log."),
    Column("slot", pl.Int16(), "As in the slate log."),
    Column("opened", pl.Boolean(), "The send was opened; reported, never optimised for."),
    Column("clicked", pl.Boolean(), "The slot was clicked."),
    Column("visited", pl.Boolean(), "The sale was visited."),
    Column("bought", pl.Boolean(), "Something was bought from the sale within the horizon."),
    Column("margin", pl.Float32(), "What was earned with it, in money; 0 where nothing."),
    Column("unsubscribed", pl.Boolean(), "The member left because of the send."),
    Column("at", INSTANT, "When the first of these happened."),
)
"""One row a slot to which a member responded; no row = no response."""


def kinds_of(columns: Sequence[Column]) -> Kinds:
    """Return name -> polars type, in their order."""
    return {column.name: column.dtype for column in columns}


def check_columns(found: Kinds, columns: Sequence[Column], where: str) -> None:
    """Refuse columns that are missing, foreign or of another type; all of them at once.

    Raises:
        DataRefusedError: names them.
    """
    wanted = kinds_of(columns)
    missing = [name for name in wanted if name not in found]
    foreign = [name for name in found if name not in wanted]
    wrong = [
        f"{name} is {found[name]}, wanted {kind}"
        for name, kind in wanted.items()
        if name in found and found[name] != kind
    ]
    said = [
        *([f"missing: {', '.join(missing)}"] if missing else []),
        *([f"foreign: {', '.join(foreign)}"] if foreign else []),
        *([f"other types: {'; '.join(wrong)}"] if wrong else []),
    ]
    if said:
        raise DataRefusedError(
            f"{where} does not keep the contract", *said, "the columns stand in docs/slate-log.md"
        )


def check_rows(rows: pl.DataFrame, columns: Sequence[Column], where: str) -> None:
    """Refuse rows whose columns break the contract, or that lack what must be known.

    Raises:
        DataRefusedError: names the columns.
    """
    check_columns(rows.schema, columns, where)
    empty = [c.name for c in columns if not c.may_be_null and rows[c.name].null_count()]
    if empty:
        raise DataRefusedError(f"{where} has rows without {', '.join(empty)}")


def refuse_repeats(keys: pl.DataFrame, where: str) -> None:
    """Refuse two rows of one send, member and slot.

    Raises:
        DataRefusedError: names the first such key.
    """
    twice = keys.select(KEY).filter(pl.struct(KEY).is_duplicated())
    if twice.height:
        first = ", ".join(f"{name} {value}" for name, value in twice.row(0, named=True).items())
        raise DataRefusedError(
            f"{where} has {twice.height:,} rows that share their key",
            first,
            "a send that was made twice is one too many: name one of its folders",
        )


def table(columns: Sequence[Column]) -> str:
    """Write the columns as a table in Markdown, as the guide shows it."""
    lines = ["| column | type | what stands in it |", "|---|---|---|"]
    for column in columns:
        kind = _WORDS[column.dtype] + (" or null" if column.may_be_null else "")
        lines.append(f"| `{column.name}` | {kind} | {column.meaning} |")
    return "\n".join(lines)
