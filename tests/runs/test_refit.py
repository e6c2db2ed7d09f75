"""What does not go together with a second training on validation's days."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from recsys.domain.errors import SettingError
from recsys.rerank.spec import Pure
from recsys.runs.earlier import earlier
from recsys.runs.learn import pose
from recsys.runs.prepare import Prepared, prepare
from recsys.runs.spec import Train
from recsys.towers.spec import TwoTower
from recsys.world.spec import FlashSales

TWICE = Train(data=FlashSales(size="small", value_days=0), towers=TwoTower(refit=True))
NOTHING = cast("Prepared", None)


def test_a_value_model_is_not_fitted_on_what_a_refit_learns() -> None:
    with pytest.raises(SettingError, match=r"data\.value_days=1"):
        pose(NOTHING, TWICE, Path())


def test_lists_of_value_alone_may_be_made_and_the_run_notes_what_is_fair(tmp_path: Path) -> None:
    alone = TWICE.model_copy(update={"rerank": Pure()})
    posed = pose(prepare(alone.data), alone, tmp_path)
    assert posed.blocks.refit is not None
    assert any("only taste is judged fairly" in note for note in posed.blocks.notes)


def test_towers_that_start_from_earlier_ones_are_not_refitted() -> None:
    with pytest.raises(SettingError, match="leave out warm_start"):
        earlier(TWICE.model_copy(update={"warm_start": "CURRENT"}))
