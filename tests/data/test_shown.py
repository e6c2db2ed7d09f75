from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.data.requests import blocks
from recsys.domain.dataset import Dataset
from recsys.domain.errors import SettingError
from recsys.domain.events import DAY, HOUR
from recsys.domain.source import Source
from recsys.domain.split import BLOCKS
from tests.data.shops import START, events, shop

SHOWN = Source(cadence="shown", outcome_hours=6, test_days=3)


@pytest.fixture(scope="module")
def shown() -> Dataset:
    """600 sends of twelve sales each; some members engage with them, or with others, later."""
    rng = np.random.default_rng(3)
    member, at = rng.integers(0, 8, 600), START + rng.integers(20 * DAY, 40 * DAY, 600)
    after = at + rng.integers(-3 * HOUR, 9 * HOUR, 600)
    dataset = shop(events(member, rng.integers(0, 60, 600), after), task="endless")
    rows = [
        (int(m), int(sale), int(t), f"send {s}", slot, 0, None)
        for s, (m, t) in enumerate(zip(member, at, strict=True))
        for slot, sale in enumerate(rng.permutation(60)[:12])
    ]
    exposures = pl.DataFrame(
        rows,
        schema={
            "member": pl.Int32, "sale": pl.Int32, "at": pl.Int64, "send": pl.String,
            "slot": pl.Int16, "channel": pl.UInt8, "propensity": pl.Float64,
        },
        orient="row",
    )  # fmt: skip
    return replace(dataset, exposures=exposures)


def by_hand(dataset: Dataset, first: int, last: int) -> dict[str, tuple[int, set[int]]]:
    """Send -> member and outcomes, for sends in [first, last] that have any."""
    history, found = dataset.history, dict[str, tuple[int, set[int]]]()
    for (send, member, at), sales in dataset.exposures.group_by("send", "member", "at"):
        if first <= at <= last:
            soon = (history.member == member) & (history.at >= at) & (history.at < at + 6 * HOUR)
            hit = set(history.sale[soon].tolist()) & set(sales["sale"].to_list())
            if hit:
                found[send] = member, hit
    return found


@pytest.mark.parametrize("block", BLOCKS)
def test_a_send_is_a_request_before_what_it_showed(shown: Dataset, block: str) -> None:
    made = blocks(shown, SHOWN)
    assert made.split is not None
    span, requests = getattr(made.split, block), getattr(made, block)
    wanted = by_hand(shown, span.start, span.last)
    sends = shown.exposures.group_by("at", "member").agg("sale", pl.col("send").first())
    of = {(at, member): (send, sales) for at, member, sales, send in sends.iter_rows()}
    found = dict[str, tuple[int, set[int]]]()
    for row in range(len(requests)):
        at, member = int(requests.at[row]), int(requests.member[row])
        send, sales = of[at, member]
        assert requests.shelf(row).tolist() == sorted(sales)
        assert int(requests.group[row]) == row
        cells = slice(requests.target_ptr[row], requests.target_ptr[row + 1])
        found[send] = member, set(requests.target_sale[cells].tolist())
        past = shown.history.at[shown.history.member_ptr[member] : requests.history_end[row]]
        assert (past < at).all()
        assert (shown.history.at[shown.history.member == member] < at).sum() == len(past)
    assert found == wanted
    assert len(wanted) > 2


def test_windows_end_at_the_watermark_and_outcomes_settle_inside(shown: Dataset) -> None:
    split = blocks(shown, SHOWN).split
    assert split is not None
    assert split.test.end == shown.watermark
    assert [(block.end - block.start) / DAY for block in split.blocks[1:]] == [1, 1, 1, 3]
    assert all(block.last == block.end - 6 * HOUR for block in split.blocks)
    assert split.towers.start == shown.exposures["at"].min()


def test_a_shop_that_kept_no_showings_is_told_so(shown: Dataset) -> None:
    bare = replace(shown, exposures=shown.exposures.clear())
    with pytest.raises(SettingError, match="decision time for block"):
        blocks(bare, SHOWN)
