"""Sets of which the order alone is known, judged by leaving the last item out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.data.contract import check
from recsys.data.requests import Blocks, blocks
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.public import Beauty, Movielens1M, beauty, movielens_1m
from recsys.public.dated import one_out

MEMBERS, ITEMS = 12, 15
SEQUENCES = {m: [(4 * m + 7 * i) % ITEMS + 1 for i in range(4 + m % 3)] for m in range(1, 13)}


@pytest.fixture
def films(tmp_path: Path) -> Movielens1M:
    lines = "".join(f"{m} {sale}\n" for m, sales in SEQUENCES.items() for sale in sales)
    (tmp_path / "ml-1m_sasrec.txt.gz").write_bytes(gzip.compress(lines.encode()))
    movies = [f"{100 + i}::Film é (19{40 + i}) (19{50 + i})::Drama|War" for i in range(1, 16)]
    (tmp_path / "movies.dat").write_bytes("\n".join(movies).encode("latin-1"))
    users = [f"{200 + m}::F::25::7::55117" for m in range(1, 13)]
    (tmp_path / "users.dat").write_text("\n".join(users))
    ids = "".join(f"{i} {100 + i}\n" for i in range(1, ITEMS + 1))
    (tmp_path / "sas_to_original_items.txt").write_text(ids)
    ids = "".join(f"{m} {200 + m}\n" for m in range(1, MEMBERS + 1))
    (tmp_path / "sas_to_original_users.txt").write_text(ids)
    return Movielens1M(root=str(tmp_path))


@pytest.fixture
def products(tmp_path: Path) -> Beauty:
    lines = "".join(f"{m} {' '.join(map(str, sales))}\n" for m, sales in SEQUENCES.items())
    sequences, attributes = beauty.FILES
    (tmp_path / sequences).write_bytes(gzip.compress(lines.encode()))
    known = json.dumps({str(i): [i, 99] for i in range(1, ITEMS)})
    (tmp_path / attributes).write_bytes(gzip.compress(known.encode()))
    return Beauty(root=str(tmp_path))


def made_of(source: Movielens1M | Beauty) -> tuple[Dataset, Blocks]:
    tables = movielens_1m.tables if isinstance(source, Movielens1M) else beauty.tables
    dataset = check(tables(source), source).dataset  # type: ignore[arg-type]  # the one it reads
    return dataset, blocks(dataset, source)


def targets(dataset: Dataset, requests: Requests) -> dict[int, list[int]]:
    """Member -> the sales of their requests in order of time."""
    members, sales = dataset.members["member"], dataset.sales["sale"]
    assert np.diff(requests.target_ptr).tolist() == [1] * len(requests)
    found = dict[int, list[int]]()
    for row in np.lexsort((requests.at, requests.member)):
        member = int(members[int(requests.member[row])])
        found.setdefault(member, []).append(int(sales[int(requests.target_sale[row])]))
    return found


@pytest.mark.parametrize("name", ["films", "products"])
def test_the_last_is_tested_the_one_before_validates_the_others_train(
    name: str, request: pytest.FixtureRequest
) -> None:
    dataset, made = made_of(request.getfixturevalue(name))
    assert targets(dataset, made.test) == {m: seq[-1:] for m, seq in SEQUENCES.items()}
    assert targets(dataset, made.validation) == {m: seq[-2:-1] for m, seq in SEQUENCES.items()}
    assert targets(dataset, made.towers) == {m: seq[:-2] for m, seq in SEQUENCES.items()}
    past = made.test.history_end - dataset.history.member_ptr[made.test.member]
    assert past.tolist() == [len(seq) - 1 for seq in SEQUENCES.values()]
    assert len(made.test.shelf(0)) == ITEMS
    assert made.test.exclude_seen


def test_a_sequence_keeps_its_order_and_ends_in_two_days() -> None:
    events = pl.DataFrame({"member": ["a"] * 4 + ["b"], "sale": list("vwxyq")})
    at = one_out(events)["at"].to_list()
    assert at == [datetime(2019, 12, day, 0, 1, tzinfo=UTC) for day in (28, 29, 30, 31, 31)]


def test_a_past_is_as_old_in_the_test_as_in_training(films: Movielens1M) -> None:
    dataset, made = made_of(films)
    for block in (made.towers, made.validation, made.test):
        known = block.history_end > dataset.history.member_ptr[block.member]
        ages = block.at[known] - dataset.history.at[block.history_end[known] - 1]
        assert known.any()
        assert (ages >= DAY - 60_000_000).all()
        assert (ages <= DAY).all()


def test_films_keep_title_genres_and_the_last_year(films: Movielens1M) -> None:
    tables = movielens_1m.tables(films)
    assert tables.members is not None
    assert tables.members.row(0) == ("1", "F", "25", "7")
    first = tables.sales.row(0, named=True)
    assert first["title"] == "Film é (1941) (1951)"
    assert (first["genre"], first["genres"]) == ("Drama", ["Drama", "War"])
    assert first["decade"] == "1950s"


def test_products_have_attributes_where_they_are_known(products: Beauty) -> None:
    found = dict(beauty.tables(products).sales.select("sale", "attributes").iter_rows())
    assert found["3"] == ["3", "99"]
    assert found["15"] is None


@pytest.mark.data
@pytest.mark.slow
def test_the_films_left_out_are_those_of_the_published_split(
    measured: Callable[[str], str],
) -> None:
    folder = measured("ml-1m")
    dataset, made = made_of(Movielens1M(root=folder))
    assert (dataset.num_members, dataset.num_sales) == (6_040, 3_416)
    assert len(dataset.events) == 999_611
    text = gzip.decompress(Path(folder, "gsasrec_test_output.txt.gz").read_bytes()).decode()
    found = targets(dataset, made.test)
    assert [found[member] for member in sorted(found)] == [[int(x)] for x in text.split()]
    assert (
        "5312945076bf78ea3ff38a0ac721de98" in movielens_1m.tables(Movielens1M(root=folder)).notes[0]
    )


@pytest.mark.data
def test_the_products_of_the_published_counts_are_found(measured: Callable[[str], str]) -> None:
    source = Beauty(root=measured("amazon-beauty"))
    dataset, made = made_of(source)
    assert (dataset.num_members, dataset.num_sales) == (22_363, 12_101)
    assert (len(dataset.events), len(made.test.target_sale)) == (198_502, 22_363)
    assert dataset.sales["attributes"].null_count() == 0
    assert "c86426a160cddde6957d7e00d2ff8153" in beauty.tables(source).notes[0]
