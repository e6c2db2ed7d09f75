from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.bags import Cells, text_cells, value_cells
from recsys.data.hashing import MISSING, Hasher, table_row

words = st.none() | st.lists(st.none() | st.sampled_from(["", " ", "a", "b", "c"]), max_size=6)


def hashed(values: pl.Series) -> Cells:
    return value_cells(values, "f", field="f", hasher=Hasher(30))


def rows_of(cells: Cells, entity: int) -> set[int]:
    return set(cells.row[cells.entity == entity].tolist())


@given(st.lists(words, max_size=8))
def test_a_bag_holds_each_distinct_value_once_and_never_nothing(
    bags: list[list[str | None] | None],
) -> None:
    cells = hashed(pl.Series(bags, dtype=pl.List(pl.String)))
    for entity, bag in enumerate(bags):
        known = {value for value in bag or [] if value and value.strip()} or {MISSING}
        assert rows_of(cells, entity) == {table_row("f", value, 30) for value in known}
        weights = cells.weight[cells.entity == entity]
        assert np.allclose(weights, 1 / np.sqrt(len(known)))
        assert len(weights) == len(known)


def test_a_number_and_its_text_are_one_value() -> None:
    assert (hashed(pl.Series([7, 8])).row == hashed(pl.Series(["7", "8"])).row).all()


def test_a_shared_name_gives_equal_rows_but_each_field_its_own_missing_row() -> None:
    values, hasher = pl.Series(["Paris", None]), Hasher(30)
    one, two = (value_cells(values, "city", field=f, hasher=hasher) for f in ("m.city", "s.city"))
    assert one.row[0] == two.row[0]
    assert one.row[1] != two.row[1]


def test_words_of_any_case_are_one_and_punctuation_is_none() -> None:
    texts = pl.Series(["Red-silk GOWN!", "gown, silk; red", "?!", None])
    cells = text_cells(texts, "t", grams=False, hasher=Hasher(30))
    assert rows_of(cells, 0) == rows_of(cells, 1)
    assert rows_of(cells, 0) == {table_row("t", word, 30) for word in ("red", "silk", "gown")}
    assert rows_of(cells, 2) == rows_of(cells, 3) == {table_row("t", MISSING, 30)}


def test_words_of_one_stem_share_pieces() -> None:
    cells = text_cells(pl.Series(["runner", "running"]), "t", grams=True, hasher=Hasher(30))
    # <ru run unn <run runn <runn
    assert len(rows_of(cells, 0) & rows_of(cells, 1)) == 6


def test_pieces_of_words_are_not_counted_as_values() -> None:
    texts, hasher = pl.Series(["silk gown"]), Hasher(2)
    text_cells(texts, "t", grams=True, hasher=hasher)
    assert set(hasher.rows_of["t"]) == {"silk", "gown", MISSING}


def test_texts_without_any_word_are_missing() -> None:
    cells = text_cells(pl.Series([None, None], dtype=pl.String), "t", grams=True, hasher=Hasher(8))
    assert cells.entity.tolist() == [0, 1]
