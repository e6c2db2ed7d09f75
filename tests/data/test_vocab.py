from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.vocab import Vocab
from recsys.domain.arrays import NONE

ids = st.lists(st.text(max_size=4), unique=True, max_size=20)


@given(ids)
def test_ids_and_rows_go_there_and_back(known: list[str]) -> None:
    vocab = Vocab(pl.Series(known, dtype=pl.String))
    rows = vocab.rows(known[::-1])
    assert rows.tolist() == list(range(len(known)))[::-1]
    assert vocab.names(rows).to_list() == known[::-1]


@given(ids, st.lists(st.text(max_size=4), max_size=20))
def test_an_id_nobody_knows_is_none(known: list[str], asked: list[str]) -> None:
    rows = Vocab(pl.Series(known, dtype=pl.String)).rows(asked)
    assert rows.tolist() == [known.index(one) if one in known else NONE for one in asked]


def test_none_has_no_name() -> None:
    vocab = Vocab(pl.Series(["a", "b"]))
    assert vocab.names(vocab.rows(["b", "z", "a"])).to_list() == ["b", None, "a"]


def test_two_rows_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="1 ids stand twice"):
        Vocab(pl.Series(["a", "b", "a"]))
