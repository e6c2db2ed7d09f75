from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from recsys.campaign.audience import slates_for_all
from recsys.campaign.deciding import Decided, decide
from recsys.campaign.keys import eligible_hash, keys_of
from recsys.campaign.spares import spares
from recsys.domain.arrays import NONE
from recsys.domain.dataset import Dataset
from recsys.domain.slates import FLAG_PINNED, PARTS, Reason, Slates
from recsys.rerank.house import House, vocabs
from recsys.rerank.ranker import Ranker
from recsys.rerank.rules import Rules
from recsys.rerank.spec import Blend
from tests.builders import tiny_dataset
from tests.campaign.test_audience import SALES, audience, ranker

EVERYONE = np.ones(40, dtype=np.bool_)


@pytest.fixture(scope="module", name="dataset")
def _dataset() -> Dataset:
    return tiny_dataset()


def shelf_of(dataset: Dataset) -> np.ndarray:
    return dataset.shop.shelf(audience(dataset).at).sales


def decided(dataset: Dataset, made: Ranker, personal: np.ndarray = EVERYONE) -> Decided:
    return decide(made, audience(dataset), personal, keys=keys_of(dataset.sales["sale"]))


def under(dataset: Dataset, *rules: dict[str, object]) -> Ranker:
    """The ranker under rules about sale rows, in force at the audience's instant."""
    at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=audience(dataset).at)
    force = {"from_at": at - timedelta(days=1), "until_at": at + timedelta(days=1)}
    rows = [
        {"rule_id": f"r{n}", "brand": None, "slot": None, "factor": None, "by": "a", "why": "b"}
        | force
        | rule
        | {"sale": dataset.sales["sale"][int(rule["sale"])]}  # type: ignore[call-overload]
        for n, rule in enumerate(rules)
    ]
    table = pl.DataFrame(rows)
    read = Rules.of(table, **vocabs(dataset.sales.select("sale", "brand")))
    return ranker().with_house(House(rules=read))


def same(one: Slates, other: Slates, rows: np.ndarray) -> None:
    for field in fields(Slates):
        np.testing.assert_array_equal(
            getattr(one, field.name)[rows], getattr(other, field.name)[rows], field.name
        )


def test_who_may_have_their_own_slate_has_it_and_the_others_the_one_for_all(
    dataset: Dataset,
) -> None:
    own = np.arange(40) % 3 > 0
    made = decided(dataset, ranker(), own)
    (whole,) = slates_for_all(ranker(), audience(dataset))
    same(made.slates, whole, own)
    np.testing.assert_array_equal(made.personal, own)
    assert len(np.unique(made.slates.sales[~own], axis=0)) == 1
    assert not made.slates.parts[~own].any()


def test_the_slate_for_all_has_picks_first_and_then_the_newest(dataset: Dataset) -> None:
    sales = decided(dataset, ranker(), ~EVERYONE).slates.sales[0]
    shop, shelf = dataset.shop, dataset.shop.shelf(audience(dataset).at)
    curated = np.isin(sales, shelf.sales[shelf.curated])
    assert (np.diff(curated.astype(int)) <= 0).all()
    opened = shop.opens_at[sales]
    for part in (opened[curated], opened[~curated]):
        assert (np.diff(part) <= 0).all()
    reason = decided(dataset, ranker(), ~EVERYONE).slates.reason[0]
    np.testing.assert_array_equal(reason == Reason.CURATOR_PICK, curated)


def test_what_could_have_been_shown_is_counted_and_hashed(dataset: Dataset) -> None:
    made = decided(dataset, ranker(), np.arange(40) > 0).offered
    keys = keys_of(dataset.sales["sale"])[shelf_of(dataset)]
    whole = eligible_hash(keys[None, :], np.ones((1, len(keys)), dtype=np.bool_))[0]
    assert set(made.eligible_count.tolist()) == {len(keys)}
    assert set(made.eligible_hash.tolist()) == {whole}


def test_a_banned_sale_is_on_nobodys_slate(dataset: Dataset) -> None:
    free = decided(dataset, ranker(), np.arange(40) > 20).slates.sales
    banned = int(free[0, 0])
    made = decided(dataset, under(dataset, {"kind": "ban", "sale": banned}), np.arange(40) > 20)
    assert (free == banned).any()
    assert not (made.slates.sales == banned).any()
    assert set(made.offered.eligible_count.tolist()) == {len(shelf_of(dataset)) - 1}


def test_where_all_is_banned_but_what_is_not_for_them_the_slate_is_empty(
    dataset: Dataset,
) -> None:
    bans = [{"kind": "ban", "sale": int(sale)} for sale in shelf_of(dataset)]
    made = decided(dataset, under(dataset, *bans))
    assert not made.personal.any()
    assert (made.slates.sales == NONE).all()


def test_the_rule_behind_a_pin_or_a_boost_is_named(dataset: Dataset) -> None:
    pinned, boosted = (int(sale) for sale in shelf_of(dataset)[:2])
    made = decided(
        dataset,
        under(
            dataset,
            {"kind": "pin", "sale": pinned, "slot": 2},
            {"kind": "boost", "sale": boosted, "factor": 3.0},
        ),
    )
    sales, rule = made.slates.sales, made.offered.rule
    assert rule is not None
    assert (sales[:, 1] == pinned).all()
    assert (rule[sales == pinned] == 0).all()
    assert (rule[sales == boosted] == 1).all()
    assert (sales == boosted).any()
    assert (rule[(sales != pinned) & (sales != boosted)] == NONE).all()
    assert ((made.slates.flags & FLAG_PINNED > 0) == (sales == pinned)).all()


def test_a_pin_of_a_longer_slate_is_no_rule_behind_a_boost(dataset: Dataset) -> None:
    sale = int(shelf_of(dataset)[0])
    both = (
        {"kind": "pin", "sale": sale, "slot": 9},
        {"kind": "boost", "sale": sale, "factor": 3.0},
    )
    made = decided(dataset, under(dataset, *both))
    assert made.offered.rule is not None
    assert {*made.offered.rule[made.slates.sales == sale].tolist()} == {1}


def test_spare_sales_are_those_left_out_and_their_parts_those_they_would_have(
    dataset: Dataset,
) -> None:
    plan = Blend(explore_share=0.0, most_new=0, max_per_brand=0)
    made = replace(ranker(), spec=plan)
    slates = decided(dataset, made).slates
    known = spares(made, audience(dataset))
    for row in range(40):
        left = {*known.spare.sales[row].tolist()} - {NONE}
        assert left == {*shelf_of(dataset).tolist()} - {*slates.sales[row].tolist()}
    value = dict[tuple[int, int], float]()
    longer = replace(made, spec=plan.model_copy(update={"slots": len(shelf_of(dataset))}))
    (all_of_it,) = slates_for_all(longer, audience(dataset))
    for cell in zip(*np.nonzero(all_of_it.sales != NONE), strict=True):
        value[int(cell[0]), int(all_of_it.sales[cell])] = all_of_it.parts[cell][0]
    for row, column in zip(*np.nonzero(known.spare.sales != NONE), strict=True):
        sale = int(known.spare.sales[row, column])
        assert known.spare.parts[row, column, 0] == value[int(row), sale]
    # mmr: the most alike on the slate, whichever slot it has, costs it a quarter of the scale
    variety = known.spare.parts[..., PARTS.index("diversity")]
    for row in range(40):
        columns = np.flatnonzero(known.spare.sales[row] != NONE)
        spare, shown = SALES[known.spare.sales[row, columns]], SALES[slates.sales[row]]
        scale = -variety[row, columns] / (spare @ shown.T).max(axis=1)
        np.testing.assert_allclose(scale, scale[0], rtol=1e-3)
        assert scale[0] > 0


def test_how_new_a_spare_sale_is_can_be_asked(dataset: Dataset) -> None:
    known = spares(ranker(), audience(dataset))
    row, column = np.nonzero(known.spare.sales != NONE)
    found = known.new_of(row, known.spare.sales[row, column])
    np.testing.assert_array_equal(found, known.new[row, column])
