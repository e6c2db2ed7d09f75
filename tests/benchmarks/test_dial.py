"""Slates that are watched while they are played bring what was bought of them that day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.dial import mean, played
from benchmarks.forward import settings
from recsys.domain.events import Kind
from recsys.evaluate.by_context import AT_DIAL, OWN
from recsys.rerank.dial import CONTEXTS, blended
from recsys.rerank.spec import Blend
from recsys.runs.forward import Start, start

DAYS = 2


@pytest.fixture(scope="module", name="begun")
def _begun(tmp_path_factory: pytest.TempPathFactory) -> Start:
    folder: Path = tmp_path_factory.mktemp("world")
    return start(settings(1, quick=True), days=DAYS, folder=folder)


def test_a_slot_is_rewarded_if_its_sale_was_bought_on_its_day(begun: Start) -> None:
    frame, days = played(begun, Blend(), days=DAYS)
    record = begun.record
    bought = {
        (number, int(record.ids.member[member]), int(record.ids.sale[sale]))
        for number, day in enumerate(days)
        for member, sale, kind in zip(
            day.log.member.tolist(), day.log.sale.tolist(), day.log.kind.tolist(), strict=True
        )
        if kind == Kind.PURCHASE
    }
    shown = {
        (send, int(member), sale)
        for send, member, sale in frame.select("send", "member", "sale").iter_rows()
    }
    assert len(shown) == len(frame)
    assert frame["reward"].to_numpy().sum() == len(bought & shown)
    assert mean(frame) == len(bought & shown) / frame.select("send", "member").n_unique()
    assert OWN not in frame.columns


def test_drawn_dials_are_watched_with_their_chances(begun: Start) -> None:
    frame, _ = played(begun, Blend(novelty_drawn=1.0), days=DAYS)
    by_dial = frame.sort("send", "member", "slot").select(OWN, *AT_DIAL).to_numpy()
    logged = frame.sort("send", "member", "slot")["log_propensity"].to_numpy()
    whole = frame.group_by("send", "member").len().filter(pl.col("len") == 6).height
    assert whole * 6 == len(frame)
    again = blended(by_dial.reshape(-1, 6, 6).astype(np.float32), 1.0)
    np.testing.assert_allclose(again.ravel(), logged, atol=1e-6)
    assert {*frame["context"]} <= {*CONTEXTS}
