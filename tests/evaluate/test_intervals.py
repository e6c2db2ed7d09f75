from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from recsys.evaluate.intervals import BLOCK, Draws, means, whole
from recsys.evaluate.metrics import coverage


def members(*counts: int) -> np.ndarray:
    """Members 0, 1, ... with so many requests each."""
    return np.repeat(np.arange(len(counts)), counts).astype(np.int32)


def test_weights_are_poisson_with_mean_one() -> None:
    weights = Draws.of(members(*[1] * 400), 1_000, 0).weights.astype(np.float64)
    # 3.3 standard errors are passed 999 times in 1,000
    assert abs(weights.mean() - 1) < 3.3 / np.sqrt(weights.size)
    assert abs((weights == 0).mean() - np.exp(-1)) < 3.3 * np.sqrt(0.2325 / weights.size)
    # the variance of a Poisson variance: (mu4 - sigma^4) / n = 3 / n
    assert abs(weights.var() - 1) < 3.3 * np.sqrt(3 / weights.size)


def test_draws_are_the_same_for_the_same_seed() -> None:
    one, again = (Draws.of(members(2, 1, 3), 100, 5) for _ in range(2))
    np.testing.assert_array_equal(one.weights, again.weights)
    assert (Draws.of(members(2, 1, 3), 100, 6).weights != one.weights).any()


def test_a_mean_leaves_out_requests_that_do_not_define_it() -> None:
    values = np.array([[1.0, np.nan], [3, np.nan], [np.nan, np.nan], [8, 2]])
    found = means(values, Draws.of(members(2, 1, 1), 200, 0))
    np.testing.assert_allclose(found.value, [4, 2])
    assert found.n.tolist() == [3, 1]
    assert [one.n for one in found.estimates()] == [3, 1]


def test_a_draw_is_the_weighted_mean_over_whole_members() -> None:
    draws = Draws.of(members(2, 1, 1), BLOCK + 7, 0)
    values = np.array([[1.0], [3], [5], [np.nan]])
    found = means(values, draws)
    weights = draws.weights.astype(np.float64)
    below = 2 * weights[:, 0] + weights[:, 1]
    expected = np.divide(
        4 * weights[:, 0] + 5 * weights[:, 1], below, out=np.full(len(weights), 3.0),
        where=below > 0,
    )  # fmt: skip
    np.testing.assert_allclose(found.sample[:, 0], expected, rtol=1e-6)


def test_some_rows_are_judged_as_if_the_others_were_not_there() -> None:
    draws, values = Draws.of(members(2, 1, 1), 100, 0), np.array([[1.0], [3], [5], [9]])
    some = means(values, draws, np.array([0, 2]))
    blank = values.copy()
    blank[[1, 3]] = np.nan
    other = means(blank, draws)
    assert some.value == other.value
    np.testing.assert_allclose(some.sample, other.sample)


def test_a_figure_that_nobody_defines_counts_nobody() -> None:
    found = means(np.full((3, 1), np.nan), Draws.of(members(1, 2), 100, 0))
    assert found.n.tolist() == [0]
    assert np.isnan(found.value).all()


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    luck, draws = rng.random((500, 1)), Draws.of(members(*[1] * 500), 500, 0)
    one, other = means(luck + 0.01, draws), means(luck, draws)
    difference = one.minus(other)[0]
    # whoever drew members apart would find an interval of the width of the luck
    assert (difference.value, difference.low, difference.high) == pytest.approx(
        (0.01, 0.01, 0.01), abs=1e-6
    )
    assert one.estimates()[0].high - one.estimates()[0].low > 0.03


def test_members_are_drawn_whole() -> None:
    # 50 members with 20 equal requests each: the interval is that of 50, not of 1,000
    rng = np.random.default_rng(1)
    of_member = rng.standard_normal(50)
    found = means(
        np.repeat(of_member, 20)[:, None], Draws.of(members(*[20] * 50), 2_000, 0)
    ).estimates()[0]
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(
        of_member.std() / 50**0.5, rel=0.1
    )


def test_intervals_cover_a_known_mean_about_as_often_as_they_say() -> None:
    rng, runs, covered = np.random.default_rng(2), 2_000, 0
    draws = Draws.of(members(*[1] * 100), 400, 0)
    for estimate in means(rng.standard_normal((100, runs)), draws).estimates():
        covered += estimate.low <= 0 <= estimate.high
    # 95 %, less what percentiles of 100 members lose; a right program passes 999 times in 1,000
    expected = 2 * norm.cdf(1.96 * np.sqrt(99 / 100)) - 1
    band = 3.3 * np.sqrt(expected * (1 - expected) / runs)
    assert expected - 0.015 - band < covered / runs < expected + band


def test_one_draw_in_forty_lies_beyond_each_end() -> None:
    luck = np.random.default_rng(3).random((200, 1))
    found = means(luck, Draws.of(members(*[1] * 200), 4_000, 0))
    estimate = found.estimates()[0]
    assert (found.sample < estimate.low).sum() == 100
    assert (found.sample > estimate.high).sum() == 100


def test_a_figure_of_whole_sets_stands_in_the_middle_of_its_interval() -> None:
    top = np.array([[0, 1], [0, 2], [0, -1]])
    found = whole(top, Draws.of(members(1, 1, 1), 100, 0), 6, figure=coverage)
    assert found.value == pytest.approx(3 / 6)
    assert found.n == 3
    assert found.value - found.low == pytest.approx(found.high - found.value)
    assert 0 < found.value - found.low < 0.5


def test_an_interval_of_a_share_stays_a_share() -> None:
    everyone = whole(np.array([[0], [1]]), Draws.of(members(1, 1), 100, 0), 2, figure=coverage)
    assert everyone.value == everyone.high == 1
    assert everyone.low >= 0


def test_the_work_of_draws_grows_with_members_not_with_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes = []
    real = Draws.product

    def watched(draws: Draws, by_member: np.ndarray) -> np.ndarray:
        shapes.append(by_member.shape)
        return real(draws, by_member)

    monkeypatch.setattr(Draws, "product", watched)
    means(np.zeros((300, 7)), Draws.of(members(100, 100, 100), 100, 0))
    assert shapes == [(3, 7), (3, 7)]
