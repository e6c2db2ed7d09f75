from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys.domain.events import HOUR
from recsys.towers import lately as lately_module
from recsys.towers.job import timely
from recsys.towers.lately import Lately, found, key_type, narrowest
from recsys.towers.spec import TwoTower
from recsys.towers.vectors import Vectors
from tests.towers.shops import SMALL, Shop


@pytest.mark.parametrize("room", [0, 1_000])
@pytest.mark.parametrize("hours", [(24.0,), (0.25, 1.0, 3.0, 24.0)])
def test_training_sees_what_export_sees_of_each_sale(
    shop: Shop,
    endless: Shop,
    monkeypatch: pytest.MonkeyPatch,
    room: int,
    hours: tuple[float, ...],
) -> None:
    monkeypatch.setattr(lately_module, "_ROOM", room)
    for some in (shop, endless):
        instants = some.blocks.towers.group_at
        lately = Lately.of(some.resident, instants, hours)
        assert (lately.table is None) is (room == 0)
        sales = np.arange(some.dataset.num_sales)
        seen = 0.0
        for number, at in enumerate(instants.tolist()):
            exported = some.resident.as_of(sales, np.full(len(sales), at), hours=hours)
            found = lately(torch.from_numpy(sales), torch.full((len(sales),), number))
            torch.testing.assert_close(found, torch.from_numpy(exported))
            seen += float(exported[:, 1:-2].sum())
        assert seen > 0


@pytest.mark.parametrize("room", [0, 1_000])
def test_an_event_at_the_very_instant_or_at_the_edge_of_a_window_counts_for_one_side(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(lately_module, "_ROOM", room)
    popularity = shop.resident.popularity
    sale = int(np.argmax(np.diff(popularity.sale_ptr)))
    first = int(popularity.times[popularity.sale_ptr[sale]])
    instants = np.array([first, first + 1, first + HOUR, first + HOUR + 1])
    lately = Lately.of(shop.resident, instants, (1.0,))
    there = torch.full((4,), sale)
    counts = lately(there, torch.arange(4))[:, :2].expm1().round()
    exported = shop.resident.as_of(there.numpy(), instants, hours=(1.0,))
    torch.testing.assert_close(counts, torch.from_numpy(exported)[:, :2].expm1().round())
    assert counts[0, 0] == 0
    assert counts[1, 0] >= 1
    # an hour later it is the oldest that still counts, a microsecond on it is gone
    same = int((popularity.times[popularity.sale_ptr[sale] :] == first).sum())
    assert counts[2, 1] - counts[3, 1] >= min(same, 1)


def test_soon_outcomes_bring_windows_of_minutes(shop: Shop) -> None:
    ordered, history = shop.blocks.towers, shop.dataset.history

    def hours(asked: TwoTower, within: int) -> tuple[float, ...]:
        return timely(asked, ordered, within, history=history).popularity_hours

    assert hours(TwoTower(), 72 * HOUR) == (24.0,)
    assert hours(TwoTower(), HOUR) == (0.25, 1.0, 3.0, 24.0)
    assert hours(TwoTower(popularity_hours=(2.0, 1.0)), 3 * HOUR) == (0.25, 1.0, 2.0, 3.0)


def test_where_sets_know_no_time_all_that_ever_was_counts(shop: Shop) -> None:
    sets, dated = replace(shop.blocks.towers, hidden_share=0.5), shop.dataset.history
    assert timely(TwoTower(), sets, HOUR, history=dated).popularity_hours == (24.0,)
    at_once = replace(dated, at=np.full_like(dated.at, sets.group_at.max() - HOUR))
    (hours,) = timely(TwoTower(), sets, HOUR, history=at_once).popularity_hours
    assert hours * HOUR > shop.dataset.watermark


def test_towers_start_as_the_popularity_of_the_shortest_window(endless: Shop) -> None:
    spec = SMALL.model_copy(update={"popularity_hours": (24.0, 6.0)})
    training = endless.blocks.towers
    group = int(training.group[-1])
    at = int(training.group_at[group])
    shelf = training.shelf(group).astype(np.int64)
    vectors = Vectors(endless.net(spec), endless.resident)
    bias = vectors.sales(shelf, at)[:, -1] / vectors.net.tau.detach()
    counts = endless.resident.popularity.counts(
        shelf.astype(np.int32), np.full(len(shelf), at), 6 * HOUR
    )
    above = torch.from_numpy(np.log1p(counts))
    # logits differ from log(1 + count) by one constant
    torch.testing.assert_close(bias - bias[0], above - above[0], rtol=1e-3, atol=1e-3)
    assert counts.max() > counts.min()


def test_numbers_are_as_narrow_as_they_may_be() -> None:
    assert narrowest(32_767) is np.int16
    assert narrowest(32_768) is np.int32
    assert key_type(9, 1 << 27) is np.int32
    assert key_type(15, 1 << 27) is np.int64


@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_what_is_found_in_order_is_what_a_search_finds(kind: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(3)
    keys = tuple(
        torch.randint(50, (n,), generator=draw).sort().values.to(kind) for n in (0, 1, 400)
    )
    wanted = torch.randint(-5, 60, (300,), generator=draw).to(kind)
    for places, key in zip(found(keys, wanted), keys, strict=True):
        assert torch.equal(places, torch.searchsorted(key, wanted, right=True))
