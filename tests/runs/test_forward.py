"""Our own stack played forward: what it may know, and what it answers with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.domain.arrays import I64, NONE, Bool
from recsys.public.spec import Movielens
from recsys.rerank.spec import Blend, Pure
from recsys.rerank.utility import UTILITY_PARTS, Parts
from recsys.runs import forward as module
from recsys.runs.forward import PLANS, Plan, Start, fill, forward, later, reserved, start
from recsys.runs.record import Record
from recsys.runs.spec import Train
from recsys.towers.embed import Embedder
from recsys.towers.spec import Cpu, TwoTower
from recsys.world.days import Day, Totals, play_day
from recsys.world.policy import Chosen, Noon
from recsys.world.policy import fill as named
from recsys.world.retailer import World, make_world
from recsys.world.spec import FlashSales
from tests.rerank.hand import offer_of

DATA = FlashSales(members=700, days=13, seed=5, test_days=1)
SPEC = Train(data=DATA, towers=TwoTower(dim=16, epochs=1), trainer=Cpu(threads=1))
DAYS = 4


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Start:
    return start(SPEC, days=DAYS, folder=tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def noon(begun: Start) -> Noon:
    return noon_of(begun)


def noon_of(begun: Start) -> Noon:
    """Return the first noon after the past."""
    seen = list[Noon]()

    def look(noon: Noon) -> Chosen:
        seen.append(noon)
        return named(noon, kind="editors")

    play_day(begun.world, begun.state, policy=look)
    return seen[0]


def totals(begun: Start, plan: Plan, days: int = DAYS) -> list[Totals]:
    return [day.totals for day in forward(begun, plan, days=days)]


def slates(begun: Start, noon: Noon, plan: Plan = PLANS["stack"]) -> I64:
    return fill(begun, begun.record, noon, plan=plan).columns


def consents(begun: Start, noon: Noon) -> Bool:
    return begun.record.consent[begun.record.ids.member[noon.rows]]


def test_equal_plans_meet_equal_luck(begun: Start) -> None:
    one, other = totals(begun, PLANS["stack"]), totals(begun, Plan(Blend()))
    assert one == other
    assert sum(day.purchases for day in one) > 0


def test_plans_differ_by_their_slates_alone(begun: Start) -> None:
    first = {name: totals(begun, plan, 1)[0] for name, plan in PLANS.items()}
    assert len({day.mails for day in first.values()}) == 1
    assert len({day.views for day in first.values()}) > 1


def test_no_slate_knows_the_hidden_truth_of_its_world(begun: Start, noon: Noon) -> None:
    """Quality, styles, tastes and the keys of all luck are others: what is on record is not."""
    world = begun.world
    other = replace(
        world,
        brands=replace(world.brands, quality=-world.brands.quality),
        sales=replace(
            world.sales, hidden=-world.sales.hidden, style=-world.sales.style, key=~world.sales.key
        ),
        members=replace(world.members, key=~world.members.key, appetite=-world.members.appetite),
    )
    elsewhere = replace(begun, world=other, state=other.start)
    lied = replace(noon, world=other, state=other.start)
    np.testing.assert_array_equal(slates(elsewhere, lied), slates(begun, noon))


def test_no_slate_knows_what_happens_later(begun: Start, noon: Noon) -> None:
    record = begun.record
    for day in forward(begun, PLANS["value"], days=DAYS):
        record = record.after(day.log)
    assert len(record.history) > len(begun.record.history)
    for plan in PLANS.values():
        knowing = fill(begun, record, noon, plan=plan)
        np.testing.assert_array_equal(knowing.columns, slates(begun, noon, plan))


def test_no_slate_knows_the_sales_of_later_days(
    begun: Start, noon: Noon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is known of sales that open after this noon is changed before anything is fitted."""

    def planned(spec: FlashSales, *, days: int) -> World:
        world = make_world(spec, days=days)
        later, sales = world.sales.opens_at > noon.at, world.sales
        assert later.any()
        return replace(
            world,
            sales=replace(
                sales,
                hidden=np.where(later, -sales.hidden, sales.hidden),
                style=np.where(later[:, None], -sales.style, sales.style),
                price=np.where(later, sales.price + 100, sales.price),
                discount=np.where(later, 0.9, sales.discount).astype(sales.discount.dtype),
                curated=np.where(later, ~sales.curated, sales.curated),
            ),
        )

    monkeypatch.setattr(module, "make_world", planned)
    other = start(SPEC, days=DAYS, folder=tmp_path)
    assert (other.dataset.sales["price"] != begun.dataset.sales["price"]).any()
    np.testing.assert_array_equal(slates(other, noon_of(other)), slates(begun, noon))


def test_what_happened_yesterday_is_known_today(begun: Start) -> None:
    """The record moves on by itself: forgetting the day before changes slates of the second."""
    seen = list[tuple[Noon, Record]]()
    real: Callable[..., Chosen] = module.fill

    def look(begun: Start, record: Record, noon: Noon, *, plan: Plan) -> Chosen:
        seen.append((noon, record))
        return real(begun, record, noon, plan=plan)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fill", look)
        days: list[Day] = list(forward(begun, PLANS["stack"], days=2))
    assert len(seen) == len(days) == 2
    noon, record = seen[1]
    assert int(record.history.at.max()) > seen[0][0].at
    knowing = real(begun, record, noon, plan=PLANS["stack"]).columns
    assert (knowing != slates(begun, noon)).any()


def test_members_who_withhold_consent_all_get_the_editors_slate(begun: Start, noon: Noon) -> None:
    silent = ~consents(begun, noon)
    made = fill(begun, begun.record, noon, plan=PLANS["stack"])
    alike = made.columns[silent]
    assert len(alike) > 1
    assert (alike == alike[0]).all()
    assert len(np.unique(made.columns[~silent], axis=0)) > 10
    curated = begun.dataset.shop.curated(noon.at)[begun.record.ids.sale[noon.offer.rows]]
    assert curated[alike[0]].sum() == min(6, curated.sum())
    assert (made.propensity[silent] == 1).all()


def test_every_place_holds_another_sale_on_offer(begun: Start, noon: Noon) -> None:
    for plan in PLANS.values():
        columns = slates(begun, noon, plan)
        assert columns.shape == (len(noon.rows), 6)
        assert (columns >= 0).all()
        assert (columns < len(noon.offer)).all()
        assert (np.diff(np.sort(columns, axis=1), axis=1) > 0).all()


def test_a_short_slate_leaves_its_last_places_empty(begun: Start, noon: Noon) -> None:
    short = slates(begun, noon, Plan(Pure(slots=4)))
    np.testing.assert_array_equal(short[:, :4], slates(begun, noon, PLANS["value"])[:, :4])
    assert (short[:, 4:] == NONE).all()


def test_fixed_places_come_behind_the_most_valuable_sales(begun: Start, noon: Noon) -> None:
    value, fixed = slates(begun, noon, PLANS["value"]), slates(begun, noon, Plan(Pure(), 5))
    np.testing.assert_array_equal(value[:, :1], fixed[:, :1])
    assert unknown(begun, noon, fixed)[:, 1:].all()
    assert not unknown(begun, noon, value)[:, 1:].all()


def test_fixed_places_without_anything_new_go_by_value() -> None:
    """By value the columns are 4 to 0; the best may not be shown; one member knows all but 0."""
    amounts = np.zeros((len(UTILITY_PARTS), 2, 5), dtype=np.float32)
    amounts[0] = np.arange(5)
    eligible = np.tile(np.arange(5) < 4, (2, 1))
    shown = replace(offer_of(0, n=2, c=5), parts=Parts(amounts), eligible=eligible)
    new = np.array([[True, False, False, False, True], [False] * 5])
    assert reserved(shown, new, slots=3, kept=2).tolist() == [[3, 0, 2], [3, 2, 1]]
    assert reserved(shown, new, slots=6, kept=0).tolist() == [[3, 2, 1, 0, NONE, NONE]] * 2


def test_towers_over_a_later_record_are_those_opened_anew(begun: Start) -> None:
    record = begun.record
    for day in forward(begun, PLANS["value"], days=2):
        record = record.after(day.log)
    at, known = begun.world.noon(begun.state.day + 2), begun.learned.embedder
    dataset = replace(begun.dataset, events=record.history)
    moved = later(known, dataset)
    anew = Embedder(known.trained, dataset, begun.learned.task.encoded)
    members, sales = np.arange(100), np.arange(dataset.num_sales)
    np.testing.assert_array_equal(moved.members(members, at), anew.members(members, at))
    np.testing.assert_array_equal(moved.sales(sales, at), anew.sales(sales, at))
    assert (moved.members(members, at) != known.members(members, at)).any()


def unknown(begun: Start, noon: Noon, columns: I64) -> Bool:
    """Tell which places hold a brand that the member has no engagement with on record."""
    ids, history, brand = begun.record.ids, begun.record.history, begun.dataset.brand
    row = ids.member[noon.rows]
    row, columns = row[consents(begun, noon)], columns[consents(begun, noon)]
    num = int(brand.max()) + 2
    known = np.unique(history.member.astype(np.int64) * num + brand[history.sale])
    shown = brand[ids.sale[noon.offer.rows]][columns]
    # a sale of no known brand is a brand of its own, which nobody has met yet
    fresh: Bool = ~np.isin(row[:, None] * num + shown, known) | (shown == NONE)
    return fresh


def test_propensities_are_those_of_the_policy(begun: Start, noon: Noon) -> None:
    """A share of explorers leaves all but the last place certain; that one has a known chance."""
    share = 0.4
    made = fill(begun, begun.record, noon, plan=Plan(Blend(explore_share=share)))
    chance = made.propensity[consents(begun, noon)]
    assert (chance[:, :5] == 1).all()
    drawn = chance[:, 5] < 0.5
    assert abs(drawn.mean() - share) < 4 * np.sqrt(share * (1 - share) / len(chance))
    assert (chance[~drawn, 5] >= np.float32(1 - share)).all()
    assert (chance[drawn, 5] < share / 10).all()
    sure = fill(begun, begun.record, noon, plan=PLANS["value"])
    assert (sure.propensity == 1).all()


def test_the_log_has_the_propensities(begun: Start) -> None:
    day = next(forward(begun, Plan(Blend(explore_share=0.4)), days=1))
    assert (day.log.shown_propensity[day.log.shown_slot < 5] == 1).all()
    assert (day.log.shown_propensity[day.log.shown_slot == 5] < 1).any()


def test_a_changed_world_has_the_same_past(begun: Start) -> None:
    dull = begun.with_world(discovery_value=0.0, irritation=50.0)
    assert dull.state is begun.state
    assert dull.learned is begun.learned
    mine, theirs = totals(begun, PLANS["value"]), totals(dull, PLANS["value"])
    assert mine[0].purchases == theirs[0].purchases
    assert sum(day.unsubscribes for day in mine) < sum(day.unsubscribes for day in theirs)


def test_more_places_than_the_world_shows_are_refused(begun: Start) -> None:
    with pytest.raises(ValueError, match="slots=7: slates of this world have 6"):
        next(forward(begun, Plan(Pure(slots=7)), days=1))


def test_only_the_built_in_world_can_be_played(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="data=ml_100k cannot be played: only kind flash_sales"):
        start(Train(data=Movielens()), days=1, folder=tmp_path)
