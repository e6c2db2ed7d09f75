from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.allocate import SLOTS, crowd, promised, shelf_of
from recsys.campaign.allocate import solve
from recsys.campaign.bounds import Bound, Promises
from recsys.campaign.certificate import Infeasible, Sample
from recsys.domain.arrays import I64, NONE
from recsys.domain.errors import SettingError
from recsys.domain.prices import Prices
from recsys.rerank.diversity import TopK
from recsys.rerank.policy import SlatePolicy

TOPK = SlatePolicy(SLOTS, TopK())


def refused(bounds: list[Bound], *, segments: tuple[str, ...] = (), num: int = 1_500) -> Infeasible:
    members = crowd(num, seed=1, segments=len(segments))
    promises = Promises(bounds=tuple(bounds), groups=shelf_of(), segments=segments)
    act = members.act(TOPK, promises)
    found = solve(act, promises, members.sample, sigma=members.deviation)
    assert isinstance(found, Infeasible)
    return found


@pytest.mark.parametrize(
    ("bounds", "segments", "said", "short"),
    [
        ([Bound(group=f"sale {s}", lower=0.16) for s in range(40)], (), "at least 0.16", 0.4),
        ([Bound(group=f"sale {s}", upper=0.14) for s in range(40)], (), "at most 0.14", 0.4),
        ([Bound(group="sale 3", lower=1.0)], (), "sale 3: at least 1", 0.05),
        ([Bound(group="curated", lower=3.95)], (), "curated: at least 3.95", 0.15),
        (
            [*promised().bounds, Bound(group="brand 0", upper=0.5)],
            (),
            "brand 0: at most 0.5",
            0.3,
        ),
        (
            [Bound(group="sale 5", lower=0.6, segment="a"), Bound(group="sale 5", upper=0.1)],
            ("a", "b"),
            "sale 5 in a: at least 0.6",
            0.2,
        ),
    ],
)
def test_planted_promises_that_cannot_be_kept_get_their_certificate(
    bounds: list[Bound], segments: tuple[str, ...], said: str, short: float
) -> None:
    found = refused(bounds, segments=segments)
    assert any(said in bound for bound in found.bounds)
    assert found.short == pytest.approx(short, abs=0.03)


@pytest.mark.parametrize(
    "bounds",
    [
        [Bound(group=f"sale {s}", lower=0.16) for s in range(40)],
        [Bound(group=f"sale {s}", upper=0.14) for s in range(40)],
        [Bound(group="sale 3", lower=1.0), *promised().bounds[4:]],
    ],
)
def test_what_fails_by_adding_up_is_refused_before_any_price_is_tried(bounds: list[Bound]) -> None:
    members, asked = crowd(300, seed=1), list[Prices]()
    promises = Promises(bounds=tuple(bounds), groups=shelf_of())

    def act(prices: Prices) -> I64:
        asked.append(prices)
        return members.act(TOPK, promises)(prices)

    assert isinstance(solve(act, promises, members.sample, sigma=0.02), Infeasible)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (Bound(group="sale 1", upper=35.0), "sale 1: at most 35 is promised, but a slate has 6"),
        (Bound(group="curated", lower=6.5), "curated: at least 6.5 is promised"),
        (Bound(group="sale 1", lower=0.1, segment="south"), "sale 1 in south is promised, but"),
    ],
)
def test_what_no_slate_could_mean_is_an_error_that_names_the_bound(bound: Bound, said: str) -> None:
    members = crowd(50, seed=1)
    promises = Promises(bounds=(bound,), groups=shelf_of(), segments=("north", "south"))
    act = members.act(TOPK, promises)
    with pytest.raises(SettingError, match=said):
        solve(act, promises, members.sample, sigma=0.01)


def test_an_empty_sample_and_a_scale_of_nothing_are_refused() -> None:
    members, promises = crowd(20, seed=1), promised()
    act = members.act(TOPK, promises)
    nobody = members.sample.of(np.zeros(0, dtype=np.int64))
    with pytest.raises(SettingError, match="the sample has no member"):
        solve(act, promises, nobody, sigma=0.01)
    with pytest.raises(ValueError, match="sigma is a finite number above 0, found 0"):
        solve(act, promises, members.sample, sigma=0.0)
    wrong = Sample(members.segment, members.eligible[:, :9])
    with pytest.raises(ValueError, match=r"eligible is \(20, 40\)"):
        solve(act, promises, wrong, sigma=0.01)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda columns, _: columns[:-1], "20 slates are wanted, found 19"),
        (lambda columns, _: np.full_like(columns, 0), "slates show what is not eligible"),
        (
            lambda columns, prices: np.where(prices.floor.any() & (columns == 0), NONE, columns),
            "slates change their length with prices",
        ),
    ],
)
def test_a_policy_that_breaks_its_word_is_found_out(
    change: Callable[[I64, Prices], I64], said: str
) -> None:
    members = crowd(20, seed=2)
    members.eligible[3, 0] = False
    promises = Promises(bounds=(Bound(group="sale 0", lower=0.9),), groups=shelf_of())
    act = members.act(TOPK, promises)
    with pytest.raises(ValueError, match=said):
        solve(lambda prices: change(act(prices), prices), promises, members.sample, sigma=0.01)
