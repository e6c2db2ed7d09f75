"""A log whose dials were drawn, of a shop whose members are known to want them elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.evaluate.by_context import AT_DIAL, METHOD, OWN, STRICT, choose, halves, judged, sure
from recsys.evaluate.offpolicy import PolicyValue
from recsys.evaluate.support import Refused
from recsys.rerank.dial import CONTEXTS, GRID, blended

SHARE = 0.8
WANTS = {"short1": -0.08, "long5": 0.08}
"""How much more often what is new is bought than what is known; elsewhere alike."""


def log(members: int, seed: int = 1, wants: Mapping[str, float] = WANTS) -> pl.DataFrame:
    """Slates of two slots, each a known sale or a new one; the dial says how likely."""
    rng = np.random.default_rng(seed)
    context = rng.integers(0, len(CONTEXTS), members)
    chance_new = 1 / (1 + np.exp(-(np.array([0.7, *GRID]) - 0.7)))
    moved = np.where(rng.random(members) < SHARE, rng.integers(1, 6, members), 0)
    new = rng.random((members, 2)) < chance_new[moved][:, None]
    by_dial = np.log(np.where(new[:, :, None], chance_new, 1 - chance_new)).astype(np.float32)
    more = np.array([wants.get(name, 0.0) for name in CONTEXTS])[context]
    bought = rng.random((members, 2)) < 0.1 + np.where(new, more[:, None], 0)
    return pl.DataFrame({
        "member": np.repeat([f"m{row}" for row in range(members)], 2),
        "send": "s",
        "slot": np.tile([0, 1], members),
        "reward": bought.ravel() * 1.0,
        "log_propensity": blended(by_dial, SHARE).ravel(),
        "context": np.repeat(np.array(CONTEXTS)[context], 2),
        **dict(zip((OWN, *AT_DIAL), by_dial.reshape(-1, 6).T.astype(np.float64), strict=True)),
    })


@pytest.fixture(scope="module", name="frame")
def _frame() -> pl.DataFrame:
    return log(120_000)


def test_each_context_gets_the_dial_that_its_members_want(frame: pl.DataFrame) -> None:
    mine, theirs = halves(frame)
    choices = choose(mine, num_draws=300, seed=0)
    assert [choice.context for choice in choices.contexts] == [*CONTEXTS]
    dials = dict(zip(CONTEXTS, choices.dials, strict=True))
    assert dials["short1"] == pytest.approx(0)
    assert dials["long5"] == pytest.approx(2.8)
    # a dial moves both slots: 0.9 of 2 x 0.08 x (chance at 2.8 less that at 0.7)
    best = choices.contexts[-1].more[-1]
    assert isinstance(best, PolicyValue)
    assert best.low < 2 * 0.08 * (1 / (1 + np.exp(-2.1)) - 0.5) < best.high
    found = judged(theirs, choices, num_draws=300, seed=0)
    assert isinstance(found, PolicyValue)
    assert found.low > 0


def test_what_stands_is_no_better_than_itself(frame: pl.DataFrame) -> None:
    choices = choose(frame.head(60_000), num_draws=100, seed=0)
    alike = [choice.more[2] for choice in (choices.all, *choices.contexts)]
    assert {one.value for one in alike if isinstance(one, PolicyValue)} == {0.0}


def test_few_slates_move_no_dial_and_say_why() -> None:
    choices = choose(log(5_000), num_draws=100, seed=0)
    assert {*choices.dials} == {None}
    assert all(isinstance(one, Refused) for choice in choices.contexts for one in choice.more)
    assert sum(choice.slates for choice in choices.contexts) == choices.all.slates == 5_000


def test_where_nothing_is_sure_the_best_of_the_rest_is_taken_unless_it_is_worse_there() -> None:
    # most members want what is new a little, those of long1 do not; few are of short3
    frame = log(100_000, wants=dict.fromkeys(CONTEXTS, 0.012) | {"long1": -0.08, "long5": 0.2})
    few = frame.filter((pl.col("context") != "short3") | pl.col("member").str.ends_with("7"))
    choices = choose(few, num_draws=200, seed=0)
    of = dict(zip(CONTEXTS, choices.contexts, strict=True))
    dials = dict(zip(CONTEXTS, choices.dials, strict=True))
    assert of["short3"].place is None
    assert dials["short3"] == pytest.approx(2.8)
    assert dials["long1"] == pytest.approx(0)
    worse = replace(of["long1"], more=(of["short3"].more[0],) * 4 + of["long1"].more[4:])
    assert replace(choices, contexts=(worse,)).dials == (None,)


def test_a_context_that_knows_what_it_wants_does_not_choose_for_the_others() -> None:
    frame = log(60_000, wants=dict.fromkeys(CONTEXTS, -0.01) | {"long5": 0.3})
    choices = choose(frame, num_draws=200, seed=0)
    best = choices.all.more[-1]
    assert isinstance(best, PolicyValue)
    assert sure(best) == 1
    dials = dict(zip(CONTEXTS, choices.dials, strict=True))
    assert dials.pop("long5") == pytest.approx(2.8)
    assert not {1.4, 2.8} & {*dials.values()}


def test_among_many_comparisons_a_gain_must_reach_farther_than_its_interval() -> None:
    said = {"n": 9, "ess": 9.0, "weight_mean": 1.0, "weight_max": 1.0}
    more = {"missing_support": 0.0, "left_out_share": 0.0, "method": METHOD}

    def found(value: float, low: float, high: float) -> PolicyValue:
        return PolicyValue(value=value, low=low, high=high, **said, **more)

    assert pytest.approx(3.12 / 1.96, abs=0.02) == STRICT
    assert sure(found(1.0, 0.1, 1.9)) == 0
    assert sure(found(1.0, 0.4, 1.6)) == 1
    assert sure(found(-1.0, -1.6, -0.4)) == -1
    assert sure(found(-1.0, -1.9, -0.1)) == 0


def test_a_log_in_which_no_dial_matters_moves_none() -> None:
    moved = [
        choose(log(30_000, seed=seed, wants={}), num_draws=200, seed=0).places for seed in range(8)
    ]
    assert {*moved} == {(None,) * len(CONTEXTS)}
