from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from recsys.domain.arrays import F32, I32, NONE
from recsys.domain.events import DAY, Events
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.shown import Shown
from recsys.domain.slates import PARTS, Slates
from recsys.evaluate import pareto
from recsys.evaluate.material import DialCurve
from recsys.evaluate.pareto import Placed, Setting, slates_of, sweep

NOON = 100 * DAY
BRANDS = np.array([0, 0, 1, 1, 2, 2], dtype=np.int32)


@dataclass(frozen=True)
class Greedy:
    """The smallest ranker with a dial: value times (1 + dial) for brands never engaged with."""

    known: F32
    """1 where the member knows the brand, by member and brand."""
    dial: float = 0.0
    slots: int = 3

    def slates(
        self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
    ) -> Slates:
        sales = requests.shelf(int(requests.group[rows.start]))
        assert unit.shape[0] == len(sales) == taste.shape[1]
        new = 1 - self.known[requests.member[rows]][:, shop.brand[sales]]
        order = np.argsort(-taste * (1 + self.dial * new), axis=1, kind="stable")[:, : self.slots]
        shape = (len(taste), self.slots)
        column = np.full(shape, NONE, dtype=np.int64)
        column[:, : order.shape[1]] = order
        parts = np.zeros((*shape, len(PARTS)), dtype=np.float32)
        filled = column != NONE
        parts[:, : order.shape[1], 0] = np.take_along_axis(taste, order, 1)
        return Slates(
            members=requests.member[rows].astype(np.int64),
            sales=np.where(filled, sales[column], NONE).astype(np.int64),
            parts=parts,
            margin=np.zeros(shape, dtype=np.float32),
            log_propensity=np.zeros(shape, dtype=np.float32),
            reason=np.zeros(shape, dtype=np.uint8),
            evidence=np.full(shape, NONE, dtype=np.int64),
            flags=np.zeros(shape, dtype=np.uint8),
        )


@dataclass(frozen=True)
class Dials:
    """The same slates at several settings."""

    ranker: Greedy
    dials: tuple[float, ...] = (0.0, 0.35, 0.7, 1.4, 2.8)
    way: str = "boost"

    def shown(
        self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
    ) -> Iterator[tuple[Setting, Placed]]:
        for dial in self.dials:
            ranker = replace(self.ranker, dial=dial)
            made = ranker.slates(shop, requests, rows, taste=taste, unit=unit)
            setting = Setting(self.way, dial, published=dial == self.ranker.dial)
            yield setting, Placed(made.sales, made.parts[:, :, 0])


def curve_of(trial: Dials, shop_: Shop, requests: Requests) -> DialCurve:
    (curve,) = sweep(trial, shop_, requests, taste=likes, unit_of=axes_of)
    return curve


def shop(*, members: int = 2) -> Shop:
    """Every member has bought sale 0, of brand 0, the day before."""
    history = Events(
        sale=np.zeros(members, dtype=np.int32),
        at=np.full(members, NOON - DAY, dtype=np.int64),
        kind=np.full(members, 6, dtype=np.uint8),
        channel=np.zeros(members, dtype=np.uint8),
        flags=np.zeros(members, dtype=np.uint8),
        value=np.ones(members, dtype=np.float32),
        member_ptr=np.arange(members + 1, dtype=np.int64),
    )
    return Shop(
        history=history,
        opens_at=np.zeros(6, dtype=np.int64),
        closes_at=np.full(6, np.iinfo(np.int64).max),
        brand=BRANDS,
        category=BRANDS,
        price=np.ones(6, dtype=np.float32),
        curated_sale=np.array([5], dtype=np.int64),
        curated_from=np.zeros(1, dtype=np.int64),
        curated_until=np.full(1, 200 * DAY),
        stock_sale=np.zeros(0, dtype=np.int64),
        stock_at=np.zeros(0, dtype=np.int64),
        stock_left=np.zeros(0, dtype=np.int64),
        shown=Shown.nothing(len(history.member_ptr) - 1),
    )


def asked(shop_: Shop, targets: list[list[int]]) -> Requests:
    """One request a member, after which it engages with the sales of its list."""
    members = np.arange(shop_.num_members, dtype=np.int32)
    blank = Requests.now(members, shop_.shelf(NOON), shop_.history.member_ptr[1:])
    count = np.array([len(one) for one in targets])
    sales = np.array([sale for one in targets for sale in one], dtype=np.int32)
    return replace(
        blank,
        target_ptr=np.concatenate(([0], np.cumsum(count))),
        target_sale=sales,
        target_kind=np.full(len(sales), 6, dtype=np.uint8),
        target_weight=np.ones(len(sales), dtype=np.float32),
    )


def likes(requests: Requests, rows: slice) -> F32:
    """Taste falls with the number of the sale."""
    falling = np.array([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], dtype=np.float32)
    return np.tile(falling, (rows.stop - rows.start, 1))


def axes_of(sales: I32) -> F32:
    """Sales of a brand are alike, sales of two brands have nothing in common."""
    return np.eye(3, dtype=np.float32)[BRANDS[sales]]


def known(members: int = 2) -> F32:
    return np.tile(np.array([1, 0, 0], dtype=np.float32), (members, 1))


def test_figures_of_two_settings_counted_by_hand() -> None:
    shop_ = shop()
    requests = asked(shop_, [[0, 2], [4]])
    low, high = curve_of(Dials(Greedy(known()), (0.0, 9.0)), shop_, requests).points
    assert (low.dial, high.dial) == (0.0, 9.0)
    # dial 0 shows sales 0, 1 and 2; dial 9 shows 2, 3 and 4
    assert low.value.value == pytest.approx(1.5)
    assert high.value.value == pytest.approx(0.9)
    assert low.value_kept.value == pytest.approx(1.0)
    assert high.value_kept.value == pytest.approx(0.6)
    # each member keeps as much: paired, there is no doubt
    assert high.value_kept.high == pytest.approx(0.6)
    assert (low.hits.value, high.hits.value) == (1.0, 1.0)
    assert low.discovery_share.value == pytest.approx(1 / 3)
    assert high.discovery_share.value == pytest.approx(1.0)
    assert (low.discovery_hits.value, high.discovery_hits.value) == (0.5, 1.0)
    assert (low.curated_share.value, high.curated_share.value) == (0, 0)
    assert (low.curated_reach.value, high.curated_reach.value) == (0, 0)
    assert low.ild.value == pytest.approx(2 / 3)


def test_what_is_tried_first_keeps_all_of_its_value_without_doubt() -> None:
    shop_ = shop(members=30)
    requests = asked(shop_, [[row % 6] for row in range(30)])
    points = curve_of(Dials(Greedy(known(30))), shop_, requests).points
    assert [at.dial for at in points] == list(Dials(Greedy(known())).dials)
    kept = points[0].value_kept
    assert (kept.value, kept.low, kept.high) == (1.0, 1.0, 1.0)
    values = [at.value.value for at in points]
    shares = [at.discovery_share.value for at in points]
    assert values == sorted(values, reverse=True)
    assert shares == sorted(shares)


def test_each_way_is_a_curve_by_rising_setting_that_knows_what_is_published() -> None:
    @dataclass(frozen=True)
    class Both:
        """Two ways, one after the other."""

        def shown(
            self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
        ) -> Iterator[tuple[Setting, Placed]]:
            ranker = Greedy(known(4), dial=0.7)
            for trial in (Dials(ranker), Dials(ranker, (9.0, 3.0), way="other")):
                yield from trial.shown(shop, requests, rows, taste=taste, unit=unit)

    shop_ = shop(members=4)
    requests = asked(shop_, [[0], [2], [], [4]])
    boost, other = sweep(Both(), shop_, requests, taste=likes, unit_of=axes_of)
    assert (boost.way, other.way) == ("boost", "other")
    assert (boost.now, other.now) == (0.7, None)
    assert [at.dial for at in other.points] == [3.0, 9.0]
    # value kept is of the first of all settings, whatever the way
    assert other.points[-1].value_kept.value == pytest.approx(0.6)
    alone = curve_of(Dials(Greedy(known(4), dial=0.7)), shop_, requests)
    assert alone == boost


def test_intervals_hold_their_figure_and_shrink_with_members() -> None:
    widths = []
    for members in (20, 320):
        shop_ = shop(members=members)
        requests = asked(shop_, [[0] if row % 2 else [] for row in range(members)])
        one = curve_of(Dials(Greedy(known(members)), (0.0,)), shop_, requests).points[0]
        assert one.hits.low <= one.hits.value <= one.hits.high
        widths.append(one.hits.high - one.hits.low)
    assert widths[1] < widths[0] / 2.5


def test_curated_places_and_the_slates_that_have_one_are_counted() -> None:
    shop_ = shop()
    requests = asked(shop_, [[], []])
    whole = replace(Greedy(known()), slots=6)
    one = curve_of(Dials(whole, (0.0,)), shop_, requests).points[0]
    assert one.curated_share.value == pytest.approx(1 / 6)
    assert one.curated_reach.value == 1
    # the last sale is the picked one: five places do not reach it
    five = curve_of(Dials(replace(whole, slots=5), (0.0,)), shop_, requests).points[0]
    assert five.curated_reach.value == 0


def test_places_that_stay_empty_count_nowhere() -> None:
    shop_ = shop()
    requests = asked(shop_, [[0], [5]])
    shown, padded = (
        curve_of(Dials(replace(Greedy(known()), slots=slots), (0.0,)), shop_, requests)
        for slots in (6, 9)
    )
    assert padded == shown


def test_chunks_of_any_size_give_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    shop_ = shop(members=25)
    requests = asked(shop_, [[row % 6, (row + 1) % 6] for row in range(25)])
    whole = curve_of(Dials(Greedy(known(25))), shop_, requests)
    monkeypatch.setattr(pareto, "_CELLS", 20)
    assert curve_of(Dials(Greedy(known(25))), shop_, requests) == whole


def test_slates_of_all_requests_stand_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    shop_ = shop(members=7)
    requests = asked(shop_, [[] for _ in range(7)])
    ranker = replace(Greedy(known(7)), dial=9.0)
    whole = slates_of(ranker, shop_, requests, taste=likes, unit_of=axes_of)
    assert whole.members.tolist() == list(range(7))
    assert whole.sales.tolist() == [[2, 3, 4]] * 7
    monkeypatch.setattr(pareto, "_CELLS", 13)
    parts = slates_of(ranker, shop_, requests, taste=likes, unit_of=axes_of)
    assert np.array_equal(parts.parts, whole.parts)
    assert np.array_equal(parts.sales, whole.sales)


def test_a_shop_without_brands_is_new_by_category() -> None:
    shop_ = replace(shop(), brand=np.full(6, NONE, dtype=np.int32))
    requests = asked(shop_, [[], []])
    plain = Greedy(np.ones((2, 3), dtype=np.float32))
    one = curve_of(Dials(plain, (0.0,)), shop_, requests).points[0]
    assert one.discovery_share.value == pytest.approx(1 / 3)


def test_nothing_to_sweep_is_refused() -> None:
    shop_ = shop()
    requests = asked(shop_, [[], []])
    with pytest.raises(ValueError, match="0 settings"):
        curve_of(Dials(Greedy(known()), ()), shop_, requests)
    none = requests.take(np.zeros(0, dtype=np.int64))
    with pytest.raises(ValueError, match="0 requests"):
        curve_of(Dials(Greedy(known())), shop_, none)
