"""Editors' rules: what they ask, how they end, and what is wrong with those that are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.vocab import Vocab
from recsys.domain.arrays import NONE
from recsys.domain.errors import DataRefusedError
from recsys.rerank.rules import BOOSTS, COLUMNS, Orders, RuleKind, Rules

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SALES = Vocab(pl.Series("id", [f"s{row}" for row in range(6)]))
BRANDS = Vocab(pl.Series("id", ["b0", "b1", "b2"]))
BRAND = np.array([0, 0, 1, 1, 2, NONE])
SHELF = np.arange(6)


def rule(name: str = "r1", **more: Any) -> dict[str, Any]:
    """A ban of sale s0 for one day, or what is said."""
    plain = {"kind": "ban", "from_at": NOON, "until_at": NOON + timedelta(days=1)}
    said = {"by": "ana", "why": "sold elsewhere"} | plain | more
    if not {"sale", "brand"} & set(more):
        said["sale"] = "s0"
    return {"rule_id": name, **said}


def rules(*told: dict[str, Any]) -> Rules:
    frame = pl.DataFrame(list(told), schema=COLUMNS)
    return Rules.of(frame, sales=SALES, brands=BRANDS)


def asked(held: Rules, *, hours: float = 1.0, slots: int = 4) -> Orders:
    at = int((NOON + timedelta(hours=hours)).timestamp() * 1e6)
    return held.orders(at, SHELF, BRAND, slots=slots)


def test_bans_boosts_and_pins_do_what_they_say() -> None:
    held = rules(
        rule("ban", brand="b1"),
        rule("boost", kind="boost", sale="s0", factor=2.0),
        rule("brand", kind="boost", brand="b0", factor=1.5),
        rule("bury", kind="bury", sale="s4", factor=0.5),
        rule("pin", kind="pin", sale="s5", slot=2),
    )
    found = asked(held)
    assert found.banned.tolist() == [False, False, True, True, False, False]
    assert found.factor.tolist() == [3.0, 1.5, 1.0, 1.0, 0.5, 1.0]
    assert found.pinned.tolist() == [NONE, 5, NONE, NONE]
    none = [NONE] * 6
    assert found.rule.tolist() == [[2, 2, NONE, NONE, 3, NONE], [*none[:5], 4]]


def test_a_ban_beats_a_pin_and_a_pin_beyond_the_slate_is_none() -> None:
    pin = rule("pin", kind="pin", sale="s5", slot=2)
    assert (asked(rules(pin, rule("ban", sale="s5"))).pinned == NONE).all()
    assert (asked(rules(pin), slots=1).pinned == NONE).all()
    empty = rules(pin).orders(0, SHELF[:0], BRAND, slots=3)
    assert (empty.pinned == NONE).all()


def test_boosts_together_stay_within_bounds() -> None:
    many = [rule(f"r{n}", kind="boost", sale="s0", factor=4.0) for n in range(3)]
    few = [rule(f"q{n}", kind="bury", brand="b1", factor=0.25) for n in range(3)]
    factor = asked(rules(*many, *few)).factor
    assert (factor[0], factor[2]) == (BOOSTS[1], BOOSTS[0])


@given(minutes=st.integers(-6_000, 6_000))
def test_no_rule_is_in_force_before_it_starts_or_once_it_is_over(minutes: int) -> None:
    held = rules(rule("ban"), rule("pin", kind="pin", sale="s1", slot=1))
    found = asked(held, hours=minutes / 60)
    inside = 0 <= minutes < 24 * 60
    assert (bool(found.banned[0]), found.pinned[0] != NONE) == (inside, inside)


def test_a_pin_after_another_is_no_conflict() -> None:
    later = {"from_at": NOON + timedelta(days=1), "until_at": NOON + timedelta(days=2)}
    held = rules(
        rule("one", kind="pin", sale="s1", slot=1),
        rule("two", kind="pin", sale="s2", slot=1, **later),
    )
    assert asked(held).pinned[0] == 1
    assert asked(held, hours=30).pinned[0] == 2


WRONG = {
    "names not exactly one of sale and brand": rule(sale="s0", brand="b0"),
    "speaks of sale s9, which is not known": rule(sale="s9"),
    "speaks of brand b9, which is not known": rule(brand="b9"),
    "has no why": rule(why=None),
    "has no by": rule(by=""),
    "has no until_at": rule(until_at=None),
    "is in force for 20.0 days; at most 14": rule(until_at=NOON + timedelta(days=20)),
    "ends before it starts": rule(until_at=NOON),
    "is a ppin, not one of ban, boost, bury, pin": rule(kind="ppin"),
    "has a factor of 9.0, not in [1, 4]": rule(kind="boost", factor=9.0),
    "has a factor of 2.0, not in [0.25, 1]": rule(kind="bury", factor=2.0),
    "has a factor of None, not in [1, 4]": rule(kind="boost"),
    "has a factor of nan, not in [1, 4]": rule(kind="boost", factor=float("nan")),
    "pins no sale to a slot from 1 on": rule(kind="pin", slot=0),
    "pins a brand: a pin is about one sale": rule(kind="pin", brand="b1", slot=1),
    "has a slot, as only pins do": rule(slot=3),
    "has a factor, as only boosts and buries do": rule(factor=2.0),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_followed_is_refused_by_name(what: str) -> None:
    with pytest.raises(DataRefusedError) as refused:
        rules(rule("fine", sale="s3"), WRONG[what])
    assert f"rule r1 {what}" in str(refused.value)


def test_all_mistakes_are_told_and_conflicts_name_both() -> None:
    with pytest.raises(DataRefusedError, match="2 mistakes"):
        rules(rule("a", sale="s9"), rule("b", brand="b9"))
    with pytest.raises(DataRefusedError, match="stands twice"):
        rules(rule("a"), rule("a"))
    one, two = (rule(name, kind="pin", sale="s1", slot=n) for n, name in enumerate("xy", 1))
    with pytest.raises(DataRefusedError, match="pins x and y are in force together"):
        rules(one, two)


def test_a_file_of_texts_reads_like_a_table() -> None:
    text = (
        "rule_id,kind,sale,slot,from_at,until_at,by,why\n"
        "p,pin,s2,1,2026-11-27T12:00:00Z,2026-11-28T12:00:00Z,ana,opening\n"
    )
    held = Rules.of(pl.read_csv(text.encode(), infer_schema=False), sales=SALES, brands=BRANDS)
    assert asked(held).pinned[0] == 2
    with pytest.raises(DataRefusedError, match="cannot be read"):
        Rules.of(
            pl.DataFrame([rule() | {"slot": "first"}], strict=False), sales=SALES, brands=BRANDS
        )
    with pytest.raises(DataRefusedError, match="have a column colour"):
        Rules.of(pl.DataFrame([rule() | {"colour": 1}]), sales=SALES, brands=BRANDS)


def test_rules_are_kept_as_they_were(tmp_path: Path) -> None:
    held = rules(rule("a", brand="b1"), rule("b", kind="pin", sale="s2", slot=3))
    held.save(tmp_path)
    kept = pl.read_parquet(tmp_path / "rules.parquet")
    assert Rules.of(kept, sales=SALES, brands=BRANDS).table.equals(held.table)
    assert len(Rules.none()) == 0
    assert not asked(Rules.none()).banned.any()
    assert [kind.name for kind in sorted(RuleKind)] == ["BAN", "PIN", "BOOST", "BURY"]
