"""What no slate may ever show: python -m benchmarks.hard_rules [--quick].

Shops are drawn at random: sales that open, close and sell out, editors' bans and pins, members who
like few new brands, all re-rankers, drawn slates, explorers and prices. A million slates are then
read by eyes that know none of the code that made them, and what they break is counted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from benchmarks.cells import load_now, machine
from benchmarks.turns import Row, line
from recsys.data.asof import history_end
from recsys.domain.arrays import F32, NONE
from recsys.domain.events import DAY, Events
from recsys.domain.prices import Prices
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.shown import Shown
from recsys.domain.slates import FLAG_PINNED, Slates
from recsys.rerank.appetite import Appetite
from recsys.rerank.calibrate import Calibrator
from recsys.rerank.calibrated import Calibrated
from recsys.rerank.diversity import Mmr, TopK
from recsys.rerank.dpp import Dpp
from recsys.rerank.house import House, vocabs
from recsys.rerank.ranker import Ranker
from recsys.rerank.rules import COLUMNS, Rules
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend, Spaced
from recsys.rerank.ssd import Ssd
from recsys.rerank.value import FittedValue, Logistic

NOON = datetime(2026, 3, 10, 11, tzinfo=UTC)
AT = int(NOON.timestamp() * 1e6)
MEMBERS, SALES, BRANDS, DIM = 2_000, 60, 25, 16
VARIETY = (TopK(), Mmr(), Dpp(), Ssd(), Calibrated())


@dataclass(frozen=True)
class World:
    """One shop at one noon, its rules as a table, and the ranker that obeys them."""

    shop: Shop
    rules: pl.DataFrame
    ranker: Ranker
    taste: np.ndarray
    unit: np.ndarray


def drawn(seed: int) -> World:
    """Draw a shop whose sales are open, closed, sold out, banned or pinned by chance."""
    rng = np.random.default_rng(seed)
    brand = np.append(np.arange(BRANDS), rng.integers(NONE, BRANDS, SALES - BRANDS))
    brand = rng.permutation(brand)
    opens = AT + rng.integers(-3 * DAY, DAY // 2, SALES)
    shop = Shop(
        history=_history(rng),
        opens_at=np.sort(opens),
        closes_at=opens + rng.integers(0, 3 * DAY, SALES),
        brand=np.asarray(brand, dtype=np.int32),
        category=rng.integers(NONE, 5, SALES).astype(np.int32),
        price=rng.random(SALES).astype(np.float32),
        curated_sale=rng.choice(SALES, 6, replace=False).astype(np.int32),
        curated_from=np.full(6, AT - DAY),
        curated_until=np.full(6, AT + DAY),
        stock_sale=rng.integers(0, SALES, 30).astype(np.int32),
        stock_at=np.sort(AT + rng.integers(-DAY, DAY, 30)),
        stock_left=rng.integers(0, 2, 30),
        shown=Shown.nothing(MEMBERS),
    )
    rules = _rules(rng)
    return World(
        shop=shop,
        rules=rules,
        ranker=_ranker(rng, shop, rules, seed=seed),
        taste=rng.normal(size=(MEMBERS, SALES)).astype(np.float32),
        unit=_unit(rng),
    )


def _history(rng: np.random.Generator) -> Events:
    num = 8 * MEMBERS
    member, at = rng.integers(0, MEMBERS, num), AT - rng.integers(1, 60 * DAY, num)
    order = np.lexsort((at, member))
    counts = np.bincount(member, minlength=MEMBERS)
    nothing = np.zeros(num, dtype=np.uint8)
    return Events(
        sale=rng.integers(0, SALES, num).astype(np.int32),
        at=at[order],
        kind=rng.choice([1, 3, 4, 5, 6], num).astype(np.uint8),
        channel=nothing,
        flags=nothing,
        value=np.zeros(num, dtype=np.float32),
        member_ptr=np.concatenate(([0], np.cumsum(counts))),
    )


def _rules(rng: np.random.Generator) -> pl.DataFrame:
    """Draw bans of sales and brands, boosts, and one pin; some not in force at noon."""
    told = []
    for number in range(9):
        since = NOON + timedelta(hours=int(rng.integers(-40, 8)))
        kind = "pin" if number == 0 else str(rng.choice(["ban", "ban", "boost", "bury"]))
        of_brand = kind != "pin" and rng.random() < 0.4
        told.append({
            "rule_id": f"r{number}",
            "kind": kind,
            "sale": None if of_brand else f"s{rng.integers(SALES)}",
            "brand": f"b{rng.integers(BRANDS):02d}" if of_brand else None,
            "slot": int(rng.integers(1, 7)) if kind == "pin" else None,
            "factor": {"boost": 3.0, "bury": 0.3}.get(kind),
            "from_at": since,
            "until_at": since + timedelta(hours=int(rng.integers(1, 60))),
            "by": "drawn",
            "why": "to be obeyed",
        })
    return pl.DataFrame(told, schema=COLUMNS)


def _unit(rng: np.random.Generator) -> F32:
    unit: F32 = rng.normal(size=(SALES, DIM)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return unit


def _ranker(rng: np.random.Generator, shop: Shop, rules: pl.DataFrame, *, seed: int) -> Ranker:
    info = pl.DataFrame({
        "sale": [f"s{row}" for row in range(SALES)],
        "brand": [None if row == NONE else f"b{row:02d}" for row in shop.brand.tolist()],
        "category": [str(row) for row in shop.category.tolist()],
    })
    prices = Prices(
        groups=("curated", f"sale=s{rng.integers(SALES)}"),
        segments=(None, None),
        floor=np.array([0.5, 0], dtype=np.float32),
        cap=np.array([0, 0.5], dtype=np.float32),
        missed=np.zeros(2, dtype=np.float32),
    )
    held = Rules.of(rules, **vocabs(info))
    plain = Calibrator(x=np.zeros(0), y=np.zeros(0))
    weight = np.array([1.0 if name == "taste" else 0.1 for name in NAMES])
    model = Logistic(mean=np.zeros(len(NAMES)), weight=weight, offset=-3.0)
    settings = {
        "diversity": VARIETY[seed % len(VARIETY)],
        "temperature": float(rng.choice([0.0, 0.6])),
        "max_per_brand": int(rng.integers(0, 3)),
        "most_new": int(rng.integers(0, 3)),
        "candidates": int(rng.choice([15, 200])),
        "novelty_drawn": float(rng.choice([0.0, 0.5])),
    }
    spec = (Blend if seed % 2 else Spaced).model_validate(settings)
    return Ranker(
        spec,
        FittedValue(model, (plain, plain), "purchase"),
        0.02,
        appetite=Appetite(low=float(rng.random())),
        house=House(info=info, rules=held, prices=prices),
    )


def slates_of(world: World) -> Slates:
    """Make the slates of all members at noon."""
    shop, members = world.shop, np.arange(MEMBERS, dtype=np.int32)
    shelf = shop.shelf(AT)
    end = history_end(shop.history, members, np.array(AT))
    requests = Requests.now(members, shelf, end)
    return world.ranker.slates(
        shop,
        requests,
        requests.rows(0),
        taste=world.taste[:, shelf.sales],
        unit=world.unit[shelf.sales],
    )


def broken(world: World, slates: Slates) -> Counter[str]:
    """Count what the slates break, by rule: read from the tables alone."""
    shop, shown = world.shop, slates.sales
    filled = shown != NONE
    barred = np.zeros(SALES + 1, dtype=np.bool_)
    found = Counter[str]()
    for name, sales in (("closed", _closed(shop)), ("sold out", _sold_out(shop))):
        barred[:] = False
        barred[:-1] = sales
        found[name] = int(barred[shown].sum())
    banned, pins = _asked(world)
    barred[:-1] = banned
    found["banned"] = int(barred[shown].sum())
    in_order = np.sort(np.where(filled, shown, -1 - np.arange(shown.shape[1])), axis=1)
    found["twice"] = int((in_order[:, 1:] == in_order[:, :-1]).sum())
    gap = filled[:, 1:] & ~filled[:, :-1]
    found["a gap"] = int(gap.sum()) if not pins else 0
    found["over the cap"] = _over(world, slates)
    may = ~(banned | _closed(shop) | _sold_out(shop))
    found["too short"] = int(np.maximum(_room(world, may) - filled.sum(axis=1), 0).sum())
    for slot, sale in pins.items():
        if may[sale]:
            found["pin not kept"] += int((shown[:, slot] != sale).sum())
            found["pin not told"] += int((slates.flags[:, slot] & FLAG_PINNED == 0).sum())
    return found


def _closed(shop: Shop) -> np.ndarray:
    return (shop.opens_at > AT) | (shop.closes_at <= AT)


def _sold_out(shop: Shop) -> np.ndarray:
    left = np.ones(SALES, dtype=np.int64)
    for change in np.flatnonzero(shop.stock_at <= AT):
        left[shop.stock_sale[change]] = shop.stock_left[change]
    return left <= 0


def _asked(world: World) -> tuple[np.ndarray, dict[int, int]]:
    """Return what is banned at noon and the pins in force, slot -> sale, from the rules' table."""
    force = world.rules.filter((pl.col("from_at") <= NOON) & (pl.col("until_at") > NOON))
    banned, pins = np.zeros(SALES, dtype=np.bool_), dict[int, int]()
    for rule in force.to_dicts():
        if rule["kind"] == "ban" and rule["sale"] is not None:
            banned[int(rule["sale"][1:])] = True
        elif rule["kind"] == "ban":
            banned |= world.shop.brand == int(rule["brand"][1:])
        elif rule["kind"] == "pin":
            pins[rule["slot"] - 1] = int(rule["sale"][1:])
    return banned, pins


def _over(world: World, slates: Slates) -> int:
    """Count the sales of one brand above what a slate may have."""
    most = world.ranker.policy.max_per_brand
    if not most:
        return 0
    brand = np.append(world.shop.brand, NONE)[slates.sales]
    counts = np.zeros((len(brand), BRANDS), dtype=np.int64)
    row, slot = np.nonzero(brand != NONE)
    np.add.at(counts, (row, brand[row, slot]), 1)
    return int(np.maximum(counts - most, 0).sum())


def _room(world: World, may: np.ndarray) -> int:
    """Return how many slots the shelf could fill, 0 where not all of it was asked about."""
    policy, shelf = world.ranker.policy, np.flatnonzero(may)
    if len(world.shop.shelf(AT)) > world.ranker.spec.candidates:
        return 0
    brand = world.shop.brand[shelf]
    most = policy.max_per_brand or len(shelf)
    known = np.minimum(np.bincount(brand[brand != NONE], minlength=BRANDS), most).sum()
    return min(policy.slots, int(known + (brand == NONE).sum()))


def counted(num: int) -> Iterator[tuple[int, Counter[str]]]:
    """Make `num` shops; yield the slates with a sale of each, and what they broke."""
    for seed in range(num):
        world = drawn(seed)
        slates = slates_of(world)
        yield int((slates.sales != NONE).any(axis=1).sum()), broken(world, slates)


def main() -> None:
    """Print what was broken, by rule, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 shops instead of 520")
    num = 20 if parser.parse_args().quick else 520
    before, where = load_now(), machine("none")
    made, found = 0, Counter[str]()
    for slates, wrong in counted(num):
        made += slates
        for name, times in wrong.items():
            found[name] += times
    print(f"  {made:,} slates of {num} shops")
    for name, times in found.items():
        print(f"  {name:16}{times:>10,}   promised 0")
    rows = [Row(name, n, "slates", n, n, made, bar=0) for name, n in found.items()]
    print(line("hard_rules", rows, machine=where, load=(before, load_now())))


if __name__ == "__main__":
    main()
