"""The world is no toy: what is hard in the trade is hard here (WORLD section 5)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from recsys.domain.arrays import F32, F64, I64
from recsys.domain.events import Kind
from recsys.domain.ties import keyed, uniform
from recsys.world import Chosen, FlashSales, Noon, Played, Policy, play, simulate
from recsys.world.brands import NUM_CLUSTERS
from recsys.world.log import FLAG_FOUND, FLAG_MACHINE
from recsys.world.retailer import offer, open_sales
from recsys.world.state import SLOTS
from recsys.world.utility import utility
from tests.world.judging import Case, case, ids, lowest_and_highest, ndcg

DAYS = (25, 26, 27)
Scores = Callable[[Played, Case], np.ndarray]


def random(_: Played, judged: Case) -> F64:
    return uniform(judged.members[:, None], judged.sales, judged.at)


def popularity(played: Played, judged: Case) -> F64:
    counts = judged.by_brand.sum(axis=0)[played.world.sales.brand[judged.sales]]
    return np.tile(counts, (len(judged.members), 1)).astype(np.float64)


def affinity(played: Played, judged: Case) -> F64:
    brand = played.world.sales.brand[judged.sales]
    own: F32 = judged.by_brand[judged.members][:, brand]
    return own + 1e-6 * popularity(played, judged)


def affinity_of_another(played: Played, judged: Case) -> F64:
    brand = played.world.sales.brand[judged.sales]
    active = np.flatnonzero(judged.by_brand.any(axis=1))
    other = active[(keyed(7, judged.members) % np.uint64(len(active))).astype(np.int64)]
    return judged.by_brand[other][:, brand] + 1e-6 * popularity(played, judged)


def cluster_by_brand(played: Played, judged: Case) -> F64:
    cluster = played.world.members.cluster[:, 0]
    counts = np.stack([judged.by_brand[cluster == c].sum(axis=0) for c in range(NUM_CLUSTERS)])
    rate: F64 = counts / np.bincount(cluster, minlength=NUM_CLUSTERS).clip(min=1)[:, None]
    brand = played.world.sales.brand[judged.sales]
    return rate[cluster[judged.members]][:, brand] + 1e-9 * popularity(played, judged)


def ids_alone(_: Played, judged: Case) -> F64:
    # ties by chance for each member, or the luck of three orders would decide
    ties = uniform(judged.sales, judged.members[:, None], judged.at)
    return judged.by_sale[judged.sales] + 1e-6 * ties


def visible_oracle(played: Played, judged: Case) -> np.ndarray:
    return played.truth.scores(*ids(judged), judged.at, visible=True)


def oracle(played: Played, judged: Case) -> np.ndarray:
    return played.truth.scores(*ids(judged), judged.at)


@pytest.fixture(scope="module")
def judged(demo: Played) -> dict[str, list[F64]]:
    rules: list[Scores] = [
        random,
        ids_alone,
        popularity,
        affinity_of_another,
        affinity,
        cluster_by_brand,
        visible_oracle,
        oracle,
    ]
    cases = [case(demo, day) for day in DAYS]
    return {rule.__name__: [ndcg(rule(demo, one), one) for one in cases] for rule in rules}


def gap(judged: dict[str, list[F64]], better: str, worse: str) -> tuple[float, float]:
    pairs = zip(judged[better], judged[worse], strict=True)
    return lowest_and_highest([one - other for one, other in pairs])


ORDER = ("random", "popularity", "affinity", "visible_oracle", "oracle")


@pytest.mark.parametrize(("worse", "better"), list(pairwise(ORDER)))
def test_who_knows_more_ranks_better(judged: dict[str, list[F64]], worse: str, better: str) -> None:
    assert gap(judged, better, worse)[0] > 0


def test_luck_is_real(judged: dict[str, list[F64]]) -> None:
    assert lowest_and_highest(judged["oracle"])[1] < 0.75


def test_a_line_of_cluster_by_brand_stays_clearly_below_what_could_be_known(
    judged: dict[str, list[F64]],
) -> None:
    assert gap(judged, "visible_oracle", "cluster_by_brand")[0] > 0.1


def test_ids_alone_rank_new_sales_like_chance(judged: dict[str, list[F64]]) -> None:
    least, most = gap(judged, "ids_alone", "random")
    assert least < 0.01
    assert most > -0.01
    assert most - least < 0.06


def test_the_history_of_another_is_worse_than_ones_own(judged: dict[str, list[F64]]) -> None:
    assert gap(judged, "affinity", "affinity_of_another")[0] > 0.01


def residuals(played: Played) -> F64:
    """Return by how much (log) each sale was viewed more on its first day than is visible."""
    world, log = played.world, played.log
    day = np.searchsorted(world.noons, log.at, side="right") - 2
    surplus = np.full(len(world.sales), np.nan)
    for today in range(world.num_days):
        here = day == today
        visitors = np.unique(log.member[here & (log.kind == Kind.VISIT)]).astype(np.int64)
        rows = open_sales(world, played.states[today], at=world.noon(today))
        rows = rows[world.sales.day[rows] == today]
        laid_out = offer(world, rows, at=world.noon(today), visible=True)
        expected = played.truth.expected(visitors, laid_out, what="engage").sum(axis=0)
        views = np.bincount(log.sale[here & (log.kind == Kind.VIEW)], minlength=len(surplus))
        surplus[rows] = np.log((views[rows] + 1) / (expected + 1))
    return surplus


def brand_pasts(played: Played, surplus: F64) -> tuple[F64, I64]:
    """Return the mean surplus of each sale's brand before it, and over how many sales."""
    brand = played.world.sales.brand
    same = (brand[:, None] == brand) & (np.arange(len(brand))[:, None] > np.arange(len(brand)))
    same &= np.isfinite(surplus)
    count = same.sum(axis=1)
    return (same * np.nan_to_num(surplus)).sum(axis=1) / count.clip(min=1), count


def test_what_editors_picked_tells_of_unknown_brands_and_little_of_known_ones() -> None:
    # shown by chance, so that a pick is not also a better place
    played = play(FlashSales(logging_policy="random"))
    surplus = residuals(played)
    past, count = brand_pasts(played, surplus)
    picked = played.world.sales.curated.astype(np.float64)

    def worth(of: np.ndarray) -> tuple[float, float]:
        columns = np.stack([np.ones(of.sum()), picked[of], past[of]], axis=1)
        weight, *_ = np.linalg.lstsq(columns, surplus[of], rcond=None)
        left = (surplus[of] - columns @ weight).var()
        return float(weight[1]), float(np.sqrt(left * np.linalg.pinv(columns.T @ columns)[1, 1]))

    there = np.isfinite(surplus)
    unknown, error = worth(there & (count == 0))
    known, error_known = worth(there & (count >= 2))
    assert unknown - 3.3 * error > 0
    assert known < unknown / 1.5
    assert unknown - known > error_known


def test_opens_rank_members_wrongly_and_clicks_do_not(demo: Played) -> None:
    log, members = demo.log, demo.world.members
    size = len(members)
    steady = members.mailed_daily & members.consent_mail & (members.joined_day < 0)
    proxied, others = steady & members.proxy, steady & ~members.proxy

    def lead(events: np.ndarray) -> tuple[float, float]:
        counts = np.bincount(log.member[events], minlength=size)
        gap = counts[proxied].mean() - counts[others].mean()
        error = np.hypot(
            counts[proxied].std() / np.sqrt(proxied.sum()),
            counts[others].std() / np.sqrt(others.sum()),
        )
        return float(gap / counts[others].mean()), float(error / counts[others].mean())

    opens = log.kind == Kind.MAIL_OPEN
    raw, error = lead(opens)
    assert raw - 3.3 * error > 1
    clicks, error = lead(log.kind == Kind.MAIL_CLICK)
    assert abs(clicks) < 3.3 * error
    machine, found = log.flags & FLAG_MACHINE > 0, log.flags & FLAG_FOUND > 0
    assert 0.25 < machine[opens].mean() < 0.35
    assert 0.8 < found[opens & machine].mean() < 0.9
    assert 0 < found[opens & ~machine].mean() < 0.01
    assert not machine[~opens].any()


def taste_and(bonus: float) -> Policy:
    """Fill slates by all that is visible, unknown brands preferred by a bonus."""

    def policy(noon: Noon) -> Chosen:
        laid_out = offer(noon.world, noon.offer.rows, at=noon.at, visible=True)
        liked = utility(noon.world, noon.state, laid_out, rows=noon.rows)
        known = np.zeros((len(noon.rows), len(noon.world.brands) + 1), dtype=np.bool_)
        np.put_along_axis(known, noon.state.known[noon.rows].astype(np.int64), True, axis=1)
        liked += bonus * ~known[:, noon.world.sales.brand[laid_out.rows]]
        columns = np.argsort(-liked, axis=1, kind="stable")[:, :SLOTS]
        return Chosen(columns=columns, propensity=np.full(columns.shape, np.nan, dtype=np.float32))

    return policy


@pytest.mark.slow
def test_novelty_does_not_pay_where_discovery_is_worth_nothing() -> None:
    spec = FlashSales(members=4_000, days=10, discovery_value=0)
    plain, novel = (simulate(spec, taste_and(bonus), 21) for bonus in (0, 5))
    assert sum(day.margin for day in novel) < sum(day.margin for day in plain)
    brands = [sum(day.first_brand_purchases for day in days) for days in (novel, plain)]
    assert brands[0] > brands[1]


def test_discovery_brings_visits_and_irritation_costs_mails() -> None:
    def last(setting: str, value: float) -> tuple[int, int]:
        spec = FlashSales.model_validate({"members": 4_000, "days": 14, setting: value})
        days = play(spec).totals
        return sum(day.visits for day in days), sum(day.unsubscribes for day in days)

    assert last("discovery_value", 4)[0] > last("discovery_value", 0)[0]
    assert last("irritation", 4)[1] > last("irritation", 0)[1]
