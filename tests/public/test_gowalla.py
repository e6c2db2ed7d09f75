from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recsys.data.contract import check
from recsys.data.requests import blocks
from recsys.domain.dataset import Dataset
from recsys.domain.requests import Requests
from recsys.public import Gowalla, gowalla

PLACES = 40
TRAIN = {member: [(7 * member + 3 * i) % PLACES for i in range(20)] for member in range(30)}
TEST = {member: [(7 * member + 3 * i) % PLACES for i in range(20, 22)] for member in range(1, 30)}


@pytest.fixture
def source(tmp_path: Path) -> Gowalla:
    for name, lines in zip(gowalla.FILES, (TRAIN, TEST), strict=True):
        text = "".join(f"{m} {' '.join(map(str, places))}\n" for m, places in lines.items())
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    return Gowalla(root=str(tmp_path), validation_share=0.2)


def pairs(dataset: Dataset, requests: Requests) -> list[tuple[int, int]]:
    members, sales = dataset.members["member"], dataset.sales["sale"]
    row = np.repeat(requests.member, np.diff(requests.target_ptr))
    return sorted(
        (int(members[int(member)]), int(sales[int(sale)]))
        for member, sale in zip(row, requests.target_sale, strict=True)
    )


def pairs_of(lines: dict[int, list[int]]) -> list[tuple[int, int]]:
    return sorted((member, place) for member, places in lines.items() for place in places)


def test_the_test_is_the_published_file_pair_for_pair(source: Gowalla) -> None:
    dataset = check(gowalla.tables(source), source).dataset
    test = blocks(dataset, source).test
    assert pairs(dataset, test) == pairs_of(TEST)
    assert len(test.shelf(0)) == PLACES
    past = test.history_end - dataset.history.member_ptr[test.member]
    assert past.tolist() == [20] * 29


def test_each_train_pair_is_asked_for_once_in_sets_or_in_validation(source: Gowalla) -> None:
    dataset = check(gowalla.tables(source), source).dataset
    made = blocks(dataset, source)
    judged = pairs(dataset, made.value) + pairs(dataset, made.calibration)
    assert sorted(judged) == pairs(dataset, made.validation)
    assert sorted(pairs(dataset, made.towers) + judged) == pairs_of(TRAIN)
    assert 0.1 < len(judged) / 600 < 0.3
    assert len(made.towers) == len(TRAIN)
    assert made.towers.hidden_share == source.hidden_share
    past = made.towers.history_end - dataset.history.member_ptr[made.towers.member]
    assert np.array_equal(past, np.diff(made.towers.target_ptr))
    assert set(made.value.member) & set(made.calibration.member) == set()


def test_another_seed_keeps_others_for_validation_and_the_same_seed_the_same(
    source: Gowalla,
) -> None:
    again = gowalla.tables(source).events
    other = gowalla.tables(source.model_copy(update={"seed": 2})).events
    assert gowalla.tables(source).events.equals(again)
    assert not other.equals(again)
    assert other.select("member", "sale").equals(again.select("member", "sale"))


def test_notes_name_the_bytes_of_the_test_and_what_validates(source: Gowalla) -> None:
    notes = " ".join(gowalla.tables(source).notes)
    assert "600 train pairs and 58 test pairs; md5 of test.txt.gz: " in notes
    assert "no times and no order in the set" in notes
    assert "drawn by chance (seed 1), are validation" in notes


@pytest.mark.data
@pytest.mark.slow
def test_the_published_counts_are_found(measured: Callable[[str], str]) -> None:
    source = Gowalla(root=measured("gowalla-lightgcn"))
    tables = gowalla.tables(source)
    assert "6d36f5ed518e85ae606b062db4a62f22" in tables.notes[0]
    dataset = check(tables, source).dataset
    made = blocks(dataset, source)
    assert (dataset.num_members, dataset.num_sales) == (29_858, 40_981)
    assert (len(made.test), len(made.test.target_sale)) == (29_858, 217_242)
    learned = len(made.towers.target_sale) + len(made.validation.target_sale)
    assert learned == 810_128
