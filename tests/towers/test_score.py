"""The best for everyone, streamed: the same bits by every road."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.domain.arrays import F32, I32, NONE
from recsys.domain.errors import DeviceError, SettingError
from recsys.domain.ties import keyed
from recsys.retrieval import exact
from recsys.towers.pick import Picker
from recsys.towers.score import Filters, Search, blocks, recall, top_k
from tests.towers.searching import allowed, normal, some_filters


def test_whole_numbers_give_what_the_search_of_single_requests_gives() -> None:
    rng = np.random.default_rng(1)
    sales = rng.integers(-4, 5, size=(700, 5)).astype(np.float32)
    members = rng.integers(-4, 5, size=(60, 5)).astype(np.float32)
    is_open = rng.random(700) < 0.9
    best = top_k(members, sales, Search(k=20, seed=3), filters=Filters(open=is_open))
    single = exact.top_k(members, sales, 20, allowed=is_open, seed=3)
    assert np.array_equal(best.sales, single.sales)
    assert np.array_equal(best.scores, single.scores)


@pytest.mark.parametrize(
    "other",
    [
        Search(sieve="bf16"),
        Search(sieve="fp32", tile=1),
        Search(sieve="fp32", tile=100),
        Search(sieve="bf16", tile=33, threads=3, block=70),
        Search(threads=1, block=1),
    ],
    ids=str,
)
def test_the_bits_do_not_depend_on_sieve_tile_threads_or_block(other: Search) -> None:
    members, sales = normal(200, 65), normal(1_200, 65, seed=1)
    first = top_k(members, sales, Search(sieve="fp32"))
    again = top_k(members, sales, other)
    assert np.array_equal(first.sales, again.sales)
    assert np.array_equal(first.scores, again.scores)


def test_the_bits_do_not_depend_on_who_else_is_asked_or_on_what_else_is_there() -> None:
    members, sales = normal(300, 64), normal(1_500, 64, seed=1)
    whole = top_k(members, sales, Search())
    few = np.array([7, 8, 250, 299])
    alone = top_k(members[few], sales, Search())
    assert np.array_equal(alone.sales, whole.sales[few])
    assert np.array_equal(alone.scores, whole.scores[few])
    is_open = np.ones(1_500, dtype=np.bool_)
    is_open[np.setdiff1d(np.arange(0, 1_500, 3), whole.sales)] = False
    fewer = top_k(members, sales, Search(), filters=Filters(open=is_open))
    assert np.array_equal(fewer.sales, whole.sales)
    assert np.array_equal(fewer.scores, whole.scores)


def test_two_sales_of_equal_vectors_tie() -> None:
    members, half = normal(40, 64), normal(400, 64, seed=1)
    sales = np.concatenate((half, half))
    best = top_k(members, sales, Search(k=31))
    hashes = keyed(0, np.arange(800))
    pairs = best.sales[:, :30].reshape(40, 15, 2)
    assert (pairs[..., 0] % 400 == pairs[..., 1] % 400).all()
    assert (hashes[pairs[..., 0]] < hashes[pairs[..., 1]]).all()
    assert np.array_equal(best.scores[:, 0:30:2], best.scores[:, 1:30:2])


def test_a_filter_holds_whatever_the_scores() -> None:
    rng = np.random.default_rng(2)
    members, sales = normal(150, 16), normal(900, 16, seed=1)
    filters = some_filters(rng, 150, 900)
    may = allowed(filters, 150, 900)
    for search in (Search(), Search(precision="bf16"), Search(k=600)):
        best = top_k(members, sales, search, filters=filters)
        row, place = np.nonzero(best.sales != NONE)
        assert may[row, best.sales[row, place]].all()
        many = (best.sales != NONE).sum(axis=1)
        assert many.tolist() == np.minimum(search.k, may.sum(axis=1)).tolist()
        assert all(
            len(set(line[line != NONE])) == n for line, n in zip(best.sales, many, strict=True)
        )


@pytest.mark.parametrize(
    ("members", "filters"),
    [
        (0, Filters()),
        (3, Filters(open=np.zeros(50, dtype=np.bool_))),
        (3, Filters(consent=np.zeros(3, dtype=np.bool_))),
    ],
    ids=["no members", "nothing open", "no consent"],
)
def test_nothing_to_give_is_nothing(members: int, filters: Filters) -> None:
    best = top_k(normal(members, 4), normal(50, 4), Search(k=5), filters=filters)
    assert best.sales.shape == (members, 5)
    assert (best.sales == NONE).all()
    assert np.isneginf(best.scores).all()


def test_bfloat16_alone_is_approximate_and_says_how_much() -> None:
    members, sales = normal(400, 64), normal(2_000, 64, seed=1)
    search = Search(precision="bf16")
    share = recall(members, sales, search, sample=100)
    assert 0.95 < share < 1
    assert recall(members, sales, Search(sieve="bf16"), sample=100) == 1
    best, truth = top_k(members, sales, search), top_k(members, sales, Search())
    hits = [len(set(a) & set(b)) for a, b in zip(best.sales, truth.sales, strict=True)]
    assert recall(members, sales, search, sample=400) == pytest.approx(np.mean(hits) / 50)


def test_recall_asks_for_what_the_filters_leave() -> None:
    filters = some_filters(np.random.default_rng(4), 80, 300)
    members, sales = normal(80, 8), normal(300, 8, seed=1)
    assert recall(members, sales, Search(k=10), filters=filters, sample=30) == 1
    nobody = replace(filters, consent=np.zeros(80, dtype=np.bool_))
    assert np.isnan(recall(members, sales, Search(k=10), filters=nobody))


def test_blocks_come_in_order_and_hold_every_member_once(tmp_path: Path) -> None:
    np.save(tmp_path / "members.npy", normal(230, 8))
    members = np.load(tmp_path / "members.npy", mmap_mode="r")
    sales = normal(300, 8, seed=1)
    parts = list(blocks(members, sales, Search(k=4, block=50, threads=2)))
    assert [(part.first, len(part.sales)) for part in parts] == [
        (0, 50),
        (50, 50),
        (100, 50),
        (150, 50),
        (200, 30),
    ]
    assert {part.sales.dtype for part in parts} == {np.dtype(np.int32)}
    whole = top_k(np.array(members), sales, Search(k=4))
    assert np.array_equal(np.concatenate([part.sales for part in parts]), whole.sales)


def test_a_slow_reader_holds_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    pick = Picker.pick

    def counted(picker: Picker, first: int, last: int) -> tuple[I32, F32]:
        asked.append(first)
        return pick(picker, first, last)

    monkeypatch.setattr(Picker, "pick", counted)
    stream = blocks(normal(400, 4), normal(100, 4), Search(k=3, block=10, threads=2))
    for taken, _ in enumerate(islice(stream, 5), start=1):
        assert len(asked) <= taken + 2 + 1
    close(stream)
    assert len(asked) < 40


def close(stream: Iterator[object]) -> None:
    stream.close()  # type: ignore[attr-defined]  # it is a generator


def test_the_callers_threads_stay_as_they_were() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        stream = blocks(normal(90, 4), normal(100, 4), Search(k=3, block=10, threads=2))
        next(stream)
        assert torch.get_num_threads() == 2
        close(stream)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"open": np.ones(9, dtype=np.bool_)}, r"open is bool\[9\], wanted bool\[20\]"),
        ({"consent": np.ones(5, dtype=np.int64)}, r"consent is int64\[5\]"),
        ({"seen_ptr": np.zeros(6, dtype=np.int64)}, "seen_sale go together|go together"),
        (
            {"seen_ptr": np.array([0, 2, 1, 1, 1, 1]), "seen_sale": np.zeros(1, dtype=np.int32)},
            "rise from 0 to 1 in 6 steps",
        ),
        (
            {
                "seen_ptr": np.array([0, 1, 1, 1, 1, 1]),
                "seen_sale": np.full(1, 20, dtype=np.int32),
            },
            "spans 20 to 20; sales are 20",
        ),
    ],
)
def test_filters_of_another_audience_are_refused(
    changed: dict[str, np.ndarray], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        top_k(normal(5, 4), normal(20, 4), Search(k=2), filters=Filters(**changed))


def test_vectors_that_cannot_be_ranked_are_refused_by_name() -> None:
    members, sales = normal(9, 4), normal(20, 4)
    with pytest.raises(ValueError, match=r"members \[9, 4\] and sales \[20, 3\] do not fit"):
        top_k(members, sales[:, :3], Search(k=2))
    for value in (np.nan, np.inf, 1e38):
        odd = members.copy()
        odd[6, 2] = value
        with pytest.raises(ValueError, match="member row 6 holds"):
            top_k(odd, sales, Search(k=2))
    sales[3, 3] = np.nan
    with pytest.raises(ValueError, match="sales hold numbers that are not finite"):
        top_k(members, sales, Search(k=2))


def test_settings_out_of_bounds_are_refused() -> None:
    with pytest.raises(SettingError, match="k is 0; it is 1 at least"):
        Search(k=0)
    with pytest.raises(SettingError, match="tile is -1"):
        Search(tile=-1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_here_is_said_so() -> None:
    with pytest.raises(DeviceError, match="no GPU found"):
        top_k(normal(2, 4), normal(9, 4), Search(k=1, device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_finds_what_a_full_sort_of_its_scores_finds() -> None:
    members, sales = normal(300, 64), normal(3_000, 64, seed=1)
    best = top_k(members, sales, Search(device="cuda"))
    host = top_k(members, sales, Search())
    # two sums of a score may differ in their last bits, and swap neighbours
    assert np.allclose(best.scores, host.scores, atol=1e-4)
    assert (best.sales == host.sales).mean() > 0.99
