from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.requests import blocks
from recsys.domain.errors import SettingError
from recsys.domain.events import DAY
from recsys.domain.source import Source
from recsys.towers.batches import Sampler, past_of
from recsys.towers.fit import fit
from recsys.towers.noise import Noise
from recsys.towers.spec import Causal, Full, TwoTower
from recsys.towers.stretches import Cut, by_period
from recsys.towers.two_tower import ask
from recsys.towers.vectors import Vectors
from tests.towers.shops import Shop, job, shaken

BASKETS = Source(cadence="engagement", outcome_hours=24)
CAUSAL = TwoTower(dim=16, epochs=2, history=6, encoder=Causal(blocks=2))


@pytest.fixture(scope="module")
def baskets(endless: Shop) -> Shop:
    """The shop that never closes, a request for each moment that a member engaged."""
    return replace(endless, blocks=blocks(endless.dataset, BASKETS))


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_request_sees_of_its_stretch_what_came_before_it(
    baskets: Shop, length: int, seed: int
) -> None:
    requests, resident = baskets.blocks.towers, baskets.resident
    cut = Cut.of_requests(requests, length=length)
    rows = np.sort(np.random.default_rng(seed).choice(len(requests), 40, replace=False))
    found = cut.carried(requests, rows, resident)
    history = baskets.dataset.history
    days, before = found.grid()
    for place, row in enumerate(rows.tolist()):
        stretch, end = cut.of[row], int(requests.history_end[row])
        first = max(history.member_ptr[requests.member[row]], cut.end[stretch] - length)
        assert cut.member[stretch] == requests.member[row]
        assert first <= end <= cut.end[stretch]
        assert int(found.seen[place]) == end - first <= length
        here = found.of[place], found.turn[place]
        oldest_first = found.window.sale[here[0]].flip(0)
        kept = before[here].flip(0)
        assert oldest_first[kept].tolist() == history.sale[first:end].tolist()
        ago = (requests.at[row] - history.at[first:end]) / DAY
        np.testing.assert_allclose(days[here].flip(0)[kept], ago, atol=1e-3)


@pytest.mark.parametrize("encoder", [Causal(blocks=1), Causal(blocks=3)])
def test_read_together_a_past_is_what_it_is_read_alone(baskets: Shop, encoder: Causal) -> None:
    requests, resident = baskets.blocks.towers, baskets.resident
    longest = int((requests.history_end - resident.member_ptr[requests.member]).max())
    spec = CAUSAL.model_copy(update={"encoder": encoder, "history": longest})
    net = shaken(baskets.net(spec))
    rows = np.arange(len(requests))
    alone = ask(resident, past_of(requests, rows), length=longest, request=rows)
    cut = Cut.of_requests(requests, length=longest)
    together = replace(alone, stretches=cut.carried(requests, rows, resident))
    assert len(cut) < len(requests) / 3
    x = Vectors(net, resident).x
    made = [
        net.member_vectors(resident, asked, x[asked.read.sale], noise=None)
        for asked in (alone, together)
    ]
    torch.testing.assert_close(*made, rtol=1e-3, atol=1e-4)


def test_dropout_is_that_of_the_stretch_whatever_else_is_in_the_step(baskets: Shop) -> None:
    requests, resident = baskets.blocks.towers, baskets.resident
    net = shaken(baskets.net(CAUSAL))
    cut, x = Cut.of_requests(requests, length=CAUSAL.history), Vectors(net, resident).x

    def made(rows: np.ndarray, noise: Noise | None) -> torch.Tensor:
        asked = ask(resident, past_of(requests, rows), length=CAUSAL.history, request=rows)
        asked = replace(asked, stretches=cut.carried(requests, rows, resident))
        return net.member_vectors(resident, asked, x[asked.read.sale], noise=noise)

    rows = np.arange(60)
    every = made(rows, Noise.of(1))
    torch.testing.assert_close(made(rows[::2], Noise.of(1)), every[::2], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(every, made(rows, Noise.of(2)), atol=1e-3)
    assert not torch.allclose(every, made(rows, None), atol=1e-3)


def test_an_event_is_hidden_once_and_not_twice(baskets: Shop) -> None:
    requests, resident = baskets.blocks.towers, baskets.resident
    spec = CAUSAL.model_copy(update={"event_dropout": 0.3, "history_dropout": 0.0})
    net = shaken(baskets.net(spec))
    seen = requests.history_end - resident.member_ptr[requests.member]
    rows, cut = np.flatnonzero(seen == 1), Cut.of_requests(requests, length=spec.history)
    x, hidden = Vectors(net, resident).x, 0
    pasts: list[torch.Tensor] = []
    net.member_tower.mlp.register_forward_pre_hook(lambda _, given: pasts.append(given[0]))
    for step in range(30):
        asked = ask(resident, past_of(requests, rows), length=spec.history, request=rows)
        asked = replace(asked, stretches=cut.carried(requests, rows, resident))
        net.member_vectors(resident, asked, x[asked.read.sale], noise=Noise.of(1, 0, step))
        hidden += int((pasts[-1][:, : spec.dim].abs().sum(dim=1) == 0).sum())
    assert hidden / (30 * len(rows)) == pytest.approx(0.3, abs=0.05)


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 200), length=st.integers(1, 20), epoch=st.integers(0, 9))
def test_a_step_takes_whole_stretches_and_each_once(
    baskets: Shop, rows: int, length: int, epoch: int
) -> None:
    requests = baskets.blocks.towers
    cut = Cut.of_requests(requests, length=length)
    sampler = Sampler(requests, rows, 2, 1, cut)
    steps = sampler.epoch(epoch)
    assert len(steps) == sampler.steps
    chunks = [chunk for step in steps for chunk in step]
    assert sorted(np.concatenate([c.rows for c in chunks])) == list(range(len(requests)))
    assert all(np.all(requests.group[c.rows] == c.group) for c in chunks)
    whose = [set(cut.of[np.concatenate([c.rows for c in step])].tolist()) for step in steps]
    assert sum(map(len, whose)) == len(set().union(*whose)) == len(cut)
    assert steps[0][0].rows.tolist() != sampler.epoch(epoch + 1)[0][0].rows.tolist() or rows > 99


def test_days_share_the_decision_time_and_shelf_of_the_first(baskets: Shop) -> None:
    requests = baskets.blocks.towers
    assert by_period(requests, 1) is requests
    merged = by_period(requests, 3)
    assert 1 < merged.num_groups < requests.num_groups / 2
    assert len(merged) < len(requests), "what launched within a period is no outcome of it"
    before = {
        (int(m), int(at)): set(requests.target_sale[a:b].tolist())
        for m, at, a, b in zip(
            requests.member,
            requests.at,
            requests.target_ptr[:-1],
            requests.target_ptr[1:],
            strict=True,
        )
    }
    for row in range(len(merged)):
        group = int(merged.group[row])
        wanted = before[int(merged.member[row]), int(merged.at[row])]
        cells = slice(merged.target_ptr[row], merged.target_ptr[row + 1])
        on_shelf = set(merged.shelf(group).tolist())
        assert set(merged.target_sale[cells].tolist()) == wanted & on_shelf
        assert merged.target_weight[cells].sum() == pytest.approx(1)
        assert 0 <= merged.at[row] - merged.group_at[group] < 4 * DAY
        assert np.all(baskets.dataset.opens_at[list(on_shelf)] <= merged.group_at[group])
    keys = np.stack((merged.group, merged.member, merged.at))
    assert np.array_equal(np.lexsort(keys[::-1]), np.arange(len(merged)))


def test_by_themselves_sets_that_never_close_keep_sixteen_decision_times(
    shop: Shop, baskets: Shop
) -> None:
    assert by_period(shop.blocks.towers, 0) is shop.blocks.towers
    few = baskets.blocks.towers
    assert by_period(few, 0) is few
    spread = replace(few, group_at=few.group_at[0] + (few.group_at - few.group_at[0]) * 40)
    many = replace(
        spread,
        group_at=np.sort(np.concatenate((spread.group_at, spread.group_at + 20 * DAY))),
        shelf_start=np.repeat(spread.shelf_start, 2),
        shelf_end=np.repeat(spread.shelf_end, 2),
        group=2 * spread.group,
    )
    assert many.num_groups > 16
    assert 12 <= by_period(many, 0).num_groups <= 17


def test_shelves_that_close_share_nothing(shop: Shop) -> None:
    with pytest.raises(SettingError, match="period_days"):
        by_period(shop.blocks.towers, 2)


def test_a_training_by_periods_ends_in_towers_that_are_judged(
    baskets: Shop, tmp_path: Path
) -> None:
    spec = CAUSAL.model_copy(update={"encoder": Causal(period_days=3), "loss": Full()})
    best = fit(job(baskets, tmp_path, spec))
    assert best.exists()
