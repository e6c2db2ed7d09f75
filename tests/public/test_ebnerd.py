from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.data.contract import check
from recsys.data.requests import blocks
from recsys.evaluate.baselines import baselines
from recsys.evaluate.spec import Evaluate
from recsys.public import Ebnerd, ebnerd

MONDAY = datetime.fromisoformat("2023-05-18T07:00:03")


@pytest.fixture
def source(tmp_path: Path) -> Ebnerd:
    behaviors, history = ebnerd.FILES
    views = [
        # the same second twice, at first
        {"user": user, "at": MONDAY + timedelta(hours=max(i - 1, 0)), "view": view, "click": click}
        for i in range(168)
        for user in range(1, 7)
        for view, click in [([i, i + 1, i + 2], [i + 1]) if user % 2 else ([i + 2, i], [i, i + 2])]
    ]
    pl.DataFrame({
        "impression_id": range(len(views)),
        "article_id": [None] * len(views),
        "impression_time": [view["at"] for view in views],
        "read_time": [1.0] * len(views),
        "article_ids_inview": [view["view"] for view in views],
        "article_ids_clicked": [view["click"] for view in views],
        "user_id": [view["user"] for view in views],
        "gender": [None, 1] * 504,
        "age": [None] * len(views),
        "postcode": [3] * len(views),
        "is_subscriber": [True] * len(views),
        "next_read_time": [9.0] * len(views),
    }).write_parquet(tmp_path / behaviors)
    pl.DataFrame({
        "user_id": [1],
        "impression_time_fixed": [[MONDAY - timedelta(days=3)]],
        "article_id_fixed": [[5]],
    }).write_parquet(tmp_path / history)
    return Ebnerd(root=str(tmp_path))


def test_an_impression_is_a_request_before_the_articles_in_view(source: Ebnerd) -> None:
    dataset = check(ebnerd.tables(source), source).dataset
    made = blocks(dataset, source)
    found = (made.towers, made.validation, made.test)
    assert [len(part) for part in found] == [576, 144, 288]
    ids = dataset.sales["sale"].cast(pl.Int64).to_numpy()
    for part in found:
        for row in range(len(part)):
            shelf = sorted(ids[part.shelf(row)].tolist())
            targets = part.target_sale[part.target_ptr[row] : part.target_ptr[row + 1]]
            clicked = sorted(ids[targets].tolist())
            assert clicked == ([shelf[1]] if len(shelf) == 3 else shelf)


def test_two_impressions_of_one_second_have_outcomes_of_their_own(source: Ebnerd) -> None:
    dataset = check(ebnerd.tables(source), source).dataset
    at = blocks(dataset, source).towers.at
    assert np.unique(at).size == len(at) // 6
    assert (np.diff(np.unique(at))[:1] == 1_000_000).all()


def test_articles_open_when_first_seen_and_nothing_looks_ahead(source: Ebnerd) -> None:
    tables = ebnerd.tables(source)
    opens = dict(tables.sales.select("sale", "opens_at").iter_rows())
    assert opens["5"] == (MONDAY - timedelta(days=3)).replace(tzinfo=UTC)
    assert opens["0"] == MONDAY.replace(tzinfo=UTC)
    assert tables.members is not None
    assert tables.members.rows()[0] == ("1", None, None, "3", "true")
    assert tables.members.rows()[1] == ("2", "1", None, "3", "true")
    assert {feature.column for feature in tables.schema.members} == set(ebnerd.ABOUT)


def test_the_click_rate_counts_showings_and_clicks_before_the_impression(source: Ebnerd) -> None:
    dataset = check(ebnerd.tables(source), source).dataset
    made = blocks(dataset, source)
    spec = Evaluate(baselines=("click_rate",))
    rate = baselines(dataset, made.towers, 0, spec=spec)["click_rate"].scorer
    shown, history, test = dataset.exposures, dataset.history, made.test
    first = shown["at"].min()
    assert isinstance(first, int)
    for row in (0, 17, 287):
        at = int(test.at[row])
        wanted = [
            (((history.sale == sale) & (history.at >= first) & (history.at < at)).sum() + 1)
            / (shown.filter((pl.col("sale") == int(sale)) & (pl.col("at") < at)).height + 10)
            for sale in test.shelf(row)
        ]
        np.testing.assert_allclose(rate(test, slice(row, row + 1))[0], wanted, rtol=1e-6)


@pytest.mark.data
def test_every_impression_of_the_week_is_asked(measured: Callable[[str], str]) -> None:
    source = Ebnerd(root=measured("ebnerd-demo"))
    tables = ebnerd.tables(source)
    assert tables.notes[0] == (
        "24724 impressions, 24888 clicks on them; "
        "md5 of train_behaviors.parquet: f420be82303a2ed8510419619b52f770"
    )
    made = blocks(check(tables, source).dataset, source)
    assert [len(part) for part in (made.towers, made.validation, made.test)] == [14061, 3791, 6872]
    width = made.test.shelf_end - made.test.shelf_start
    assert (width.min(), width.max()) == (5, 71)
