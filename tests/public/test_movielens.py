from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.data.contract import check
from recsys.data.requests import blocks
from recsys.public import Movielens, movielens

FILES = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "196\t242\t3\t881250949\n186\t302\t1\t891717742\n196\t302\t5\t881250949\n",
    "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    '242\tKolya "x"\t1996\tComedy\n302\tL.A. Confidential\t1997\tCrime Thriller\n'
    "267\tunknown\t\tunknown\n",
    "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "196\t49\tM\twriter\t55105\n186\t39\tF\texecutive\t00000\n",
}


@pytest.fixture
def source(tmp_path: Path) -> Movielens:
    for part, text in FILES.items():
        (tmp_path / f"ml-100k.{part}.gz").write_bytes(gzip.compress(text.encode()))
    return Movielens(root=str(tmp_path))


def test_every_rating_is_a_view_whatever_its_stars(source: Movielens) -> None:
    tables = movielens.tables(source)
    assert tables.events["sale"].to_list() == ["242", "302", "302"]
    assert set(tables.events["kind"]) == {"view"}


def test_films_keep_their_genres_and_decade(source: Movielens) -> None:
    films = movielens.tables(source).sales
    assert films["genres"].to_list() == [["Comedy"], ["Crime", "Thriller"], ["unknown"]]
    assert films["decade"].to_list() == ["1990s", "1990s", None]
    assert films["title"].to_list()[0] == 'Kolya "x"'


def test_all_films_are_open_before_the_first_rating_and_none_is_refused(
    source: Movielens,
) -> None:
    checked = check(movielens.tables(source), source)
    assert len(checked.dataset.events) == 3
    assert len(checked.dataset.shelf(int(checked.dataset.events.at.min()))) == 3


@pytest.mark.data
def test_the_last_fifth_of_each_member_is_the_test(measured: Callable[[str], str]) -> None:
    source = Movielens(root=measured("ml-100k"))
    made = blocks(check(movielens.tables(source), source).dataset, source)
    assert len(made.test.target_sale) == 19_633
    assert len(made.test) == 943
    assert len(made.test.shelf(0)) == 1682
