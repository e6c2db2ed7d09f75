from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys.data.popularity import Popularity
from recsys.serve.bundle import Bundle
from recsys.serve.mapped import mapped, save
from tests.serve.resting import is_mapped


def test_an_array_comes_back_mapped_and_can_be_read_alone(tmp_path: Path) -> None:
    save(tmp_path / "some", ages=np.arange(5), none=np.zeros((0, 3), dtype=np.float32))
    ages, none = (mapped(tmp_path / "some", name) for name in ("ages", "none"))
    assert is_mapped(ages)
    assert ages.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="read-only"):
        ages[0] = 7
    assert (none.shape, none.dtype) == ((0, 3), np.float32)
    assert not is_mapped(none)


def test_all_there_is_of_members_and_events_is_mapped(bundle: Bundle) -> None:
    parts = bundle.parts
    ids, desk = parts.member_ids, parts.desk
    assert parts.members.ids is ids
    arrays = {name: getattr(parts.shop.history, name) for name in ("sale", "at", "kind", "value")}
    arrays |= {f"shown {name}": getattr(parts.shop.shown, name) for name in ("sale", "at")}
    arrays |= {"members": parts.members.vectors, "consent": parts.personalise}
    arrays |= {"text": ids.text, "start": ids.start, "key": ids.order.key, "row": ids.order.row}
    assert isinstance(desk.popularity, Popularity)
    assert isinstance(desk.maker_popularity, Popularity)
    arrays |= {"by sale": desk.popularity.times, "by maker": desk.maker_popularity.times}
    arrays |= {"sales": parts.sales.vectors, "index": parts.index.vectors}
    assert [name for name, array in arrays.items() if not is_mapped(array)] == []
