from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.contract import check
from recsys.data.described import MemberColumns, blank
from recsys.data.encode import encode, fit
from recsys.data.encoders import Encoders
from recsys.domain.dataset import Dataset
from recsys.domain.encoded import Features
from recsys.domain.errors import SettingError
from recsys.domain.source import Source
from tests.towers.told import FACE, described, rich_dataset, rich_tables

BITS = 12
RICH = rich_dataset()
FITTED = fit(RICH, RICH.watermark, BITS)


def columns_of(dataset: Dataset, encoders: Encoders) -> MemberColumns:
    return MemberColumns(dataset.schema.members, encoders.members, BITS, dataset.zone)


SMALL = rich_tables(4, 3)
SAY = columns_of(RICH, FITTED)


def of_table(rows: list[dict[str, Any]]) -> Features:
    """The same people through tables, contract and `encode`."""
    tables = SMALL
    assert tables.members is not None
    names = [name for name in tables.members.columns if name != "income"]
    frame = pl.DataFrame(
        [
            {"member": f"n{row}", **{name: one.get(name) for name in names if name != "member"}}
            for row, one in enumerate(rows)
        ],
        schema={name: tables.members.schema[name] for name in names},
    )
    checked = check(replace(tables, members=frame), Source())
    features = encode(FITTED, checked.dataset).members
    assert checked.dataset.members["member"][: len(rows)].to_list() == frame["member"].to_list()
    return features


def cells(features: Features, entity: int) -> list[tuple[int, int, float]]:
    here = slice(int(features.ptr[entity]), int(features.ptr[entity + 1]))
    parts = (features.field, features.row, features.weight)
    return sorted(zip(*(part[here].tolist() for part in parts), strict=True))


@given(st.lists(described, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_what_is_said_becomes_what_the_same_row_of_a_table_becomes(said: list[Any]) -> None:
    found, expected = SAY(said), of_table(said)
    assert found.fields == expected.fields
    assert found.dense_names == expected.dense_names
    np.testing.assert_array_equal(found.missing_row, expected.missing_row)
    np.testing.assert_array_equal(found.dense, expected.dense[: len(said)])
    for entity in range(len(said)):
        assert cells(found, entity) == cells(expected, entity)


@pytest.mark.parametrize(
    "written",
    ["1984-05-06T23:30:00+02:00", "1984-05-06 23:30", 452_727_000, 452_727_000_000, 452727e9],
)
def test_an_instant_may_be_written_in_any_way_the_contract_reads(written: str | float) -> None:
    expected = of_table([{"born_at": datetime.fromisoformat("1984-05-06T23:30:00+02:00")}])
    assert cells(SAY([{"born_at": written}]), 0) == cells(expected, 0)


def test_numbers_and_truths_are_the_texts_a_table_makes_of_them() -> None:
    def rows(value: object) -> list[tuple[int, int, float]]:
        return cells(SAY([{"region": value}]), 0)

    assert rows(7) == rows(7.0) == rows("7")
    assert rows(7.5) == rows("7.5")
    assert rows(True) == rows("true")
    assert rows("  ") == rows(None) == cells(SAY([{}]), 0)
    assert rows("7") != rows("8")


def test_a_number_may_come_as_text() -> None:
    assert SAY([{"spent": " 12.5 "}]).dense.tolist() == SAY([{"spent": 12.5}]).dense.tolist()


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"regoin": "x"}, r"no column 'regoin': 'region'\?"),
        ({"income": 3}, "no column 'income'"),
        ({"region": ["a"]}, "'region' of a newcomer is a list, wanted one value"),
        ({"region": {"a": 1}}, "'region' of a newcomer is a dict"),
        ({"region": "x" * 501}, "longer than 500 letters"),
        ({"likes": ["x"] * 201}, "more than 200 values"),
        ({"spent": "much"}, "'spent' of a newcomer cannot be read as a number"),
        ({"face": [1.0]}, f"'face' of a newcomer is no list of {FACE} numbers"),
        ({"born_at": "soon"}, "'born_at' of a newcomer cannot be read as an instant"),
        ({"born_at": "2020-03-29T02:30:00"}, "cannot be read as an instant"),
        ({"born_at": True}, "cannot be read as an instant"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_and_never_repeated(
    said: dict[str, object], what: str
) -> None:
    with pytest.raises(SettingError, match=what) as refused:
        SAY([said])
    assert "much" not in str(refused.value)


def test_a_sensitive_column_that_is_not_used_is_none_to_speak_of() -> None:
    assert "income" not in SAY.names
    with pytest.raises(SettingError, match="columns are: region, likes, spent"):
        SAY([{"income": 20}])


def test_blank_is_what_a_table_calls_blank() -> None:
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    stripped = pl.Series(letters).str.strip_chars().str.len_bytes()
    assert [blank(letter) for letter in letters] == (stripped == 0).to_list()
    assert [blank(text) for text in ("", " \t", " \x1f", "a ")] == [True, True, False, False]
