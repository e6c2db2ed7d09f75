from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from recsys.towers.device import resolve
from recsys.towers.fit import EpochRow, TowerJob, fit, prepare
from recsys.towers.lightning import Training, _carrier
from recsys.towers.optim import decay_at, follow, tables
from recsys.towers.rows import Rows, log_of
from recsys.towers.spec import Causal, Cpu, Ddp, Pooled, TwoTower
from tests.towers.following import (
    assert_same_bits,
    flat,
    newest,
    state_of,
    stopped_at,
    total,
)
from tests.towers.shops import GENTLE, SMALL, Shop, job, with_encoder

LARGE = GENTLE.model_copy(update={"rows_above": 1})
"""Every table counts as large."""
EXACT = Cpu(threads=1, precision="fp32")


def asked(shop: Shop, folder: Path, towers: TwoTower = LARGE) -> TowerJob:
    return replace(job(shop, folder, towers), trainer=EXACT)


def first_gradient(job: TowerJob) -> tuple[Training, dict[str, Tensor]]:
    """Return the gradients of the tables in the first step."""
    training = prepare(job, resolve(job.trainer))
    with torch.no_grad():
        for weight in training.net.parameters():
            weight.add_(0.01)
    loss = training.training_step(next(iter(training.feed)), 0)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    grads = {name: p.grad for name, p in tables(training.net).items() if p.grad is not None}
    return training, grads


def test_the_gradient_of_touched_rows_is_that_of_the_whole_table(
    shop: Shop, tmp_path: Path
) -> None:
    small = LARGE.model_copy(update={"rows_above": 10**6})
    _, whole = first_gradient(asked(shop, tmp_path, small))
    training, sparse = first_gradient(asked(shop, tmp_path))
    assert whole.keys() == sparse.keys() == {"table", "sale_input.own"}
    for rows, (name, gradient) in zip(training.rows, sparse.items(), strict=True):
        assert gradient.is_sparse
        rows.collect()
        assert torch.all(rows.row.diff() > 0)
        assert len(rows.row) < len(rows.table)
        dense = torch.zeros_like(whole[name])
        dense[rows.row] = rows.gradient
        # they add up in another order
        torch.testing.assert_close(dense, whole[name], rtol=1e-5, atol=1e-7)
        assert rows.table.grad is None


def table_of(rows: int) -> tuple[nn.Parameter, Tensor]:
    weights = torch.arange(3.0 * rows).reshape(rows, 3)
    return nn.Parameter(weights.clone()), weights.clone()


def touched(rows: Rows, row: list[int], gradient: list[list[float]]) -> None:
    index, values = torch.tensor([row]), torch.tensor(gradient)
    rows.table.grad = torch.sparse_coo_tensor(
        index, values, rows.table.shape, check_invariants=True
    )
    rows.collect()


def test_a_row_moves_by_its_gradient_over_the_root_of_all_it_has_seen() -> None:
    weights, averaged = table_of(4)
    rows, before = Rows.of(weights, averaged), weights.detach().clone()
    touched(rows, [2, 0, 2], [[1.0, 0.0, 2.0], [3.0, 3.0, 3.0], [1.0, 1.0, 0.0]])
    assert rows.row.tolist() == [0, 2]
    rows.step(rate=0.5, before=0.0, decay=0.0)
    after = weights.detach()
    assert torch.equal(after[[1, 3]], before[[1, 3]])
    torch.testing.assert_close(after[0], before[0] - 0.5)
    square = (2**2 + 1 + 2**2) / 3
    step = torch.tensor([2.0, 1.0, 2.0]) * 0.5 / square**0.5
    torch.testing.assert_close(after[2], before[2] - step)
    touched(rows, [2], [[0.0, 0.0, 3.0]])
    rows.step(rate=0.5, before=0.0, decay=0.0)
    last = torch.tensor([0.0, 0.0, 3.0]) * 0.5 / (square + 3) ** 0.5
    torch.testing.assert_close(weights.detach()[2], before[2] - step - last)


@pytest.mark.parametrize("ema", [0.0, 0.9, 0.999])
def test_averages_that_follow_late_are_those_that_followed_each_step(ema: float) -> None:
    source = torch.Generator().manual_seed(0)
    weights, averaged = table_of(30)
    rows, each_step, forgotten = Rows.of(weights, averaged), averaged.clone(), 0.0
    for step in range(60):
        row = torch.randint(0, 20, (5,), generator=source).tolist()
        touched(rows, row, torch.randn(5, 3, generator=source).tolist())
        decay = decay_at(step, ema)
        rows.step(rate=0.1, before=forgotten, decay=decay)
        follow([each_step], [weights.detach()], decay)
        forgotten += log_of(decay)
        if step == 40:
            rows.follow(forgotten)
            torch.testing.assert_close(averaged, each_step, rtol=1e-5, atol=1e-5)
    rows.follow(forgotten)
    torch.testing.assert_close(averaged, each_step, rtol=1e-5, atol=1e-5)
    again = averaged.clone()
    rows.follow(forgotten)
    assert torch.equal(averaged, again)


def test_long_gradients_are_shortened_with_all_others(shop: Shop, tmp_path: Path) -> None:
    training, _ = first_gradient(asked(shop, tmp_path, LARGE.model_copy(update={"clip": 1e-3})))
    training.on_before_optimizer_step(training.adam)
    parts = [rows.gradient for rows in training.rows]
    parts += [p.grad for p in training.dense if p.grad is not None]
    whole = torch.cat([part.flatten() for part in parts]).norm()
    assert float(whole) == pytest.approx(1e-3, rel=1e-3)
    assert not _carrier(training.rows[0]).numel()


def test_tables_above_the_bound_alone_are_learned_by_rows(shop: Shop, tmp_path: Path) -> None:
    between = (shop.dataset.num_sales + len(shop.resident.used)) // 2
    assert shop.dataset.num_sales < between < len(shop.resident.used)
    spec = LARGE.model_copy(update={"rows_above": between})
    training = prepare(asked(shop, tmp_path, spec), resolve(EXACT))
    assert [rows.table is training.net.table for rows in training.rows] == [True]
    known = {id(p) for group in training.adam.param_groups for p in group["params"]}
    assert id(training.net.table) not in known
    assert id(training.net.sale_input.own) in known
    assert not prepare(asked(shop, tmp_path, SMALL), resolve(EXACT)).rows


@pytest.mark.parametrize("encoder", [Pooled(), Causal()])
def test_a_run_stopped_at_any_step_goes_on_to_the_same_bits(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Pooled | Causal
) -> None:
    spec = with_encoder(LARGE, encoder)
    whole = asked(shop, tmp_path / "whole", spec)
    fit(whole)
    for step in (3, total(whole) // 2 + 2):
        one = asked(shop, tmp_path / str(step), spec)
        stopped_at(one, step, monkeypatch)
        best = fit(one)
        assert_same_bits(newest(one), newest(whole))
        assert_same_bits(best, whole.checkpoints / best.name)


def test_what_is_exported_has_followed_to_the_end(shop: Shop, tmp_path: Path) -> None:
    one = asked(shop, tmp_path)
    state = state_of(fit(one))
    assert len(state["rows"]) == 2
    for kept in state["rows"]:
        assert torch.all(kept["seen"] == state["place"]["forgotten"])
    assert all(torch.isfinite(leaf).all() for leaf in flat(state["averaged"]).values())


def test_a_training_in_micro_steps_ends_where_one_in_large_steps_does(
    shop: Shop, tmp_path: Path
) -> None:
    groups = {"rows_per_group": 16, "groups_per_batch": 6}
    one = asked(shop, tmp_path / "one", LARGE.model_copy(update=groups))
    few = LARGE.model_copy(update=groups | {"groups_per_batch": 2})
    several = asked(shop, tmp_path / "several", few)
    several = replace(several, trainer=EXACT.model_copy(update={"accumulate": 3}))
    assert fit(one).name == fit(several).name
    assert_near(newest(several), newest(one))


def assert_near(one: Path, other: Path) -> None:
    mine, theirs = state_of(one)["net"], state_of(other)["net"]
    for name in theirs.keys() - {"sale_tower.base_bias"}:
        torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(shop: Shop, tmp_path: Path) -> None:
    alone = asked(shop, tmp_path / "one")
    two = Ddp(processes=2, device="cpu", threads=1, precision="fp32")
    together = replace(job(shop, tmp_path / "two", LARGE), trainer=two)
    assert fit(alone).name == fit(together).name
    assert_near(newest(together), newest(alone))


def test_rows_learn_as_much_as_whole_tables(shop: Shop, tmp_path: Path) -> None:
    curves: dict[int, list[EpochRow]] = {1: [], 10**6: []}
    for bound, rows in curves.items():
        spec = SMALL.model_copy(update={"rows_above": bound})
        fit(replace(job(shop, tmp_path / str(bound), spec), on_epoch=rows.append))
    best = {bound: max(row.day0_ndcg_at_10 for row in rows) for bound, rows in curves.items()}
    assert best[1] > best[10**6] - 0.03
    assert curves[1][-1].loss < 0.9 * curves[1][0].loss
