from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from recsys.data.contract import Checked, check
from recsys.domain.tables import Tables
from recsys.world import FlashSales, Played
from recsys.world.words import STYLES


@pytest.fixture(scope="module")
def tables(demo: Played) -> Tables:
    return demo.tables()


@pytest.fixture(scope="module")
def checked(tables: Tables) -> Checked:
    return check(tables, FlashSales())


def test_the_contract_keeps_nearly_all_of_a_world(checked: Checked, tables: Tables) -> None:
    assert checked.rows_in["events"] == tables.events.height
    for table, read in checked.rows_in.items():
        assert checked.rows_kept[table] >= 0.995 * read, table


def test_the_truth_answers_for_every_member_of_the_dataset(checked: Checked, demo: Played) -> None:
    names = checked.dataset.members["member"].to_numpy()
    unclaimed = [name for name in names if name.startswith("shop:")]
    assert unclaimed
    assert len(demo.truth.member_rows(names)) == len(names)
    sales = checked.dataset.sales["sale"].to_numpy()
    scores = demo.truth.scores(unclaimed, sales[-20:], demo.world.noon(29))
    assert np.isfinite(scores).all()


def test_nothing_on_record_is_later_than_the_watermark(tables: Tables) -> None:
    assert tables.watermark is not None
    assert tables.members is not None
    assert tables.events.filter(pl.col("at") >= tables.watermark).is_empty()
    assert tables.sales.filter(pl.col("opens_at") >= tables.watermark).is_empty()
    assert tables.members.filter(pl.col("joined_at") > tables.watermark).is_empty()
    assert tables.events.filter(pl.col("at") >= tables.watermark - timedelta(hours=24)).height > 0


def test_some_fields_are_missing_and_a_few_are_wrong(tables: Tables, demo: Played) -> None:
    missing = tables.sales["category"].null_count() / tables.sales.height
    assert 0.03 < missing < 0.07
    assert tables.sales["brand"].null_count() > 0
    rows = tables.sales["sale"].str.slice(1).cast(pl.Int64).to_numpy()
    names = np.array(["women", "men", "home", "children"])
    true = names[demo.world.brands.department[demo.world.sales.brand[rows]]]
    shown = tables.sales["department"].to_numpy()
    wrong = (shown != true)[tables.sales["department"].is_not_null().to_numpy()].mean()
    assert 0 < wrong < 0.02


def test_titles_tell_of_style_with_noise(tables: Tables, demo: Played) -> None:
    words = {word: number for number, group in enumerate(STYLES) for word in group}
    rows = tables.sales["sale"].str.slice(1).cast(pl.Int64).to_numpy()
    style, centres = demo.world.sales.style[rows], demo.world.brands.centres
    gaps = ((style[:, None] - centres) ** 2).sum(axis=2)
    nearest = np.argsort(gaps, axis=1)[:, :2]
    titles = tables.sales["title"].str.to_lowercase().str.split(" ").to_list()
    told = [
        words[word] in near
        for title, near in zip(titles, nearest.tolist(), strict=True)
        for word in title
        if word in words
    ]
    assert len(told) > 1.2 * len(rows)
    assert 0.6 < np.mean(told) < 0.95


def test_features_go_with_taste_and_do_not_decide_it(tables: Tables, demo: Played) -> None:
    assert tables.members is not None
    rows = tables.members["member"].str.slice(1).cast(pl.Int64).to_numpy()
    region = tables.members["region"].fill_null("?").to_numpy()
    cluster = demo.world.members.cluster[rows, 0]
    shares = []
    for number in range(len(STYLES)):
        here = region[cluster == number]
        if len(here) > 200:
            shares.append(np.unique(here, return_counts=True)[1].max() / len(here))
    assert 0.25 < np.mean(shares) < 0.6


def test_identities_are_mostly_right(tables: Tables) -> None:
    assert tables.identities is not None
    whose = "m" + tables.identities["id"].str.slice(1).str.reverse()
    right = (whose == tables.identities["member"]).mean()
    assert isinstance(right, float)
    assert 0.95 < right < 1
    assert tables.members is not None
    assert 0.25 < tables.identities.height / tables.members.height < 0.4


def test_no_column_shows_what_is_hidden(tables: Tables) -> None:
    columns = {
        column
        for table in (tables.members, tables.sales, tables.events, tables.curation, tables.stock)
        if table is not None
        for column in table.columns
    }
    hidden = {"quality", "hidden", "seen", "appetite", "cluster", "style", "proxy", "rate"}
    assert columns & hidden == set()
    sensitive = {feature.column for feature in tables.schema.members if feature.sensitive}
    assert sensitive == {"income_band", "has_children"}
