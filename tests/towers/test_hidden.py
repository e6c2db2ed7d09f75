"""Sets without order: a step asks for what it hides, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.data.encode import encode, fit
from recsys.data.requests import blocks
from recsys.domain.source import Source
from recsys.evaluate.learned import learned_baselines
from recsys.evaluate.spec import Evaluate
from recsys.towers import checkpoint
from recsys.towers.batches import Assembler, Batch, Chunk, Share
from recsys.towers.fit import fit as fit_towers
from recsys.towers.hidden import without
from recsys.towers.losses import Planner, resolve
from recsys.towers.resident import Window
from recsys.towers.spec import Cpu, Full, Loss, Sampled, TwoTower
from tests.builders import tiny_dataset
from tests.towers.shops import CPU, GENTLE, Shop, job

SETS = Source(cadence="set", outcome_hours=48, exclude_seen=True, hidden_share=0.4)
LONG = 512
"""More events than any member has."""


def shop_of_sets(towers_days: int = 0) -> Shop:
    dataset = tiny_dataset(members=90, days=16, sales_a_day=8, task="endless")
    cut = blocks(dataset, SETS.model_copy(update={"towers_days": towers_days}))
    encoders = fit(dataset, int(cut.towers.at.max()) + 1, 12)
    return Shop(dataset, cut, encode(encoders, dataset))


@pytest.fixture(scope="module")
def sets() -> Shop:
    return shop_of_sets()


def batch(shop: Shop, step: int, loss: Loss | None = None, share: Share | None = None) -> Batch:
    towers = shop.blocks.towers
    spec = TwoTower(dim=16, history=LONG, loss=loss or Full())
    planner = Planner.of(
        towers,
        resolve(spec, towers, shop.dataset.task),
        opens_at=shop.dataset.opens_at,
        device=CPU,
    )
    made = Assembler.of(shop.resident, planner, spec, share=share or Share())
    return made([Chunk(0, np.arange(len(towers)))], (1, 0, step))


def outcomes_of(shop: Shop, row: int) -> set[int]:
    towers = shop.blocks.towers
    return set(towers.target_sale[towers.target_ptr[row] : towers.target_ptr[row + 1]].tolist())


def known_and_asked(shop: Shop, made: Batch) -> list[tuple[set[int], set[int]]]:
    """Return for each row the sales its window shows and those it is asked for."""
    window, (block,) = made.asked.window, made.blocks
    targets, found = block.targets, list[tuple[set[int], set[int]]]()
    shelf = shop.blocks.towers.shelf(0)
    for row in range(len(window.sale)):
        cells = slice(int(targets.ptr[row]), int(targets.ptr[row + 1]))
        asked = targets.own[cells][targets.weight[cells] > 0]
        known = window.sale[row][window.valid[row]]
        found.append((set(known.tolist()), set(shelf[asked.numpy()].tolist())))
    return found


def test_a_member_is_one_request_whose_outcomes_are_its_past_as_far_as_it_is_on_offer(
    sets: Shop,
) -> None:
    towers, history = sets.blocks.towers, sets.dataset.history
    assert np.unique(towers.member).size == len(towers)
    for row, member in enumerate(towers.member.tolist()):
        past = history.sale[history.member_ptr[member] : towers.history_end[row]]
        assert outcomes_of(sets, row) == set(past.tolist()) & set(towers.shelf(0).tolist())
    assert (towers.at == sets.blocks.validation.group_at[0]).all()
    assert towers.exclude_seen


def test_what_is_asked_for_is_hidden_and_what_is_shown_is_not_asked_for(sets: Shop) -> None:
    on_offer = set(sets.blocks.towers.shelf(0).tolist())
    for row, (known, asked) in enumerate(known_and_asked(sets, batch(sets, 3))):
        assert not known & asked
        assert (known & on_offer) | asked == outcomes_of(sets, row)


def test_a_share_is_hidden_anew_at_each_step(sets: Shop) -> None:
    steps = [known_and_asked(sets, batch(sets, step)) for step in range(20)]
    total = len(sets.blocks.towers.target_sale)
    asked = [sum(len(asked) for _, asked in step) for step in steps]
    assert abs(np.mean(asked) / total - SETS.hidden_share) < 4 * np.sqrt(0.24 / (20 * total))
    assert steps[0] != steps[1]
    assert steps[0] == known_and_asked(sets, batch(sets, 0))


def test_weights_of_a_row_sum_to_one_or_ask_for_nothing(sets: Shop) -> None:
    (block,) = batch(sets, 5).blocks
    total = torch.zeros(len(sets.blocks.towers))
    total.index_add_(0, block.targets.row, block.targets.weight)
    asked = torch.tensor([bool(asked) for _, asked in known_and_asked(sets, batch(sets, 5))])
    assert torch.allclose(total, asked.float())


def test_events_shown_are_counted_and_hidden_ones_are_not(sets: Shop) -> None:
    window = batch(sets, 1).asked.window
    assert torch.equal(window.so_far, window.valid.sum(dim=1).float())


@pytest.mark.parametrize("towers_days", [0, 4])
@pytest.mark.parametrize("loss", [Full(), Sampled(in_batch=8, uniform=12)])
def test_no_sale_of_a_past_is_a_negative_hidden_or_not(loss: Loss, towers_days: int) -> None:
    shop = shop_of_sets(towers_days)
    made, towers, history = batch(shop, 2, loss), shop.blocks.towers, shop.dataset.history
    (block,) = made.blocks
    assert block.past is not None
    sales = torch.from_numpy(made.sales)[made.column_place[block.columns]].tolist()
    for row, member in enumerate(towers.member.tolist()):
        cells = slice(int(block.targets.ptr[row]), int(block.targets.ptr[row + 1]))
        masked = {*block.targets.own[cells].tolist(), *block.past[row].tolist()}
        past = set(history.sale[history.member_ptr[member] : towers.history_end[row]].tolist())
        own = {column for column, sale in enumerate(sales) if sale in past}
        assert {column for column in own if torch.isfinite(block.offset[column])} <= masked


def test_what_is_left_of_a_window_stands_first_in_its_order() -> None:
    window = Window(
        sale=torch.tensor([[5, 6, 7, 0]]),
        what=torch.tensor([[1, 2, 3, 0]]),
        days=torch.tensor([[1.0, 2.0, 3.0, 0.0]]),
        valid=torch.tensor([[True, True, True, False]]),
        so_far=torch.tensor([30.0]),
    )
    left = without(window, torch.tensor([[True, False, False, True]]))
    assert left.valid.tolist() == [[True, True, False, False]]
    assert left.sale[left.valid].tolist() == [6, 7]
    assert left.what[left.valid].tolist() == [2, 3]
    assert left.days[left.valid].tolist() == [2.0, 3.0]
    assert left.so_far.tolist() == [20.0]


def test_processes_hide_the_same(sets: Shop) -> None:
    whole = known_and_asked(sets, batch(sets, 4))
    for rank in range(2):
        assert known_and_asked(sets, batch(sets, 4, share=Share(rank, 2))) == whole[rank::2]


def test_trees_and_regression_do_not_learn_from_sets(sets: Shop) -> None:
    spec = Evaluate(baselines=("logistic",))
    ordered = replace(sets.blocks.towers, hidden_share=0.0)
    assert learned_baselines(sets.dataset, sets.blocks.towers, spec=spec) == {}
    assert set(learned_baselines(sets.dataset, ordered, spec=spec)) == {"logistic"}


def test_a_training_on_sets_in_micro_steps_ends_where_one_in_large_steps_does(
    sets: Shop, tmp_path: Path
) -> None:
    weights = list[dict[str, torch.Tensor]]()
    for name, groups, number in (("large", 2, 1), ("micro", 1, 2)):
        update = {"groups_per_batch": groups, "rows_per_group": 16}
        asked = job(sets, tmp_path / name, GENTLE.model_copy(update=update))
        machine = Cpu(threads=1, precision="fp32", accumulate=number)
        fit_towers(replace(asked, trainer=machine))
        newest = checkpoint.newest(asked.checkpoints)
        assert newest is not None
        weights.append(checkpoint.load(newest)[0]["net"])
    for name in weights[0].keys() - {"sale_tower.base_bias"}:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=0, atol=1e-5)
