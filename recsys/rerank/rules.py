"""Editors' rules in, what they ask of a shelf at an instant out (DECISION 6).

A rule ends: no rule reaches further than MOST_DAYS, and each says whose it is and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from recsys.data.vocab import Vocab
from recsys.domain.arrays import F32, I64, NONE, U8, Bool
from recsys.domain.errors import DataRefusedError
from recsys.domain.events import DAY

MOST_DAYS = 14
"""Days after its start at which a rule is over at the latest (DECISION 6)."""
BOOSTS = (0.25, 4.0)
"""Least and largest factor (DECISION 1)."""
INSTANT = pl.Datetime("us", "UTC")
COLUMNS: dict[str, type[pl.DataType] | pl.DataType] = {
    "rule_id": pl.String,
    "kind": pl.String,
    "sale": pl.String,
    "brand": pl.String,
    "slot": pl.Int64,
    "factor": pl.Float64,
    "from_at": INSTANT,
    "until_at": INSTANT,
    "by": pl.String,
    "why": pl.String,
}
"""The table of rules, in force in [from_at, until_at). `sale` or `brand` says what it is about;
`slot`, from 1, is that of a pin; `factor` multiplies value: above 1 a boost, below a bury."""


class RuleKind(IntEnum):
    """What a rule does; of two that contradict each other the first kind wins."""

    BAN = 0
    PIN = 1
    BOOST = 2
    BURY = 3


@dataclass(frozen=True)
class Orders:
    """What rules ask of c sales of a shelf, for any member."""

    banned: Bool
    """May not be shown, Bool[c]."""
    factor: F32
    """Multiplies value, F32[c]."""
    pinned: I64
    """Column that each slot holds, I64[N]; NONE = by gain. At most one pin a slate."""
    rule: I64
    """Row of the rule behind each sale, the last among equals, I64[2, c]; NONE. First the one that
    makes it worth more or less, then its pin."""


@dataclass(frozen=True)
class Rules:
    """The checked rules of a shop, r of them."""

    table: pl.DataFrame
    """Columns as in COLUMNS, r rows."""
    kind: U8
    """RuleKind, U8[r]."""
    sale: I64
    """Sale row, I64[r]; NONE = about a brand."""
    brand: I64
    """Brand row, I64[r]; NONE = about a sale."""
    from_at: I64
    """UTC us, I64[r]."""
    until_at: I64

    @classmethod
    def of(cls, table: pl.DataFrame, *, sales: Vocab, brands: Vocab) -> Rules:
        """Check a table of rules against a shop's sales and brands (ids in the order of rows).

        Raises:
            DataRefusedError: columns or rows cannot be followed; all mistakes at once.
        """
        table = _typed(table)
        wrong = _mistakes(table, sales, brands)
        if wrong:
            raise DataRefusedError(f"{len(wrong)} mistakes in the editors' rules", *wrong[:4])
        kinds = {kind.name.lower(): int(kind) for kind in RuleKind}
        return cls(
            table=table,
            kind=table["kind"].replace_strict(kinds, return_dtype=pl.UInt8).to_numpy(),
            sale=sales.rows(table["sale"]).astype(np.int64),
            brand=brands.rows(table["brand"]).astype(np.int64),
            from_at=table["from_at"].dt.timestamp("us").to_numpy(),
            until_at=table["until_at"].dt.timestamp("us").to_numpy(),
        )

    @classmethod
    def none(cls) -> Rules:
        """Return no rules at all."""
        nothing = Vocab(pl.Series("id", [], dtype=pl.String))
        return cls.of(pl.DataFrame(schema=COLUMNS), sales=nothing, brands=nothing)

    def __len__(self) -> int:
        """Count the rules."""
        return len(self.kind)

    def in_force(self, at: int) -> I64:
        """Return the rows of the rules in force at an instant (UTC us), ascending."""
        return np.flatnonzero((self.from_at <= at) & (at < self.until_at))

    def orders(self, at: int, sales: I64, brand: I64, *, slots: int) -> Orders:
        """Say what is asked of sale rows I64[c] at an instant (UTC us); `brand` I64[s] is a row.

        Ban beats pin, pin beats boost; boosts of a sale and of its brand multiply, inside BOOSTS.
        """
        banned, factor = np.zeros(len(sales), dtype=np.bool_), np.ones(len(sales))
        pinned = np.full(slots, NONE, dtype=np.int64)
        rule = np.full((2, len(sales)), NONE, dtype=np.int64)
        force = self.in_force(at)
        # the strongest come last, and so stand where two speak of one sale
        for row in force[np.argsort(-self.kind[force].astype(np.int64), kind="stable")].tolist():
            here = np.flatnonzero(
                (sales == self.sale[row])
                if self.sale[row] != NONE
                else (brand[sales] == self.brand[row])
            )
            match RuleKind(self.kind[row]):
                case RuleKind.BAN:
                    banned[here] = True
                case RuleKind.PIN:
                    rule[1, here] = row
                    slot = int(self.table["slot"][row]) - 1
                    if len(here) and slot < slots:
                        pinned[slot] = here[0]
                case RuleKind.BOOST | RuleKind.BURY:
                    rule[0, here] = row
                    factor[here] *= float(self.table["factor"][row])
        # NONE reads what is put behind the last sale: not banned
        pinned[np.append(banned, False)[pinned]] = NONE
        return Orders(banned, np.clip(factor, *BOOSTS).astype(np.float32), pinned, rule)

    def save(self, folder: Path) -> None:
        """Write the table beside what else makes slates."""
        self.table.write_parquet(folder / "rules.parquet")


def _typed(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with all columns and their types; texts of instants are read as UTC."""
    if foreign := sorted(set(table.columns) - set(COLUMNS)):
        raise DataRefusedError(
            f"editors' rules have a column {foreign[0]}", f"they may have: {', '.join(COLUMNS)}"
        )
    missing = [pl.lit(None, kind).alias(c) for c, kind in COLUMNS.items() if c not in table.columns]
    full = table.with_columns(missing)
    try:
        return full.select(
            _instant(name, full.schema[name]) if kind == INSTANT else pl.col(name).cast(kind)
            for name, kind in COLUMNS.items()
        )
    except pl.exceptions.PolarsError as error:
        raise DataRefusedError(
            "editors' rules cannot be read", str(error).splitlines()[0][:200]
        ) from error


def _instant(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind == pl.String:
        return column.str.to_datetime(time_unit="us", time_zone="UTC", ambiguous="earliest")
    if isinstance(kind, pl.Datetime) and kind.time_zone is None:
        return column.dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    return column.cast(INSTANT)


def _mistakes(table: pl.DataFrame, sales: Vocab, brands: Vocab) -> list[str]:
    """Say what is wrong with each rule, in their order."""
    named = {kind.name.lower() for kind in RuleKind}
    wrong, seen = list[str](), set[str]()
    known = {"sale": sales.rows(table["sale"]), "brand": brands.rows(table["brand"])}
    for row, rule in enumerate(table.to_dicts()):
        name = rule["rule_id"] or f"row {row + 1}"
        said = [field for field in ("sale", "brand") if rule[field] is not None]
        found = [
            ("has no rule_id", not rule["rule_id"]),
            ("stands twice", rule["rule_id"] in seen),
            (
                f"is a {rule['kind']}, not one of {', '.join(sorted(named))}",
                rule["kind"] not in named,
            ),
            ("names not exactly one of sale and brand", len(said) != 1),
            *(
                (f"speaks of {f} {rule[f]}, which is not known", known[f][row] == NONE)
                for f in said
            ),
            *(
                (f"has no {field}", not rule[field])
                for field in ("by", "why", "from_at", "until_at")
            ),
            *_of_kind(rule),
            *_of_time(rule),
        ]
        seen.add(rule["rule_id"])
        wrong += [f"rule {name} {what}" for what, is_wrong in found if is_wrong]
    return wrong or _crossed(table)


def _of_kind(rule: dict[str, object]) -> Sequence[tuple[str, bool]]:
    kind, slot, factor = rule["kind"], rule["slot"], rule["factor"]
    low, high = {"boost": (1.0, BOOSTS[1]), "bury": (BOOSTS[0], 1.0)}.get(str(kind), BOOSTS)
    weighs = kind in {"boost", "bury"}
    return (
        (
            "pins no sale to a slot from 1 on",
            kind == "pin" and (not isinstance(slot, int) or slot < 1),
        ),
        ("pins a brand: a pin is about one sale", kind == "pin" and rule["sale"] is None),
        ("has a slot, as only pins do", kind != "pin" and slot is not None),
        ("has a factor, as only boosts and buries do", not weighs and factor is not None),
        (
            f"has a factor of {factor}, not in [{low:g}, {high:g}]",
            weighs and not (isinstance(factor, float) and low <= factor <= high),
        ),
    )


def _of_time(rule: dict[str, object]) -> Sequence[tuple[str, bool]]:
    since, until = rule["from_at"], rule["until_at"]
    if since is None or until is None:
        return ()
    days = (until - since).total_seconds() / (DAY / 1e6)  # type: ignore[operator]
    return (
        ("ends before it starts", days <= 0),
        (f"is in force for {days:.1f} days; at most {MOST_DAYS}", days > MOST_DAYS),
    )


def _crossed(table: pl.DataFrame) -> list[str]:
    """Name pins in force at one time: a slate holds one at most."""
    pins = table.filter(pl.col("kind") == "pin").sort("from_at").to_dicts()
    return [
        f"pins {one['rule_id']} and {other['rule_id']} are in force together: a slate has one pin"
        for one, other in combinations(pins, 2)
        if other["from_at"] < one["until_at"]
    ]
