from __future__ import annotations

import numpy as np
import pytest

from recsys.campaign.audience import Audience, reach, slates_for_all
from recsys.campaign.spec import NoCampaign
from recsys.domain.arrays import F32, I32, NONE
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY
from recsys.domain.slates import Slates
from recsys.rerank.calibrate import Calibrator
from recsys.rerank.ranker import Ranker
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend
from recsys.rerank.value import FittedValue, Logistic
from tests.builders import tiny_dataset

RNG = np.random.default_rng(5)
MEMBERS: F32 = RNG.normal(size=(40, 6)).astype(np.float32)
SALES: F32 = RNG.normal(size=(72, 6)).astype(np.float32)
SALES /= np.linalg.norm(SALES, axis=1, keepdims=True)


@pytest.fixture(scope="module", name="dataset")
def _dataset() -> Dataset:
    return tiny_dataset()


def ranker(temperature: float = 0.0) -> Ranker:
    plain = Calibrator(x=np.zeros(0), y=np.zeros(0))
    weight = np.array([{"taste": 1.0, "brand_bought": 0.5}.get(name, 0.0) for name in NAMES])
    model = Logistic(mean=np.zeros(len(NAMES)), weight=weight, offset=-3.0)
    value = FittedValue(model, (plain, plain), "purchase")
    return Ranker(Blend(temperature=temperature), value, 0.02, SALES)


def audience(dataset: Dataset, members: I32 | None = None, *, at: int | None = None) -> Audience:
    when = dataset.watermark - 2 * DAY if at is None else at
    shelf = dataset.shop.shelf(when).sales

    def taste_of(rows: I32) -> F32:
        # one product a pair, summed in one order: no library picks another sum for another chunk
        taste: F32 = np.einsum("mu,su->ms", MEMBERS[rows], SALES[shelf])
        return taste

    everyone = np.arange(dataset.num_members, dtype=np.int32)
    rows = everyone if members is None else members
    return Audience(dataset.shop, when, rows, taste_of, SALES[shelf])


def joined(chunks: list[Slates]) -> dict[str, np.ndarray]:
    return {
        name: np.concatenate([getattr(chunk, name) for chunk in chunks])
        for name in Slates.__dataclass_fields__
    }


@pytest.mark.parametrize("temperature", [0.0, 0.5])
@pytest.mark.parametrize("chunk", [1, 7, 40, 1024])
def test_slates_do_not_depend_on_the_chunk(
    dataset: Dataset, *, chunk: int, temperature: float
) -> None:
    whole = joined([*slates_for_all(ranker(temperature), audience(dataset))])
    parts = [*slates_for_all(ranker(temperature), audience(dataset), chunk=chunk)]
    assert max(len(part.members) for part in parts) <= chunk
    assert whole["members"].tolist() == [*range(40)]
    for name, values in joined(parts).items():
        np.testing.assert_array_equal(values, whole[name], name)


def test_slates_come_in_the_order_asked_and_are_each_members_own(dataset: Dataset) -> None:
    whole = joined([*slates_for_all(ranker(), audience(dataset))])
    order = np.random.default_rng(1).permutation(40).astype(np.int32)
    mixed = joined([*slates_for_all(ranker(), audience(dataset, order), chunk=9)])
    for name, values in mixed.items():
        np.testing.assert_array_equal(values, whole[name][order], name)


def test_slates_are_made_chunk_by_chunk_as_they_are_asked_for(dataset: Dataset) -> None:
    asked: list[int] = []
    plain = audience(dataset)

    def watched(rows: I32) -> F32:
        asked.append(len(rows))
        return plain.taste_of(rows)

    watched_audience = Audience(plain.shop, plain.at, plain.members, watched, plain.unit)
    stream = slates_for_all(ranker(), watched_audience, chunk=15)
    assert asked == []
    next(stream)
    assert asked == [15]
    assert [len(slates.members) for slates in stream] == [15, 10]


def test_what_is_shown_stands_on_the_shelf_of_that_instant(dataset: Dataset) -> None:
    slates = joined([*slates_for_all(ranker(), audience(dataset))])
    shelf = dataset.shop.shelf(dataset.watermark - 2 * DAY).sales
    assert np.isin(slates["sales"], [NONE, *shelf.tolist()]).all()
    assert (slates["sales"][:, 0] != NONE).all()


def test_nobody_gets_nothing_and_an_empty_shelf_gives_empty_slates(dataset: Dataset) -> None:
    nobody = audience(dataset, np.zeros(0, dtype=np.int32))
    assert [*slates_for_all(ranker(), nobody)] == []
    early = audience(dataset, at=int(dataset.opens_at[0]) - DAY)
    slates = joined([*slates_for_all(ranker(), early)])
    assert slates["sales"].shape == (40, 6)
    assert (slates["sales"] == NONE).all()


def test_reach_counts_the_members_who_see_each_sale(dataset: Dataset) -> None:
    shown = np.zeros(dataset.num_sales, dtype=np.int64)
    seen = {sale: set[int]() for sale in range(dataset.num_sales)}
    for slates in slates_for_all(ranker(), audience(dataset), chunk=11):
        shown += reach(slates, dataset.num_sales)
        for row, slot in zip(*np.nonzero(slates.sales != NONE), strict=True):
            seen[int(slates.sales[row, slot])].add(int(slates.members[row]))
    assert shown.tolist() == [len(seen[sale]) for sale in range(dataset.num_sales)]
    assert shown.sum() > 0


def test_no_campaign_is_what_stands_in_its_option_file() -> None:
    assert NoCampaign().model_dump() == {"kind": "none", "chunk": 1024, "rules": ""}
