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
from recsys.towers.batches import Sampler, past_of, pieces
from recsys.towers.fit import fit
from recsys.towers.job import EpochRow
from recsys.towers.losses import Ask, Planner
from recsys.towers.negatives import TargetShare
from recsys.towers.noise import Noise
from recsys.towers.resident import Window
from recsys.towers.spec import Causal, Full, Sampled, TwoTower
from recsys.towers.stretches import Cut, in_periods
from recsys.towers.two_tower import ask
from recsys.towers.vectors import Vectors
from recsys.towers.warm import lesson
from tests.towers.shops import Shop, job, shaken

BASKETS = Source(cadence="engagement", outcome_hours=24)
CAUSAL = TwoTower(dim=16, epochs=2, history=6, encoder=Causal(blocks=2))


def of_days(days: int) -> TwoTower:
    return CAUSAL.model_copy(update={"encoder": Causal(period_days=days)})


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
    if len(steps) > 1:
        assert steps[0][0].rows.tolist() != sampler.epoch(epoch + 1)[0][0].rows.tolist()


def test_days_share_the_decision_time_and_shelf_of_the_first(baskets: Shop) -> None:
    requests = baskets.blocks.towers
    assert in_periods(requests, of_days(1)) is requests
    merged = in_periods(requests, of_days(3))
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
    assert in_periods(shop.blocks.towers, of_days(0)) is shop.blocks.towers
    few = baskets.blocks.towers
    assert in_periods(few, of_days(0)) is few
    groups = 40
    many = replace(
        few,
        group_at=few.group_at[0] + np.arange(groups) * 9 * DAY,
        shelf_start=np.zeros(groups, dtype=np.int64),
        shelf_end=np.full(groups, few.shelf_end.max()),
        group=np.sort(np.arange(len(few)) % groups).astype(np.int32),
    )
    assert 15 <= in_periods(many, of_days(0)).num_groups <= 17


def test_shelves_that_close_share_nothing(shop: Shop) -> None:
    with pytest.raises(SettingError, match="period_days"):
        in_periods(shop.blocks.towers, of_days(2))


def test_shelves_of_one_day_each_share_nothing_either(baskets: Shop) -> None:
    several = baskets.blocks.towers
    parted = replace(
        several,
        shelf_start=np.arange(several.num_groups, dtype=np.int64),
        shelf_end=np.arange(1, several.num_groups + 1, dtype=np.int64),
    )
    assert in_periods(parted, of_days(0)) is parted
    with pytest.raises(SettingError, match="period_days"):
        in_periods(parted, of_days(2))


def test_by_themselves_periods_cost_few_outcomes(baskets: Shop) -> None:
    few = baskets.blocks.towers
    days = np.arange(few.num_groups * 4) * DAY
    # sales open all the time: whatever the period, it costs most of what is engaged with at once
    many = replace(
        few,
        group_at=few.group_at[0] + days,
        shelf_start=np.repeat(few.shelf_start, 4),
        shelf_end=np.repeat(few.shelf_end, 4),
        group=4 * few.group,
    )
    kept = len(in_periods(many, of_days(0)).target_sale)
    assert kept >= 0.99 * len(few.target_sale)
    assert len(in_periods(many, of_days(12)).target_sale) < 0.9 * len(few.target_sale)


def test_what_a_period_costs_is_told(baskets: Shop, tmp_path: Path) -> None:
    said: list[str] = []
    asked = replace(job(baskets, tmp_path, of_days(3)), tell=said.append)
    learned = lesson(asked)
    lost = len(asked.train.target_sale) - len(learned.target_sale)
    assert lost > 0
    assert [f"{lost:,} of {len(asked.train.target_sale):,} outcomes" in line for line in said] == [
        True
    ]


def test_pieces_of_a_step_are_whole_stretches_too(baskets: Shop) -> None:
    requests = baskets.blocks.towers
    cut = Cut.of_requests(requests, length=CAUSAL.history)
    step = Sampler(requests, 50, 4, 1, cut).epoch(0)[0]
    whose = []
    for piece in pieces(step, 3, whole=True):
        assert [chunk.rows.tolist() for chunk in piece] == [chunk.rows.tolist() for chunk in step]
        rows = np.concatenate([
            chunk.rows[cut.of[chunk.rows] % chunk.part[1] == chunk.part[0]] for chunk in piece
        ])
        whose.append(set(cut.of[rows].tolist()))
    assert min(map(len, whose)) > 0
    assert sum(map(len, whose)) == len(set().union(*whose))


def test_columns_lent_in_the_step_are_no_more_often_a_members_own(baskets: Shop) -> None:
    requests = replace(
        baskets.blocks.towers,
        group_at=baskets.blocks.towers.group_at[-1:],
        shelf_start=baskets.blocks.towers.shelf_start[-1:],
        shelf_end=baskets.blocks.towers.shelf_end[-1:],
        group=np.zeros(len(baskets.blocks.towers), dtype=np.int32),
    )
    loss, opens = Sampled(in_batch=32, uniform=1), baskets.dataset.opens_at
    cut = Cut.of_requests(requests, length=8)
    window = Window(*(torch.zeros(0, 0, dtype=torch.int64) for _ in range(5)))
    share = TargetShare.of(requests, len(opens), torch.device("cpu"))
    found = {}
    for whole in (False, True):
        planner = Planner.of(
            requests, loss, opens_at=opens, device=torch.device("cpu"), whole=whole
        )
        own = expected = 0.0
        for epoch in range(12):
            for number, step in enumerate(Sampler(requests, 12, 2, 1, cut).epoch(epoch)):
                (chunk,) = step
                drawn = planner(
                    [Ask(0, chunk.rows, chunk.rows)], window, Noise.of(1, epoch, number)
                )
                lent = drawn.sales[: min(32, len(chunk.rows))]
                targets = {
                    sale
                    for row in chunk.rows.tolist()
                    for sale in requests.target_sale[slice(*requests.target_ptr[row : row + 2])]
                }
                own += sum(sale in targets for sale in lent.tolist())
                every = torch.tensor(sorted(map(int, targets)))
                expected += len(lent) * float(share(torch.zeros_like(every), every).sum())
        found[whole] = own / expected
    assert found[False] > 1.2, "the rows of a step are few members: their own targets stand out"
    assert found[True] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("loss", [Full(), Sampled(in_batch=16, uniform=16)])
def test_a_training_in_stretches_learns(
    baskets: Shop, tmp_path: Path, loss: Full | Sampled
) -> None:
    rows: list[EpochRow] = []
    spec = of_days(1).model_copy(update={"loss": loss, "epochs": 3})
    fit(replace(job(baskets, tmp_path, spec), on_epoch=rows.append))
    assert rows[-1].loss < rows[0].loss
    shelf = baskets.blocks.validation
    chance = 1 / float(np.mean(shelf.shelf_end - shelf.shelf_start))
    assert max(row.recall_at_10 for row in rows) > 12 * chance
