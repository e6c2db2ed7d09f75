"""The gate: each reason alone closes it, and nothing opens it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recsys.domain.arrays import F32, F64, I32
from recsys.evaluate import logged, offpolicy, support
from recsys.evaluate.logged import Logged
from recsys.evaluate.support import Overlap, Refused, objections, unsupported


def sums_of(members: I32 | range) -> sparse.csr_array:
    cells = (np.ones(len(members)), (np.array(members), np.arange(len(members))))
    return sparse.csr_array(cells)


def overlap_of(weight: F64, *, members: I32 | None = None, **more: Any) -> Overlap:
    weight = weight.reshape(len(weight), -1)
    before = np.hstack([np.ones((len(weight), 1)), weight[:, :-1]])
    sums = sums_of(range(len(weight)) if members is None else members)
    return Overlap.of(weight, sums, **{"before": before, "unsupported": None} | more)


def reasons(weight: F64, *, left_out: float = 0.0, clipped: float = 0.0, **more: Any) -> list[str]:
    return list(objections(overlap_of(weight, **more), left_out=left_out, clipped=clipped))


def spread(n: int, share: float) -> F64:
    """Weights of mean 1 that leave a share of the log in use."""
    weight = np.zeros(n)
    weight[: round(n * share)] = 1 / share
    return weight


def test_a_policy_judged_by_its_own_log_is_let_through() -> None:
    assert reasons(np.ones((1_000, 6))) == []


def test_the_effective_sample_is_kishs_by_hand() -> None:
    overlap = overlap_of(np.array([[1.0, 1.0], [2.0, 0.0], [3.0, 0.0]]))
    np.testing.assert_allclose(overlap.ess, [36 / 14, 1])
    np.testing.assert_allclose(overlap.mean, [2, 1 / 3])
    np.testing.assert_allclose(overlap.largest, [3, 1])
    np.testing.assert_allclose(overlap.error[0], np.sqrt(2) / 3)


@pytest.mark.parametrize(("n", "found"), [(4_000, 0), (3_996, 1)])
def test_a_thousand_effective_slates_are_enough_and_fewer_are_not(n: int, found: int) -> None:
    weight = spread(n, 0.25)
    assert len(reasons(weight)) == found
    assert all("effective sample size 999 of 3,996, wanted" in why for why in reasons(weight))


@pytest.mark.parametrize(("share", "found"), [(0.05, 0), (0.049, 1)])
def test_a_twentieth_of_the_log_must_be_in_use(share: float, found: int) -> None:
    weight = spread(40_000, share)
    assert len(reasons(weight)) == found
    assert all("leave 4.90% of the log in use" in why for why in reasons(weight))


@pytest.mark.parametrize(("errors", "found"), [(2.9, 0), (3.1, 1), (-2.9, 0), (-3.1, 1)])
def test_a_mean_weight_three_standard_errors_off_is_refused(errors: float, found: int) -> None:
    weight = 1 + 0.5 * np.where(np.arange(10_000) % 2, 1.0, -1.0) + errors * 0.5 / 100
    why = reasons(weight)
    assert len(why) == found
    assert all(f"is {abs(errors):.1f} standard errors off 1" in each for each in why)


def test_a_members_rows_err_together() -> None:
    member = (np.arange(10_000) // 100).astype(np.int32)
    luck = np.where(member % 2, 0.5, -0.5)
    alone, together = (overlap_of(1.05 + luck, members=each) for each in (None, member))
    assert together.error[0] == pytest.approx(10 * alone.error[0])
    assert alone.errors_off[0] > 3 > together.errors_off[0]


@pytest.mark.parametrize(("lost", "found"), [(0.01, 0), (0.0101, 1)])
def test_a_hundredth_of_the_target_may_be_beyond_the_log(lost: float, found: int) -> None:
    why = reasons(np.ones(2_000), unsupported=np.full((2_000, 1), lost))
    assert len(why) == found
    assert all("could never show" in each for each in why)


def test_what_is_beyond_the_log_adds_up_along_a_slate_by_the_chance_of_getting_there() -> None:
    weight = np.array([[2.0, 1.0], [0.0, 0.0]])
    lost = np.array([[0.0, 0.25], [0.5, 0.125]])
    overlap = overlap_of(weight, unsupported=lost)
    np.testing.assert_allclose(overlap.missing, [0.25, 0.25 + 0.25])
    assert overlap.is_counted


def test_without_a_count_a_gap_is_what_the_mean_weight_lacks() -> None:
    overlap = overlap_of(np.array([[0.5, 0.25], [1.0, 1.5]]))
    np.testing.assert_allclose(overlap.missing, [0.25, 0.125])
    assert not overlap.is_counted
    # told, and refused by its standard errors alone
    assert not any("never show" in why for why in reasons(np.full(2_000, 0.98)))


@pytest.mark.parametrize("shares", [{"left_out": 0.011}, {"clipped": 0.011}])
def test_more_than_a_hundredth_left_out_or_clipped_is_refused(shares: Mapping[str, float]) -> None:
    (why,) = reasons(np.ones(2_000), **shares)
    assert why.startswith("1.1% of the")
    assert reasons(np.ones(2_000), **dict.fromkeys(shares, 0.01)) == []


def test_all_reasons_are_told_at_once_with_the_worst_slot() -> None:
    weight = np.ones((2_000, 3))
    weight[:, 1] = 0.0
    weight[:20, 1] = 1.0
    why = reasons(weight, left_out=0.5, clipped=0.5, unsupported=np.full((2_000, 3), 0.5))
    assert len(why) == 6
    assert sum("up to slot 2" in each for each in why) == 3


@given(logs=st.lists(st.floats(-800, 300), min_size=1, max_size=30))
def test_no_weights_are_too_large_or_small_to_be_measured(logs: list[float]) -> None:
    overlap = overlap_of(np.exp(np.array(logs)))
    assert np.isfinite([overlap.ess, overlap.mean, overlap.error, overlap.missing]).all()
    assert 0 <= overlap.ess[0] <= len(logs) * (1 + 1e-12)
    assert objections(overlap, left_out=0, clipped=0)


def test_the_largest_weight_that_a_log_may_hold_stays_finite() -> None:
    ratio = np.full((3_000, 2), 5_000.0)
    log = Logged(np.arange(3_000, dtype=np.int32), ratio, ratio, None, None, 0.0)
    assert any("standard errors off 1" in why for why in reasons(log.weight))


def logs_of(chances: list[float]) -> F32:
    with np.errstate(divide="ignore"):
        found: F32 = np.log(np.array(chances, dtype=np.float32))
    return found


def test_the_chance_beyond_the_log_is_that_of_what_it_never_shows() -> None:
    logged, target = logs_of([0.5, 0.5, 0, 0]), logs_of([0.25, 0, 0.5, 0.25])
    assert unsupported(logged, target) == pytest.approx(0.75)
    both = unsupported(np.stack([logged, target]), np.stack([target, logged]))
    np.testing.assert_allclose(both, [0.75, 0.5])


def test_a_refusal_holds_no_figure_and_no_argument_lifts_it() -> None:
    assert set(Refused.model_fields) == {"why", "ess", "missing_support"}
    for ask in (offpolicy.estimate, offpolicy.difference):
        assert set(inspect.signature(ask).parameters) <= {
            "frame", "method", "than", "num_draws", "seed"
        }  # fmt: skip
    for kind in (offpolicy.Ips, offpolicy.Snips, offpolicy.Dr, offpolicy.DrOs):
        assert set(kind.model_fields) <= {"kind", "weights", "clip", "shrink"}


def test_thresholds_are_those_of_the_design() -> None:
    found = {name: getattr(support, name) for name in dir(support) if name.startswith("M")}
    assert logged.MAX_LOG_WEIGHT == 300
    assert found == {
        "MIN_ESS": 1_000.0,
        "MIN_ESS_SHARE": 0.05,
        "MAX_ERRORS": 3.0,
        "MAX_MISSING": 0.01,
        "MAX_LEFT_OUT": 0.01,
        "MAX_CLIPPED": 0.01,
    }
