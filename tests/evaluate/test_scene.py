"""What is known before a request: the past, the pools of sales, the slices of requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, HOUR, Channel, Kind
from recsys.domain.requests import Requests
from recsys.evaluate import scene as scene_module
from recsys.evaluate.past import columns, marked, past, summed
from recsys.evaluate.scene import COMPLEMENTS, Stage, as_of, closed, scene
from recsys.evaluate.slices import by_request
from tests.evaluate.hand import Ask, Did, Sale, Stand, requests, shop

SALES = [Sale("a", "x", 0), Sale("b", "x", 0), Sale("a", "y", 2), Sale(None, "y", 2), Sale(None)]
DID = [
    Did(0, 0, 0.5, Kind.PURCHASE, Channel.APP),
    Did(0, 3, 2.5),
    Did(0, 2, 3.0, Kind.CART, Channel.MAIL),
    Did(1, 4, 2.0, Kind.MAIL_CLICK),
]
SHELF = (0, 1, 2, 3, 4)


def made(*asks: Ask, stand: Stand | None = None) -> tuple[Dataset, Requests]:
    data = shop(sorted(SALES, key=lambda sale: sale.opens), DID)
    return data, requests(data, [stand or Stand(3, SHELF, curated=(1,))], asks)


# sorted by opening, the sales are: 0 a, 1 b, 2 nobody's, 3 a (day 2), 4 nobody's (day 2)


def test_the_past_ends_strictly_before_the_request() -> None:
    data, asked = made(Ask(0, {}), Ask(1, {}), Ask(2, {}))
    before = past(data.history, asked, slice(0, 3))
    assert before.row.tolist() == [0, 0, 1]
    assert before.sale.tolist() == [0, 3, 4]
    assert before.weight.tolist() == [8, 1, 2]
    assert before.age_us.tolist() == [2.5 * DAY, 0.5 * DAY, DAY]


def test_the_past_of_some_rows_is_that_of_these_rows() -> None:
    data, asked = made(Ask(0, {}), Ask(1, {}), Ask(2, {}))
    before = past(data.history, asked, slice(1, 3))
    assert before.row.tolist() == [0]
    assert before.sale.tolist() == [4]
    assert len(past(data.history, asked, slice(2, 3)).row) == 0


def test_weights_halve_with_each_half_life() -> None:
    data, asked = made(Ask(0, {}))
    decayed = past(data.history, asked, slice(0, 1)).decayed(0.5 * DAY)
    np.testing.assert_allclose(decayed, [8 / 32, 1 / 2])


def test_cells_add_up_and_are_marked() -> None:
    cells = (np.array([0, 0, 1]), np.array([2, 2, 0]))
    np.testing.assert_array_equal(summed(cells, (2, 3)), [[0, 0, 2], [1, 0, 0]])
    weighed = summed(cells, (2, 3), np.array([0.5, 2, 4]))
    np.testing.assert_array_equal(weighed, [[0, 0, 2.5], [4, 0, 0]])
    np.testing.assert_array_equal(marked(cells, (2, 3)), weighed > 0)


def test_columns_say_where_a_sale_stands() -> None:
    found = columns(np.array([4, 1], dtype=np.int32), 5)
    assert found.tolist() == [-1, 1, -1, -1, 0]


def test_what_is_not_known_gets_a_code_of_its_own() -> None:
    codes, last = closed(np.array([1, -1, 0], dtype=np.int32))
    assert (codes.tolist(), last) == ([1, 2, 0], 2)
    codes, last = closed(np.array([-1, -1], dtype=np.int32))
    assert (codes.tolist(), last) == ([0, 0], 0)


def pools_of(data: Dataset, asked: Requests) -> dict[str, list[list[bool]]]:
    now = scene(Stage.of(data, asked, 0), asked, slice(0, len(asked)))
    return {name: pool.tolist() for name, pool in now.pools.items()}


def test_a_sale_is_young_for_a_day_after_it_opens() -> None:
    assert pools_of(*made(Ask(0, {})))["day0"] == [[False] * 5]
    young = pools_of(*made(Ask(0, {}), stand=Stand(2.999, SHELF)))["day0"]
    assert young == [[False, False, False, True, True]]


def test_where_outcomes_come_at_once_six_hours_are_a_slice_too() -> None:
    for at, wanted in ((2.2, [False, False, False, True, True]), (2.3, [False] * 5)):
        data, asked = made(Ask(0, {}), stand=Stand(at, SHELF))
        assert "six_hours" not in pools_of(data, asked)
        assert pools_of(data, replace(asked, outcome_us=HOUR))["six_hours"] == [wanted]


def test_pools_of_a_member_follow_what_they_did() -> None:
    pools = pools_of(*made(Ask(0, {}), Ask(1, {}), Ask(2, {})))
    assert pools["curated"] == [[False, True, False, False, False]]
    assert pools["repeat"] == [
        [True, False, False, True, False],
        [False, False, False, False, True],
        [False] * 5,
    ]
    # two sales without a brand do not share one, but a sale itself is known
    assert pools["known_brand"] == [
        [True, False, False, True, False],
        [False, False, False, False, True],
        [False] * 5,
    ]
    assert pools.keys() == COMPLEMENTS.keys() - {"six_hours"}


def test_a_shop_without_brands_goes_by_categories() -> None:
    data = shop([Sale(None, "x"), Sale(None, "x"), Sale(None, "y")], [Did(0, 0, 1)])
    asked = requests(data, [Stand(3, (0, 1, 2))], [Ask(0, {})])
    assert pools_of(data, asked)["known_brand"] == [[True, True, False]]


def test_popularity_is_counted_before_each_request() -> None:
    data, asked = made(Ask(0, {}, at=2.5), Ask(1, {}, at=3.5))
    popularity = Stage.of(data, asked, 0).popularity
    sales = np.arange(5, dtype=np.int32)
    counts = as_of(popularity, sales, asked.at)
    assert counts.tolist() == [[1, 0, 0, 0, 1], [1, 0, 1, 1, 1]]
    window = as_of(popularity, sales, asked.at, window_us=DAY)
    assert window.tolist() == [[0, 0, 0, 0, 1], [0, 0, 1, 1, 0]]
    assert as_of(popularity, sales, asked.at[:1]).shape == (1, 5)


def test_places_by_popularity_are_halfway_for_equals() -> None:
    data, asked = made(Ask(0, {}))
    now = scene(Stage.of(data, asked, 0), asked, slice(0, 1))
    # seen: 1 0 0 1 1
    np.testing.assert_allclose(now.percentile, [[0.7, 0.2, 0.2, 0.7, 0.7]], rtol=1e-6)


def test_requests_are_sliced_by_the_length_of_the_past() -> None:
    counts = (0, 1, 4, 5, 19, 20)
    did = [Did(member, 0, n / 100) for member, count in enumerate(counts) for n in range(count)]
    data = shop([Sale("a")], did, members=6)
    asked = requests(data, [Stand(3, (0,))], [Ask(member, {}) for member in range(6)])
    found = {name: rows.tolist() for name, rows in by_request(data, asked, ["history"]).items()}
    assert found == {
        "all": [0, 1, 2, 3, 4, 5],
        "history_0": [0],
        "history_1_4": [1, 2],
        "history_5_19": [3, 4],
        "history_20_up": [5],
    }


def test_requests_are_sliced_by_the_channel_of_what_followed_first() -> None:
    did = [
        Did(0, 0, 1, channel=Channel.SHOP),
        Did(0, 0, 3, channel=Channel.APP),
        Did(0, 0, 4, channel=Channel.MAIL),
        Did(1, 0, 6, channel=Channel.WEB),
        Did(2, 0, 2, channel=Channel.WEB),
    ]
    data = shop([Sale("a")], did)
    asked = requests(data, [Stand(3, (0,))], [Ask(member, {}) for member in range(3)])
    found = {name: rows.tolist() for name, rows in by_request(data, asked, ["channel"]).items()}
    # member 1 comes back after the outcome window has closed, member 2 never
    assert found == {"all": [0, 1, 2], "channel_app": [0]}


def test_a_shop_without_events_has_no_channels() -> None:
    data = shop([Sale("a")])
    asked = requests(data, [Stand(3, (0,))], [Ask(0, {})])
    assert by_request(data, asked, ["history", "channel"]).keys() == {"all", "history_0"}


@pytest.mark.parametrize("cells", [1, 4, 1000])
def test_chunks_cover_every_request_once_inside_its_group(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_module, "CELLS", cells)
    data = shop(SALES)
    stands = [Stand(3, SHELF), Stand(4, (0,)), Stand(5, (1, 2))]
    asked = requests(data, stands, [Ask(0, {}), Ask(1, {}), Ask(0, {}, 2), Ask(1, {}, 2)])
    chunks = list(Stage.of(data, asked, 0).chunks(asked))
    rows = [row for chunk in chunks for row in range(chunk.start, chunk.stop)]
    assert rows == [0, 1, 2, 3]
    assert all(len(set(asked.group[chunk].tolist())) == 1 for chunk in chunks)
    assert len(chunks) == {1: 4, 4: 3, 1000: 2}[cells]
