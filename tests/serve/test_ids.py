from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.serve.ids import Ids


@given(st.lists(st.text(max_size=5), unique=True), st.lists(st.text(max_size=5)))
def test_an_id_finds_its_row_and_others_none(known: list[str], asked: list[str]) -> None:
    ids = Ids("sale", np.array(known, dtype=object))
    assert ids.rows(known).tolist() == list(range(len(known)))
    wanted = [known.index(one) if one in known else -1 for one in asked]
    assert ids.rows(asked).tolist() == wanted


@pytest.mark.parametrize(
    ("ids", "said"),
    [(["a", "b", "a"], "1 ids of sales stand there twice"), (["a", None], "a sale is missing")],
)
def test_ids_that_cannot_be_told_apart_are_refused(ids: list[str | None], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Ids("sale", np.array(ids, dtype=object))
