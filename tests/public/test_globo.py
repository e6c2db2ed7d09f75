from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.data.contract import check
from recsys.data.encode import encode, fit
from recsys.data.requests import blocks
from recsys.domain.events import HOUR
from recsys.public import Globo, globo

FIRST = 1_506_826_800_026


@pytest.fixture
def source(tmp_path: Path) -> Globo:
    clicks, vectors = globo.FILES
    pl.DataFrame(
        {
            "user_id": [59, 79, 59],
            "click_article_id": [499, 500, 499],
            "click_timestamp": [FIRST + 5000, FIRST, FIRST + 9_000_000],
            "click_environment": [4, 2, 1],
            "session_id": [1, 2, 3],
        },
        schema_overrides={"user_id": pl.Int32, "click_article_id": pl.Int32},
    ).write_parquet(tmp_path / clicks)
    np.savez(
        tmp_path / vectors,
        article_id=np.array([499, 7]),
        emb=np.ones((2, 250), dtype=np.float32),
    )
    return Globo(root=str(tmp_path))


def test_clicks_become_views_and_an_article_opens_at_its_first(source: Globo) -> None:
    tables = globo.tables(source)
    sales = tables.sales.sort("sale")
    assert tables.events["kind"].to_list() == ["view"] * 3
    assert tables.events["channel"].to_list() == ["web", "app", "other"]
    assert sales["sale"].to_list() == ["499", "500"]
    assert sales["category"].to_list() == ["0", "1"]
    assert (sales["opens_at"].dt.timestamp("ms") - FIRST).to_list() == [5000, 0]


def test_only_covered_articles_have_a_vector(source: Globo) -> None:
    tables = globo.tables(source)
    content = dict(tables.sales.select("sale", "content").iter_rows())
    assert len(content["499"]) == 250
    assert content["500"] is None
    assert "1 of 2 articles have a content vector" in tables.notes


def test_the_last_hour_settles(source: Globo) -> None:
    assert globo.tables(source).watermark == datetime(2017, 10, 1, 6, tzinfo=UTC)


def test_the_shelf_is_what_was_clicked_in_the_hours_before(source: Globo) -> None:
    dataset = check(globo.tables(source), source).dataset
    after = FIRST * 1000 + HOUR
    assert len(dataset.shelf(after)) == 2
    assert len(dataset.shelf(after + 48 * HOUR)) == 1  # the second click of 499 is younger
    assert len(dataset.shelf(after + 60 * HOUR)) == 0


@pytest.mark.data
@pytest.mark.slow
def test_the_tenth_of_october_is_tested_hour_by_hour(measured: Callable[[str], str]) -> None:
    source = Globo(root=measured("globo"))
    dataset = check(globo.tables(source), source).dataset
    made = blocks(dataset, source)
    assert (len(dataset.events), dataset.num_sales) == (2_072_416, 32_265)
    assert made.test.num_groups == 72
    assert len(made.test) == 20_000
    assert made.split is not None
    days = [
        datetime.fromtimestamp((block.start - 3 * HOUR) / 1e6, UTC).day
        for block in made.split.blocks
    ]
    assert days == [2, 5, 6, 7, 8]
    encoded = encode(fit(dataset, made.split.towers.end), dataset)
    assert np.isfinite(encoded.sales.dense).all()
