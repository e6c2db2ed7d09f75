"""What is timed is training: the reference learns, and the bare loop does what Lightning does."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import made, peers
from benchmarks.reference import Reference
from benchmarks.speed import IDS, ids_alone, pairs_of, task_of, trained
from benchmarks.turns import Took
from recsys.runs.learn import Task
from recsys.towers.spec import TwoTower

SIZE = made.Size(members=60, sales=200, events=3_000)
TOWERS = TwoTower(dim=8, history=4)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return task_of((made.shop(SIZE), made.SOURCE), TOWERS, tmp_path_factory.mktemp("made"))


def test_the_reference_learns_whose_sale_is_whose() -> None:
    member = np.repeat(np.arange(40), 50)
    sale = (member % 4) * 10 + np.random.default_rng(1).integers(0, 10, len(member))
    two = Reference(member, sale, dim=8, batch=64)
    for _ in range(10):
        two.run(len(member))
    with torch.no_grad():
        u = torch.nn.functional.normalize(two.members.weight)
        v = torch.nn.functional.normalize(two.sales.weight)
        scores = u @ v.T + 0.15 * two.bias.weight.T
    own = scores.topk(10, dim=1).indices // 10 == torch.arange(40)[:, None] % 4
    assert own.float().mean() > 0.95


def test_a_sale_drawn_twice_is_no_negative_of_itself() -> None:
    two = Reference(np.array([0, 1, 2]), np.array([0, 0, 0]), dim=8, batch=3)
    assert two(two.member, two.sale).item() == pytest.approx(0.0)


def test_the_bare_loop_trains_as_lightning_does(task: Task, tmp_path: Path) -> None:
    bare = trained(task, TOWERS, tmp_path / "bare", steps=0)
    lightning = trained(task, TOWERS, tmp_path / "lightning", steps=0)
    done = [bare.bare().work for _ in range(2)]
    assert [lightning.lightning().work for _ in range(2)] == done
    assert done[0] == len(task.blocks.towers.target_sale)
    assert bare.training.place.total == lightning.training.place.total
    for one, other in zip(
        bare.training.averaged.parameters(), lightning.training.averaged.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_some_steps_are_as_large_as_those_of_a_whole_epoch(task: Task, tmp_path: Path) -> None:
    whole = trained(task, TOWERS, tmp_path / "whole", steps=0).training.feed.sampler
    some = trained(task, TOWERS, tmp_path / "some", steps=3).training.feed.sampler
    for found, wanted in zip(some.epoch(1), whole.epoch(1)[:3], strict=True):
        for one, other in zip(found, wanted, strict=True):
            assert np.array_equal(one.rows, other.rows)


def test_the_shares_of_a_step_are_parts_of_one(task: Task, tmp_path: Path) -> None:
    shares = trained(task, TOWERS, tmp_path, steps=2).shares()
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) > 0


def test_ids_alone_leave_nothing_that_is_known_of_a_sale(tmp_path: Path) -> None:
    bare = task_of((ids_alone(made.shop(SIZE)), made.SOURCE), IDS, tmp_path / "task")
    assert bare.encoded.sales.fields == ()
    assert bare.encoded.sales.dense_names == ()
    assert bare.encoded.members.fields == ("member.everyone", "member.who")
    assert trained(bare, IDS, tmp_path / "run", steps=2).bare().work > 0


def test_peers_learn_from_the_positives_and_the_past_that_we_do(task: Task) -> None:
    requests, history = task.blocks.towers, task.dataset.history
    rows, sale = peers.some(requests, 50)
    known = set(zip(*(array.tolist() for array in pairs_of(requests)), strict=True))
    assert set(zip(requests.member[rows].tolist(), sale.tolist(), strict=True)) <= known
    for row, past in zip(rows, peers.histories(task.dataset, requests, rows), strict=True):
        start, end = history.member_ptr[requests.member[row]], requests.history_end[row]
        wanted = history.sale[start:end][::-1][: peers.LENGTH] + 1
        assert np.array_equal(past[: len(wanted)], wanted)
        assert not past[len(wanted) :].any()


def pages_told() -> Callable[[], Took]:
    """Make a peer whose work is what it was told of large pages when it was made ready."""
    told = float(os.environ["THP_MEM_ALLOC_ENABLE"])
    return lambda: Took(told, 1.0, 1.0)


@pytest.mark.parametrize("large_pages", [False, True])
def test_a_peer_is_made_ready_in_its_process_with_or_without_large_pages(large_pages: bool) -> None:
    with peers.in_its_process(pages_told, large_pages=large_pages) as run:
        assert [run().work, run().work] == [large_pages, large_pages]


def test_a_peer_that_cannot_be_made_is_no_figure() -> None:
    with peers.in_its_process(broken, large_pages=False) as run, pytest.raises(BrokenExecutor):
        run()


def broken() -> Callable[[], Took]:
    """Fail as a peer does whose package changed."""
    raise ImportError("its package is another")
