from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.domain import idtable
from recsys.domain.arrays import NONE
from recsys.domain.idtable import FEW, IdTable, Order
from recsys.domain.keys import U64, keys_of

LISTS = st.lists(st.text(max_size=5) | st.integers().map(str), unique=True)


def table(ids: Sequence[str]) -> IdTable:
    return IdTable.of(list(ids), "sale")


@given(known=LISTS, asked=LISTS)
def test_an_id_finds_its_row_and_others_none(known: list[str], asked: list[str]) -> None:
    ids = table(known)
    wanted = [known.index(one) if one in known else NONE for one in asked]
    assert ids.rows(known).tolist() == list(range(len(known)))
    assert ids.rows(asked).tolist() == wanted
    # many are looked up another way than few
    assert ids.rows(asked * (FEW + 1)).tolist() == wanted * (FEW + 1)
    for one, row in zip(asked, wanted, strict=True):
        assert ids.rows([one]).tolist() == [row]


def test_a_text_of_one_nul_is_not_the_empty_one() -> None:
    for known in (["", "\x00"], ["\x00", ""]):
        ids = table(known)
        assert ids.rows(["", "\x00", "\x00\x00"]).tolist() == [
            known.index(""),
            known.index("\x00"),
            NONE,
        ]
        assert ids[:1].rows(known).tolist() == [0, NONE]
        assert ids[:0].rows(known).tolist() == [NONE, NONE]


@given(known=LISTS.filter(bool), data=st.data())
def test_a_table_reads_like_the_column_it_is(known: list[str], data: st.DataObject) -> None:
    ids, plain = table(known), np.array(known, dtype=object)
    rows = data.draw(st.lists(st.integers(-len(known), len(known) - 1)))
    first, last = data.draw(st.integers(-9, 9)), data.draw(st.integers(-9, 9))
    mask = np.arange(len(known)) % 2 == 0
    assert len(ids) == len(known)
    assert [*ids] == ids.tolist() == known
    assert [ids[row] for row in rows] == plain[rows].tolist()
    for some in (slice(first, last), slice(None, None, -2), np.array(rows, dtype=int), mask):
        part: Any = ids[some]
        assert part.tolist() == plain[some].tolist()
    part = ids[first:last]
    # asked of the list: an array of numpy takes "" for a text of one NUL
    within = known[first:last]
    assert part.rows(known).tolist() == [
        within.index(one) if one in within else NONE for one in known
    ]
    with pytest.raises(IndexError):
        ids[len(known)]


def test_polars_and_numpy_take_a_table_whole() -> None:
    known = ["m1", "", "Élodie", "m1\n", "x" * 300]
    ids = table(known)
    assert pl.Series(ids).to_list() == known
    assert pl.Series(ids[1:4], dtype=pl.String).to_list() == known[1:4]
    assert pl.DataFrame({"id": ids})["id"].to_list() == known
    assert np.asarray(ids).tolist() == known
    np.testing.assert_array_equal(keys_of(ids), keys_of(known))


def test_a_table_is_made_of_any_column_of_texts() -> None:
    known = ["b", "a", "c"]
    for column in (pl.Series(known), np.array(known), np.array(known, dtype=object), table(known)):
        made = IdTable.of(column, "member")
        assert made.tolist() == known
        assert made.rows(["a", "c"]).tolist() == [1, 2]


@pytest.mark.parametrize("times", [1, FEW + 1])
def test_half_a_character_is_no_id_and_no_error(times: int) -> None:
    ids = table(["�", "?", "a"])
    assert ids.rows(["\ud800", "a"] * times).tolist() == [NONE, 2] * times


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["a", "b", "a"], "1 ids of sales stand there twice"),
        (["a"] * 5 + ["b"] * 2, "5 ids of sales stand there twice"),
        (["a", None], "the id of a sale is missing"),
    ],
)
def test_ids_that_cannot_be_told_apart_are_refused(ids: list[str | None], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        IdTable.of(pl.Series(ids, dtype=pl.String), "sale")


@pytest.fixture(name="colliding")
def _colliding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash with three values, so that most ids share theirs."""

    def alike(ids: Any) -> U64:
        length = pl.Series(ids, dtype=pl.String).str.len_bytes().to_numpy()
        return (length % 3).astype(np.uint64)

    monkeypatch.setattr(idtable, "keys_of", alike)
    monkeypatch.setattr(idtable, "key_of_one", lambda text: len(text) % 3)


@pytest.mark.usefixtures("colliding")
def test_ids_of_one_hash_are_told_apart_by_their_text() -> None:
    known = [f"m{number}" for number in range(0, 300, 3)]
    ids = table(known)
    assert len(np.unique(ids.order.key)) == 3
    assert ids.rows(known).tolist() == list(range(100))
    asked = [f"m{number}" for number in range(300)]
    wanted = [number // 3 if number % 3 == 0 else NONE for number in range(300)]
    assert ids.rows(asked).tolist() == wanted
    assert [int(ids.rows([one])[0]) for one in asked] == wanted
    with pytest.raises(ValueError, match="2 ids of sales stand there twice"):
        table([*known, "m3", "m297"])


def swapped(ids: IdTable) -> IdTable:
    row = ids.order.row.copy()
    row[[0, 1]] = row[[1, 0]]
    return IdTable(ids.text, ids.start, Order(ids.order.key, row))


def repeated(ids: IdTable) -> IdTable:
    row = ids.order.row.copy()
    row[0] = row[1]
    return IdTable(ids.text, ids.start, Order(ids.order.key, row))


def unsorted(ids: IdTable) -> IdTable:
    order = ids.order
    return IdTable(ids.text, ids.start, Order(order.key[::-1], order.row[::-1]))


def cut(ids: IdTable) -> IdTable:
    return IdTable(ids.text[:-1], ids.start, ids.order)


def shorter(ids: IdTable) -> IdTable:
    return IdTable(ids.text, ids.start, Order(ids.order.key[1:], ids.order.row[1:]))


def beyond(ids: IdTable) -> IdTable:
    row = ids.order.row.copy()
    row[row.argmax()] = len(ids)
    return IdTable(ids.text, ids.start, Order(ids.order.key, row))


def renamed(ids: IdTable) -> IdTable:
    """One id made the text of another, as if the table had been written wrongly."""
    text = ids.text.copy()
    text[ids.start[1] : ids.start[2]] = text[ids.start[0] : ids.start[1]]
    return IdTable(text, ids.start, ids.order)


@pytest.mark.parametrize(
    "wrong", [swapped, repeated, unsorted, cut, shorter, beyond, renamed], ids=lambda f: f.__name__
)
def test_a_table_that_would_not_find_its_ids_is_refused(
    wrong: Callable[[IdTable], IdTable],
) -> None:
    ids = table([f"m{number:03}" for number in range(100)])
    assert ids.checked("member") is ids
    with pytest.raises(ValueError, match=r"the table of members (is not in order|does not find)"):
        wrong(ids).checked("member")


def test_the_order_of_equal_keys_is_that_of_their_rows() -> None:
    order = Order.of([str(number % 7) for number in range(1000)])
    assert (np.diff(order.key.astype(object)) >= 0).all()
    same = order.key[1:] == order.key[:-1]
    assert (np.diff(order.row)[same] > 0).all()
