from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.domain.arrays import F32
from recsys.domain.events import DAY, Kind
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.rerank import fit
from recsys.rerank.desk import Desk
from recsys.rerank.fit import fit_ranker, median_deviation, outcomes, pieces, rows_of, thinned
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend, Pure
from recsys.rerank.utility import deviation
from tests.rerank.hand import START, drawn_shop, ranker_of, taste_of

SALES = 15


def scores(requests: Requests, rows: slice) -> F32:
    """A taste that is known: hash-like, and the same for a member wherever they ask."""
    member = requests.member[rows].astype(np.int64)[:, None]
    shelf = requests.shelf(int(requests.group[rows.start])).astype(np.int64)
    taste: F32 = np.sin(member * 7 + shelf * 3 + (member * shelf) % 11).astype(np.float32)
    return taste


def block(shop: Shop, seed: int, *, kind: Kind = Kind.PURCHASE, groups: int = 5) -> Requests:
    """All members before the whole shelf at some noons; they take what they like, by chance."""
    rng, m = np.random.default_rng(seed), shop.num_members
    at = START + (np.arange(groups) + 20) * DAY
    member = np.tile(np.arange(m, dtype=np.int32), groups)
    end = shop.history.member_ptr[member] + 0
    requests = Requests(
        group_at=at,
        shelf_start=np.zeros(groups, dtype=np.int64),
        shelf_end=np.full(groups, shop.num_sales, dtype=np.int64),
        shelf_sale=np.arange(shop.num_sales, dtype=np.int32),
        shelf_curated=shop.curated(int(at[0])),
        member=member,
        at=np.repeat(at, m),
        group=np.repeat(np.arange(groups, dtype=np.int32), m),
        history_end=end,
        target_ptr=np.zeros(len(member) + 1, dtype=np.int64),
        target_sale=np.zeros(0, dtype=np.int32),
        target_kind=np.zeros(0, dtype=np.uint8),
        target_weight=np.zeros(0, dtype=np.float32),
        outcome_us=3 * DAY,
    )
    liked = np.concatenate([scores(requests, requests.rows(g)) for g in range(groups)])
    taken = rng.random(liked.shape) < 1 / (1 + np.exp(2.5 - 2 * liked))
    row, sale = np.nonzero(taken)
    return replace(
        requests,
        target_ptr=np.concatenate(([0], np.cumsum(taken.sum(axis=1)))),
        target_sale=sale.astype(np.int32),
        target_kind=np.full(len(row), kind, dtype=np.uint8),
        target_weight=np.ones(len(row), dtype=np.float32),
    )


@pytest.fixture(scope="module", name="shop")
def _shop() -> Shop:
    return drawn_shop(1, members=60, sales=SALES, events=0)


def test_a_fitted_value_is_calibrated_and_ranks_by_what_is_liked(shop: Shop) -> None:
    value, calibration, test = (block(shop, seed) for seed in (1, 2, 3))
    ranker = fit_ranker(Pure(), shop, value=value, calibration=calibration, taste=scores)
    assert ranker.label == "purchase"
    said = np.concatenate([
        ranker.value(shop, test, rows, taste=scores(test, rows)) for rows in pieces(test)
    ])
    taken = len(test.target_sale)
    assert 0.85 <= said.sum(dtype=np.float64) / taken <= 1.15
    liked = np.concatenate([scores(test, rows) for rows in pieces(test)])
    assert np.corrcoef(said.ravel(), liked.ravel())[0, 1] > 0.9
    assert ranker.median_deviation == pytest.approx(np.median(said.std(axis=1)), rel=0.3)


def test_with_few_purchases_engagement_is_foretold_and_said(shop: Shop) -> None:
    value, calibration = (block(shop, seed, kind=Kind.VIEW) for seed in (1, 2))
    ranker = fit_ranker(Blend(), shop, value=value, calibration=calibration, taste=scores)
    assert ranker.label == "engagement"
    assert any("engagement" in note for note in ranker.value_model.notes)
    rows = calibration.rows(0)
    said = ranker.value(shop, calibration, rows, taste=scores(calibration, rows))
    assert said.mean() == pytest.approx(len(calibration.target_sale) / 4500, rel=0.25)


@pytest.mark.parametrize("kind", ["auto", "logistic", "boosted"])
def test_blocks_in_which_nothing_happened_still_give_a_ranker(shop: Shop, kind: str) -> None:
    quiet = block(shop, 1).take(np.zeros(0, dtype=np.int64))
    spec = Pure.model_validate({"value": kind})
    ranker = fit_ranker(spec, shop, value=quiet, calibration=quiet, taste=scores)
    asked = block(shop, 2)
    value = ranker.value(shop, asked, asked.rows(0), taste=scores(asked, asked.rows(0)))
    assert np.ptp(value) == 0
    assert ranker.median_deviation == 0


def test_outcomes_are_the_targets_of_each_request(shop: Shop) -> None:
    requests = block(shop, 4)
    kinds = np.where(np.arange(len(requests.target_sale)) % 2, Kind.PURCHASE, Kind.VIEW)
    requests = replace(requests, target_kind=kinds.astype(np.uint8))
    for rows in (requests.rows(1), slice(70, 75)):
        every = outcomes(requests, rows, purchases=False)
        bought = outcomes(requests, rows, purchases=True)
        for row in range(rows.start, rows.stop):
            cells = slice(requests.target_ptr[row], requests.target_ptr[row + 1])
            sales, kind = requests.target_sale[cells], kinds[cells]
            assert np.flatnonzero(every[row - rows.start]).tolist() == sales.tolist()
            own = sales[kind == Kind.PURCHASE].tolist()
            assert np.flatnonzero(bought[row - rows.start]).tolist() == own


def test_pieces_cover_all_requests_once_inside_their_groups(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CELLS", 7 * SALES)
    requests = block(shop, 1)
    cut = pieces(requests)
    assert [row for part in cut for row in range(part.start, part.stop)] == [*range(300)]
    for part in cut:
        assert len(set(requests.group[part].tolist())) == 1
        assert part.stop - part.start <= 7


def test_rows_are_thinned_by_request_all_over_the_block(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = block(shop, 1)
    assert thinned(requests, most=200) is requests
    monkeypatch.setattr(fit, "MOST_ROWS", 1500)
    some = thinned(requests, most=200)
    assert 60 <= len(some) <= 140
    assert set(some.group.tolist()) == set(range(5))
    made = rows_of(Desk.of(shop), requests, scores, most=200, label="purchase")
    assert made.x.shape == (len(some) * SALES, len(NAMES))
    assert made.y.sum() == len(some.target_sale)
    shelves = [np.sort(some.shelf(int(group))) for group in some.group]
    np.testing.assert_array_equal(np.sort(made.sale.reshape(len(some), SALES), axis=1), shelves)
    happened = sorted(zip(made.request[made.y].tolist(), made.sale[made.y].tolist(), strict=True))
    asked = np.repeat(np.arange(len(some)), np.diff(some.target_ptr))
    assert happened == sorted(zip(asked.tolist(), some.target_sale.tolist(), strict=True))


def test_rows_leave_out_sales_that_may_not_be_shown(shop: Shop) -> None:
    def masked(requests: Requests, rows: slice) -> F32:
        taste = scores(requests, rows)
        taste[:, :5] = -np.inf
        return taste

    made = rows_of(Desk.of(shop), block(shop, 1), masked, most=200, label="purchase")
    assert made.x.shape == (300 * (SALES - 5), len(NAMES))
    assert np.isfinite(made.x).all()


def test_the_median_deviation_is_that_over_whole_shelves() -> None:
    shop = drawn_shop(5, members=9)
    ranker, requests = ranker_of(), block(shop, 1, groups=1)
    made = rows_of(
        Desk.of(shop), requests, lambda r, _: taste_of(r, shop), most=200, label="purchase"
    )
    taste = taste_of(requests, shop)
    value = ranker.value(shop, requests, requests.rows(0), taste=taste)
    by_hand = np.median(deviation(value, np.ones(value.shape, dtype=np.bool_)))
    assert median_deviation(ranker.value_model, made) == pytest.approx(by_hand, rel=1e-5)
