"""What novelty costs by the way it is bought: python -m benchmarks.novelty.

Complete Journey (extra `demo`), a manufacturer as one sale: twenty of them for each household, hits
within the next 28 days. Value is the ranker's own, fitted and calibrated on the blocks before. New
is strict: the household never bought the manufacturer. Four ways to show more that is new, each set
to the same discovery hits as fixed slots of 10, 20 and 30 %, are compared by all their hits. Then
appetite: the share of new manufacturers of the next 13 weeks foretold from the 13 before.

Observational: hits are what households bought anyway, in one window of four weeks, of groceries;
only an A/B test says what showing them would do (DECISION 3).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from benchmarks.cells import load_now, machine
from benchmarks.turns import Row, line
from recsys.data.contract import check
from recsys.data.requests import blocks
from recsys.domain.arrays import F32, F64, I64, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.domain.schema import Categorical, Schema
from recsys.domain.tables import Tables
from recsys.domain.ties import uniform
from recsys.evaluate.intervals import Draws, Means, means
from recsys.public import read
from recsys.public.spec import CompleteJourney
from recsys.rerank.appetite import WINDOW_DAYS, Counts
from recsys.rerank.desk import Desk
from recsys.rerank.fit import fit_ranker, outcomes, pasts, usual_appetite
from recsys.rerank.signals import Question
from recsys.rerank.spec import Blend

SLOTS = 20
RESERVED = (2, 4, 6)
"""Fixed slots for what is new."""
PROMISED = 0.02
"""Hits more than fixed slots bring at equal discovery hits."""
PROMISED_ERROR = 0.75
"""Error of the shrunken appetite beside that of one mean for all."""
_DRAWS, _SEED = 1_000, 1


@dataclass(frozen=True)
class Evidence:
    """n households before s manufacturers."""

    value: F32
    """Calibrated chance of a purchase, F32[n, s]."""
    new: Bool
    """Never bought, Bool[n, s]."""
    hit: Bool
    """Bought within the 28 days after, Bool[n, s]."""
    appetite: F32
    """F32[n]."""

    def shown(self, score: F32) -> tuple[F64, F64]:
        """Return the hits and the discovery hits of the best SLOTS by score, F64[n] each."""
        best = np.argpartition(-score, SLOTS - 1, axis=1)[:, :SLOTS]
        return self.counted(best)

    def boosted(self, dial: float) -> tuple[F64, F64]:
        """Show what is new as if it were worth 1 + dial times as much."""
        worth: F32 = np.where(self.new, self.value * np.float32(1 + dial), self.value)
        return self.shown(worth)

    def priced(self, price: float) -> tuple[F64, F64]:
        """Show what is new as if it were worth `price` more."""
        worth: F32 = np.where(self.new, self.value + np.float32(price), self.value)
        return self.shown(worth)

    def counted(self, shown: I64) -> tuple[F64, F64]:
        """Return the hits and the discovery hits of what is shown, I64[n, SLOTS]."""
        row = np.arange(len(shown))[:, None]
        hit = self.hit[row, shown]
        return hit.sum(axis=1).astype(np.float64), (hit & self.new[row, shown]).sum(axis=1) * 1.0

    def reserved(self, slots: I64) -> tuple[F64, F64]:
        """Keep `slots` I64[n] of each slate for the best that is new; the rest goes by value."""
        order = np.argsort(-self.value, axis=1, kind="stable")
        fresh = np.take_along_axis(self.new, order, axis=1)
        free = np.broadcast_to(np.arange(order.shape[1]) < (SLOTS - slots)[:, None], order.shape)
        place = np.cumsum(fresh & ~free, axis=1)
        chosen = free | (fresh & (place <= slots[:, None]))
        return self.counted(order[chosen].reshape(len(order), SLOTS))


def makers_of(tables: Tables) -> Tables:
    """Make each manufacturer one sale; products of an unknown one are left out."""
    maker = tables.sales.select("sale", "brand", "department").drop_nulls("brand")
    events = tables.events.join(maker, on="sale").drop("sale").rename({"brand": "sale"})
    once = events.group_by("member", "sale", "at", maintain_order=True).first()
    sales = maker.group_by("brand").agg(pl.col("department").mode().sort().first())
    return replace(
        tables,
        schema=Schema(sales=(Categorical(column="department"),), category="department"),
        sales=sales.select("department", brand=pl.col("brand"), sale=pl.col("brand")),
        events=once.select("member", "sale", "at", "value", "kind", "channel"),
        members=None,
    )


def evidence(dataset: Dataset, source: CompleteJourney) -> Evidence:
    """Fit the value model on the blocks before the test and gather what the test holds."""
    cut, shop = blocks(dataset, source), dataset.shop

    def nothing(requests: Requests, rows: slice) -> F32:
        """Score all alike: no towers are asked here."""
        width = len(requests.shelf(int(requests.group[rows.start])))
        return np.zeros((rows.stop - rows.start, width), dtype=np.float32)

    ranker = fit_ranker(
        Blend(candidates=shop.num_sales),
        shop,
        value=cut.value,
        calibration=cut.calibration,
        taste=nothing,
    )
    test, rows = cut.test, cut.test.rows(0)
    shelf = test.shelf(0).astype(np.int64)
    desk = Desk.of(shop, ranker.appetite)
    question = Question(desk, test, rows, shelf[None], np.zeros((1, len(shelf)), dtype=np.bool_))
    return Evidence(
        value=ranker.value(shop, test, rows, taste=nothing(test, rows)),
        new=np.isinf(question.days_known),
        hit=outcomes(test, rows, purchases=True),
        appetite=question.appetite,
    )


def level(found: Callable[[float], tuple[F64, F64]], wanted: float, *, most: float) -> float:
    """Return the least setting in [0, most] with so many discovery hits, by bisection."""
    low, high = 0.0, most
    for _ in range(40):
        middle = (low + high) / 2
        if found(middle)[1].mean() < wanted:
            low = middle
        else:
            high = middle
    return high


def ways(seen: Evidence) -> list[Row]:
    """Print all hits of each way at equal discovery hits; return the boost's gain on the others."""
    members = np.arange(len(seen.value), dtype=np.int32)
    draws = Draws.of(members, _DRAWS, _SEED)
    hits, found = seen.boosted(0.0)
    print(f"  {'no novelty':22}{found.mean():>10.3f}{hits.mean():>12.3f}")
    rows = []
    for slots in RESERVED:
        fixed = seen.reserved(np.full(len(members), slots))
        wanted = float(fixed[1].mean())
        share = slots * seen.appetite / seen.appetite.mean()
        by_appetite = np.minimum(share + uniform(_SEED, members), SLOTS - 1).astype(np.int64)
        b, p = level(seen.boosted, wanted, most=200.0), level(seen.priced, wanted, most=1.0)
        compared = {
            f"{slots} fixed slots": fixed,
            "slots by appetite": seen.reserved(by_appetite),
            f"price {p:.4f}": seen.priced(p),
            f"boost {b:.2f}": seen.boosted(b),
        }
        figures = means(np.stack([one[0] for one in compared.values()], axis=1), draws)
        for name, one in compared.items():
            print(f"  {name:22}{one[1].mean():>10.3f}{one[0].mean():>12.3f}")
        rows.append(_gain(f"boost over {slots} fixed slots", figures))
        print(f"  {'':22}{rows[-1].value:>+22.1%} ({rows[-1].low:+.1%} to {rows[-1].high:+.1%})")
    return rows


def _gain(name: str, figures: Means) -> Row:
    """Return the last figure over the first, less one, with the interval of paired draws."""
    drawn = figures.sample[:, -1] / figures.sample[:, 0] - 1
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = float(figures.value[-1] / figures.value[0] - 1)
    return Row(name, value, "share", float(low), float(high), len(drawn), bar=PROMISED)


def foretold(dataset: Dataset) -> list[Row]:
    """Print how well shares of new manufacturers are foretold; return the errors and fifths."""
    desk, end = Desk.of(dataset.shop), int(dataset.history.at.max()) + 1
    middle = end - int(WINDOW_DAYS * DAY)
    usual = usual_appetite(desk, middle)
    before, after = (_touched(desk, at) for at in (middle, end))
    asked = (before.all > 0) & (after.all > 0)
    truth = (after.new / np.maximum(after.all, 1))[asked]
    own = (before.new / np.maximum(before.all, 1))[asked]
    share = usual.share(before)[asked].astype(np.float64)
    guesses = {"one mean for all": np.full_like(truth, truth.mean()), "own share": own}
    guesses |= {"shrunken": share}
    errors = {name: float(np.sqrt(np.mean((g - truth) ** 2))) for name, g in guesses.items()}
    fifth = np.argsort(np.argsort(share, kind="stable")) * 5 // len(share)
    rising = [float(truth[fifth == one].mean()) for one in range(5)]
    for name, error in errors.items():
        print(f"  {'error of ' + name:32}{error:>12.4f}")
    print(f"  {'next share by fifth':32}" + "".join(f"{one:>8.3f}" for one in rising))
    ratio = errors["shrunken"] / errors["one mean for all"]
    print(f"  {'shrunken over one mean':32}{ratio:>12.3f}   promised {PROMISED_ERROR}")
    least = min(np.diff(rising))
    num = int(asked.sum())
    return [
        Row("shrunken over one mean", ratio, "ratio", ratio, ratio, num, bar=PROMISED_ERROR),
        Row("least step between fifths", float(least), "share", float(least), float(least), num),
    ]


def _touched(desk: Desk, at: int) -> Counts:
    """Count what all members touched before an instant."""
    everyone = np.arange(desk.shop.num_members, dtype=np.int32)
    return Counts.of(pasts(desk.shop, everyone, at), desk.maker, window_days=WINDOW_DAYS)


def main() -> None:
    """Print two tables and one line of JSON."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    before, where = load_now(), machine("none")
    source = CompleteJourney()
    dataset = check(makers_of(read(source)), source).dataset
    print(f"  {dataset.num_members:,} households, {dataset.num_sales} manufacturers")
    print(f"  {'':22}{'discovery':>10}{'all hits':>12}")
    rows = ways(evidence(dataset, source))
    rows += foretold(dataset)
    print(line("novelty", rows, machine=where, load=(before, load_now())))


if __name__ == "__main__":
    main()
