from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recsys.data.contract import check
from recsys.data.requests import blocks
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.public import CiteULike, citeulike

WARM, COLD_VALIDATION, COLD_TEST = range(20), range(20, 25), range(25, 30)
PAIRS = {
    "warm_emb": [(m, (3 * m + i) % 20) for m in range(25) for i in range(12)],
    "warm_val": [(m, (3 * m + 12) % 20) for m in range(25)],
    "cold_item_val": [(m, 20 + m % 5) for m in range(25)],
    "warm_test": [(m, (3 * m + i) % 20) for m in range(20) for i in (13, 14)],
    "cold_item_test": [(m, 25 + m % 5) for m in range(10, 25)],
}
Pairs = list[tuple[int, int]]


@pytest.fixture
def source(tmp_path: Path) -> CiteULike:
    for name, pairs in PAIRS.items():
        text = "user,item\n" + "".join(f"{m},{sale}\n" for m, sale in pairs)
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    tags = "".join(f"2 {i} {100 + i % 3}\n" for i in range(29)) + "0"
    (tmp_path / "item-tag.dat.gz").write_bytes(gzip.compress(tags.encode()))
    cited = "0\n" + "".join(f"1 {i - 1}\n" for i in range(1, 30))
    (tmp_path / "citations.dat.gz").write_bytes(gzip.compress(cited.encode()))
    return CiteULike(root=str(tmp_path))


def checked(source: CiteULike) -> Dataset:
    return check(citeulike.tables(source), source).dataset


def outcomes(dataset: Dataset, requests: Requests, *, new: bool) -> Pairs:
    """Pairs on sales that opened within 24 hours of their request, or on the others."""
    members, sales = dataset.members["member"], dataset.sales["sale"]
    row = np.repeat(np.arange(len(requests)), np.diff(requests.target_ptr))
    age = requests.at[row] - dataset.opens_at[requests.target_sale]
    return sorted(
        (int(members[int(requests.member[r])]), int(sales[int(sale)]))
        for r, sale, fresh in zip(row, requests.target_sale, age < DAY, strict=True)
        if fresh == new
    )


def candidates(dataset: Dataset, requests: Requests, *, new: bool) -> set[int]:
    shelf = requests.shelf(0)
    fresh = requests.group_at[0] - dataset.opens_at[shelf] < DAY
    return {int(dataset.sales["sale"][int(row)]) for row in shelf[fresh == new]}


def test_what_is_new_is_the_cold_ranking_and_the_rest_the_warm_one(source: CiteULike) -> None:
    dataset = checked(source)
    test = blocks(dataset, source).test
    assert outcomes(dataset, test, new=True) == sorted(PAIRS["cold_item_test"])
    assert outcomes(dataset, test, new=False) == sorted(PAIRS["warm_test"])
    assert candidates(dataset, test, new=True) == set(COLD_TEST)
    assert candidates(dataset, test, new=False) == set(WARM)


def test_validation_has_cold_articles_of_its_own(source: CiteULike) -> None:
    dataset = checked(source)
    validation = blocks(dataset, source).validation
    assert outcomes(dataset, validation, new=True) == sorted(PAIRS["cold_item_val"])
    assert outcomes(dataset, validation, new=False) == sorted(PAIRS["warm_val"])
    assert candidates(dataset, validation, new=True) == set(COLD_VALIDATION)


def test_training_knows_the_train_pairs_alone(source: CiteULike) -> None:
    dataset = checked(source)
    towers = blocks(dataset, source).towers
    assert outcomes(dataset, towers, new=False) == sorted(PAIRS["warm_emb"])
    assert outcomes(dataset, towers, new=True) == []
    assert towers.num_groups == 1
    assert set(towers.shelf(0).tolist()) == set(WARM)


def test_the_overall_ranking_may_ask_those_alone_who_have_both(source: CiteULike) -> None:
    both = source.model_copy(update={"only_both": True})
    dataset = checked(both)
    test = blocks(dataset, both).test
    members = dataset.members["member"].gather(test.member).cast(int).to_list()
    assert sorted(members) == list(range(10, 20))


def test_articles_have_their_tags_and_citations(source: CiteULike) -> None:
    sales = citeulike.tables(source).sales
    found = {row[0]: row[1:] for row in sales.select("sale", "tags", "citations").iter_rows()}
    assert found["0"] == (["0", "100"], [])
    assert found["28"] == (["28", "101"], ["27"])
    assert found["29"] == ([], ["28"])


@pytest.mark.data
def test_the_published_counts_are_found(measured: Callable[[str], str]) -> None:
    source = CiteULike(root=measured("citeulike-a-cold"))
    dataset = checked(source)
    test = blocks(dataset, source).test
    assert (dataset.num_members, dataset.num_sales) == (5_551, 16_980)
    assert len(dataset.events) == 204_986
    assert len(outcomes(dataset, test, new=True)) == 20_158
    assert len(outcomes(dataset, test, new=False)) == 16_482
    assert len(candidates(dataset, test, new=True)) == 1_698
    assert len(candidates(dataset, test, new=False)) == 13_584
    assert "edabd0df5ea9913b7380965d78dd8283" in citeulike.tables(source).notes[0]
