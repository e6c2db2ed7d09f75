"""The dial by context: who is in which, and what a drawn dial does to chances."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from recsys.domain.arrays import F64, I64, NONE
from recsys.domain.errors import SettingError
from recsys.domain.ties import uniform
from recsys.rerank.appetite import Appetite, read
from recsys.rerank.dial import (
    CONTEXTS,
    GRID,
    DialTable,
    blended,
    context_of,
    dial_for_all,
    dialled,
    read_table,
)
from recsys.rerank.diversity import Mmr, Reranker, TopK
from recsys.rerank.fit import usual_appetite
from recsys.rerank.offer import Offer
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.signals import Question
from recsys.rerank.spec import Blend, Pure
from tests.rerank.hand import (
    RERANKERS,
    asks,
    drawn_shop,
    offer_of,
    ranker_of,
    rows_of,
    slates_of,
    taste_of,
    vectors_of,
)

SHARE = 0.6
every_reranker = pytest.mark.parametrize("reranker", RERANKERS, ids=lambda kind: kind.kind)


def offer(seed: int, *, n: int, c: int) -> Offer:
    return replace(offer_of(seed, n=n, c=c), dial=np.full(n, 0.7, np.float32))


def many(one: Offer, n: int) -> Offer:
    """The first member of an offer, so many times."""
    return one.take(np.zeros(n, dtype=np.int64))


def draws(n: int, policy: SlatePolicy, seed: int = 7) -> F64:
    return uniform(seed, np.arange(n)[:, None], np.arange(policy.num_draws))


@every_reranker
def test_slates_come_as_often_as_their_logged_chance_says(reranker: Reranker[Any]) -> None:
    one, n = offer(8, n=1, c=6), 40_000
    policy = SlatePolicy(3, reranker, explore_share=0.2, dial_share=SHARE)
    picks = policy.act(many(one, n), draws(n, policy))
    slates, counts = np.unique(picks.columns, axis=0, return_counts=True)
    assert len(slates) > 3
    chances = policy.log_prob(many(one, len(slates)), slates).astype(np.float64)
    each = np.exp(chances.sum(axis=1))
    error = np.sqrt(each * (1 - each) / n)
    assert (np.abs(counts / n - each) <= 4.5 * error + 1e-6).all()
    assert each.sum() == pytest.approx(1, abs=1e-5)


def test_the_chances_of_all_slates_add_up_to_one() -> None:
    one = offer(3, n=1, c=5)
    columns = np.flatnonzero(one.eligible[0])
    slates: I64 = np.array([*permutations(columns.tolist(), 2)])
    policy = SlatePolicy(2, Mmr(), temperature=0.3, dial_share=SHARE)
    chances = policy.log_prob(many(one, len(slates)), slates).astype(np.float64)
    assert np.exp(chances.sum(axis=1)).sum() == pytest.approx(1, abs=1e-5)


@every_reranker
def test_what_was_logged_is_the_mean_over_dials_of_their_own_chances(
    reranker: Reranker[Any],
) -> None:
    some = offer(5, n=30, c=9)
    policy = SlatePolicy(4, reranker, temperature=0.2, dial_share=SHARE)
    fixed = replace(policy, dial_share=0.0)
    picks = policy.act(some, draws(30, policy))
    np.testing.assert_array_equal(picks.log_propensity, policy.log_prob(some, picks.columns))
    at = [some, *(some.at(np.full(30, dial, np.float32)) for dial in GRID)]
    by_dial = np.stack([fixed.log_prob(one, picks.columns) for one in at], axis=2)
    np.testing.assert_array_equal(picks.by_dial, by_dial)
    whole = np.exp(by_dial.astype(np.float64).sum(axis=1))
    mean = whole @ [1 - SHARE, *(SHARE / len(GRID) for _ in GRID)]
    np.testing.assert_allclose(
        np.exp(picks.log_propensity.astype(np.float64).sum(axis=1)), mean, rtol=1e-4
    )


def test_a_slate_that_no_dial_makes_has_no_chance_and_no_nan() -> None:
    by_dial = np.zeros((2, 3, 1 + len(GRID)), dtype=np.float32)
    by_dial[0, 1:] = -np.inf
    found = blended(by_dial, SHARE)
    assert found.tolist() == [[0.0, -np.inf, -np.inf], [0.0, 0.0, 0.0]]


def test_dials_that_are_never_drawn_change_nothing() -> None:
    some = offer(11, n=50, c=10)
    policy = SlatePolicy(5, TopK())
    plain = policy.act(some, draws(50, policy))
    assert plain.by_dial is None
    drawn = replace(policy, dial_share=1.0)
    picks = drawn.act(some, draws(50, drawn))
    assert picks.dial is not None
    assert {*picks.dial.tolist()} == {*np.array(GRID, np.float32).tolist()}
    at_home = picks.dial == np.float32(0.7)
    np.testing.assert_array_equal(picks.columns[at_home], plain.columns[at_home])
    assert (picks.columns[~at_home] != plain.columns[~at_home]).any()
    np.testing.assert_array_equal(picks.columns, drawn.columns(some, draws(50, drawn)))


def test_each_fifth_of_a_past_has_its_own_dial() -> None:
    shop = drawn_shop(9, sales=30, members=400, events=2_000)
    requests = asks(shop, 61)
    table = {
        "novelty_short": (0.0, 0.1, 0.2, 0.3, 0.4),
        "novelty_long": (1.0, 1.1, 1.2, 1.3, 1.4),
    }
    made = ranker_of(Blend(**table))
    usual = usual_appetite(made.desk(shop), int(requests.at[0]))
    made = replace(made, appetite=usual, _desk=[])
    question, offered = _offered(made, shop, requests)
    context = context_of(question)
    assert {*context.tolist()} == {*range(len(CONTEXTS))}
    assert offered.dial is not None
    np.testing.assert_array_equal(
        offered.dial,
        np.array([0.7, *table["novelty_short"], *table["novelty_long"]], np.float32)[context],
    )
    sizes = np.bincount(context, minlength=len(CONTEXTS))
    pasts = question.touches.before + question.touches.all
    np.testing.assert_array_equal(context == 0, pasts == 0)
    assert sizes[1:].min() > 0.05 * sizes[1:].sum()
    for first in (1, 6):
        low = question.appetite[context == first].max()
        assert low <= question.appetite[context == first + 4].min()


def test_a_dial_for_all_puts_the_table_and_the_draw_aside() -> None:
    shop = drawn_shop(4, sales=30, events=300)
    requests = asks(shop, 61)
    table = Blend(novelty_short=(9.0,) * 5, novelty_long=(9.0,) * 5, novelty_drawn=1.0)
    mine = slates_of(ranker_of(table).with_novelty(0.7), shop, requests)
    plain = slates_of(ranker_of(Blend(novelty=0.7)), shop, requests)
    np.testing.assert_array_equal(mine.sales, plain.sales)
    np.testing.assert_array_equal(mine.log_propensity, plain.log_propensity)


def test_parts_are_those_of_the_dial_that_was_drawn() -> None:
    shop = drawn_shop(4, sales=30, events=300)
    requests = asks(shop, 61)
    ranker = ranker_of(Blend(novelty_drawn=1.0, explore_share=0.0))
    made = ranker.made(
        shop,
        requests,
        rows_of(requests),
        taste=taste_of(requests, shop),
        unit=vectors_of(shop.num_sales, 3)[requests.shelf(0)],
    )
    dial = made.picks.dial
    assert dial is not None
    assert len({*dial.tolist()}) > 1
    novelty = made.slates.parts[:, :, 3]
    assert not novelty[dial == 0].any()
    assert novelty[dial > 0].any()
    columns = np.maximum(made.picks.columns, 0)
    parts = np.take_along_axis(made.offer.parts.amounts[3], columns, axis=1)
    np.testing.assert_array_equal(np.where(made.slates.sales >= 0, parts, 0), novelty)


def test_an_appetite_of_an_earlier_version_keeps_its_lowest_fifth() -> None:
    now = Appetite(low=0.1, length=3.0, fifths=((0.1, 0.2, 0.3, 0.4), (0.2, 0.3, 0.4, 0.5)))
    assert read(json.loads(json.dumps(asdict(now)))) == now
    earlier = {"curve": [0.3, 0.0, 0.0], "kappa": 13.0, "low": 0.2, "window_days": 91.0}
    assert read(earlier) == Appetite(low=0.2)


def test_a_table_of_dials_fills_in_what_it_leaves_as_it_is(tmp_path: Path) -> None:
    table = DialTable(novelty=1.4, novelty_short=(None, 0.0, None, 2.8, None))
    assert table.put(Blend()).novelty_short == (0.7, 0.0, 0.7, 2.8, 0.7)
    assert table.put(Blend()).novelty_long == (0.7,) * 5
    assert table.put(Blend()).novelty == pytest.approx(1.4)
    assert DialTable().put(Blend()).novelty == pytest.approx(0.7)
    before = Blend(novelty_short=(1.0, 2.0, 3.0, 4.0, 5.0))
    assert table.put(before).novelty_short == (1.0, 0.0, 3.0, 2.8, 5.0)
    parted = Appetite(fifths=((0.1,) * 4, (0.2,) * 4))
    assert dialled(Blend(), parted, table=table) == table.put(Blend())
    assert dialled(Pure(), Appetite()) == Pure()
    with pytest.raises(SettingError, match="no novelty dial"):
        dialled(Pure(), parted, drawn=0.5)
    with pytest.raises(SettingError, match="cannot tell members"):
        dialled(Blend(), Appetite(), table=table)
    file = tmp_path / "dial.json"
    with pytest.raises(SettingError, match="is no file"):
        read_table(file)
    file.write_text(table.model_dump_json())
    assert read_table(file, channel="mail") == table
    with pytest.raises(SettingError, match="log of channel mail, these slates are for app"):
        read_table(file, channel="app")
    file.write_text('{"novelty_short": [1, 2]}')
    with pytest.raises(SettingError, match="2 numbers, wanted five"):
        read_table(file)


def test_dials_are_five_or_none() -> None:
    with pytest.raises(ValidationError, match="3 numbers, wanted five"):
        Blend(novelty_long=(0.1, 0.2, 0.3))


def _offered(ranker: Any, shop: Any, requests: Any) -> tuple[Question, Offer]:
    asked, offered = ranker.offered(
        shop,
        requests,
        rows_of(requests),
        taste=taste_of(requests, shop),
        unit=vectors_of(shop.num_sales, 3)[requests.shelf(0)],
    )
    return asked.question, offered


def test_members_of_whom_nothing_is_known_are_a_context_of_their_own() -> None:
    shop = drawn_shop(9, sales=30, members=400, events=900)
    requests = asks(shop, 61)
    made = ranker_of(Blend(novelty=0.2, novelty_short=(1.0,) * 5, novelty_long=(2.0,) * 5))
    usual = usual_appetite(made.desk(shop), int(requests.at[0]))
    question, offered = _offered(replace(made, appetite=usual, _desk=[]), shop, requests)
    nothing = question.touches.before + question.touches.all == 0
    assert nothing.any()
    assert offered.dial is not None
    assert {*offered.dial[nothing].tolist()} == {np.float32(0.2)}
    assert {*offered.dial[~nothing].tolist()} == {1.0, 2.0}
    assert {*context_of(question)[nothing].tolist()} == {0}


def test_where_nothing_parts_members_they_are_in_no_context_and_the_dial_is_one() -> None:
    shop = drawn_shop(9, sales=30, members=40, events=300)
    requests = asks(shop, 61)
    made = ranker_of(Blend(novelty=0.2, novelty_long=(2.0,) * 5))
    question, offered = _offered(made, shop, requests)
    assert {*context_of(question).tolist()} == {NONE}
    assert offered.dial is not None
    assert {*offered.dial.tolist()} == {np.float32(0.2)}


def test_a_dial_that_is_not_one_for_all_is_not_told_as_one() -> None:
    assert dial_for_all(Blend(novelty=0.3)) == pytest.approx(0.3)
    assert dial_for_all(Blend(novelty_drawn=0.3)) is None
    assert dial_for_all(Blend(novelty_short=(0.7,) * 5)) is None


def test_what_is_certain_at_each_dial_is_certain_to_the_last_bit() -> None:
    certain = np.zeros((1, 2, 1 + len(GRID)), dtype=np.float32)
    for share in (0.1, 0.3, 0.4, 0.7, 0.8, 1.0):
        assert not blended(certain, share).any()
