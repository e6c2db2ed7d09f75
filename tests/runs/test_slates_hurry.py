from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tests.builders import tiny_dataset
from tests.runs.slates_shop import Shop, hashes, log_of, manifest, policies, shop_of


@pytest.fixture(scope="module", name="shop")
def _shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    dataset = tiny_dataset(members=60, days=10, sales_a_day=20)
    return shop_of(tmp_path_factory.mktemp("shop"), dataset)


@pytest.fixture(scope="module", name="whole")
def _whole(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everybody's slates, in four shards."""
    return shop.made(members_per_shard=15, out=str(tmp_path_factory.mktemp("whole")))


class Ticking:
    """A clock that jumps each time it is read."""

    def __init__(self, step: float) -> None:
        self.at, self.step = datetime(2026, 4, 1, 9, tzinfo=UTC).timestamp(), step

    def __call__(self) -> float:
        self.at += self.step
        return self.at


def test_what_is_not_done_in_time_is_made_in_a_cheaper_way_and_said_so(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shop.made(
        members_per_shard=4, finish_by="2026-04-01T09:10", out=str(tmp_path), now=Ticking(20.0)
    )
    counts, ways = manifest(folder).counts, policies(folder)
    assert min(counts["by_value"], counts["by_taste"], counts["plain_for_lack_of_time"]) > 0
    found = log_of(folder).with_columns(way=pl.col("policy_id").replace_strict(ways))
    by_way = found.group_by("way").agg(pl.col("member_id").n_unique())
    assert dict(by_way.iter_rows()) == {
        "value": counts["by_value"], "taste": counts["by_taste"], "plain": counts["plain"]
    }  # fmt: skip
    # who withholds consent got the plain one for that
    assert counts["plain"] == counts["plain_for_lack_of_time"] + counts["withheld_consent"]
    said = capsys.readouterr().out
    assert "by taste alone" in said
    assert "without scores" in said


@pytest.mark.slow
def test_with_time_enough_a_deadline_changes_no_bit(
    shop: Shop, whole: Path, tmp_path: Path
) -> None:
    folder = shop.made(
        members_per_shard=15, finish_by="2026-04-02T09:00", out=str(tmp_path), now=Ticking(1.0)
    )
    assert hashes(folder) == hashes(whole)
