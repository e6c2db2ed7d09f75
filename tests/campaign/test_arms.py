from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import chisquare

from recsys.campaign.arms import (
    HOLD_OUT,
    OUTSIDE,
    Arm,
    Experiment,
    Experiments,
    Ratio,
    RatioRefused,
    _spans,
    assign,
    held_out,
    sample_ratio,
    tally,
)
from recsys.domain.arrays import F64, I64

WEIGHTS = st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda w: sum(w) > 0.01)
MEMBERS = np.arange(40_000)
TEXTS = [f"m{number:06}" for number in range(4_000)]


def experiment(*weights: float, name: str = "ranking", **settings: object) -> Experiment:
    arms = tuple(
        Arm(name=letter, weight=weight)
        for letter, weight in zip("abcdef", weights or (1.0, 1.0), strict=False)
    )
    return Experiment.model_validate({"name": name, "arms": arms, **settings})


def lines(*weights: Sequence[float]) -> tuple[F64, list[I64]]:
    """Cut the draws where any of the weights does: lengths, and whose each piece is."""
    spans = [_spans(np.array(one)) for one in weights]
    cuts = np.unique(np.concatenate([*(edges for edges, _ in spans), [2**53]]).astype(np.int64))
    at = cuts[:-1].astype(np.uint64)
    whose = [arms[np.searchsorted(edges, at, side="right") - 1] for edges, arms in spans]
    return np.diff(cuts) / 2**53, [one.astype(np.int64) for one in whose]


def crossing(one: np.ndarray, other: np.ndarray) -> float:
    """Chance of a crossing of two groupings so uneven, were they independent."""
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    lost = table.size - 1 - (table.shape[0] - 1) * (table.shape[1] - 1)
    return float(chisquare(table.ravel(), expected.ravel(), ddof=lost).pvalue)


@given(weights=WEIGHTS)
def test_an_arm_gets_its_weight_of_the_space_of_draws(weights: list[float]) -> None:
    length, (whose,) = lines(weights)
    share = np.bincount(whose, weights=length, minlength=len(weights))
    np.testing.assert_allclose(share, np.array(weights) / sum(weights), atol=1e-12)


@given(one=st.floats(0, 1), other=st.floats(0, 1))
def test_with_two_arms_new_weights_move_as_few_members_as_can_be(one: float, other: float) -> None:
    length, (before, after) = lines([one, 1 - one], [other, 1 - other])
    assert length[before != after].sum() == pytest.approx(abs(one - other), abs=1e-12)


@given(small=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
def test_arms_that_grow_take_members_from_the_large_one_alone(
    small: list[tuple[float, float]],
) -> None:
    home = 1 / (len(small) + 1)
    before = [min(pair) * home for pair in small]
    after = [max(pair) * home for pair in small]
    assume(1 - sum(after) >= home)
    length, (was, now) = lines([1 - sum(before), *before], [1 - sum(after), *after])
    moved = was != now
    assert length[moved].sum() == pytest.approx(sum(after) - sum(before), abs=1e-12)
    assert (was[moved & (length > 1e-12)] == 0).all()


def test_an_arm_without_weight_gets_nobody() -> None:
    for weights in ((0.0, 1.0), (1.0, 0.0, 1.0), (0.0, 0.0, 1.0, 2.0)):
        counts = tally(assign(MEMBERS, experiment(*weights)), experiment(*weights))
        assert ((counts == 0) == (np.array(weights) == 0)).all()
        # not even a sliver that no member has hit yet
        assert set(_spans(np.array(weights))[1].tolist()) == set(np.flatnonzero(weights).tolist())


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), stretch=st.sampled_from([(0.0, 1.0), (0.2, 0.7)]))
def test_a_members_arm_is_theirs_whoever_else_is_asked_about(
    seed: int, stretch: tuple[float, float]
) -> None:
    asked = experiment(2, 1, 1, first=stretch[0], last=stretch[1])
    rng = np.random.default_rng(seed)
    some = rng.choice(4_000, size=rng.integers(1, 300), replace=False)
    whole = assign(TEXTS, asked)
    np.testing.assert_array_equal(assign([TEXTS[row] for row in some], asked), whole[some])
    numbers = assign(MEMBERS, asked)
    np.testing.assert_array_equal(assign(some, asked), numbers[some])
    np.testing.assert_array_equal(assign([str(row) for row in some], asked), numbers[some])
    assert whole.dtype == np.int16
    assert set(np.unique(whole)) <= set(range(len(asked.groups)))


def test_salts_share_members_out_fairly() -> None:
    refused, low = 0, 0
    for number in range(500):
        for ids in (MEMBERS[:4_000], TEXTS):
            asked = experiment(2, 1, 1, salt=str(number))
            ratio = sample_ratio(tally(assign(ids, asked), asked), asked.weights)
            refused += isinstance(ratio, RatioRefused)
            low += (ratio.ratio if isinstance(ratio, RatioRefused) else ratio).p < 0.05
    assert refused <= 5
    # and the gate's chances are chances: 50 of 1,000 below 0.05, give or take 3.3 deviations
    assert 27 <= low <= 73


def test_a_leak_of_one_percent_among_300_000_is_caught() -> None:
    members, caught, alarmed = np.arange(300_000), 0, 0
    for number in range(20):
        asked = experiment(1, 1, salt=str(number))
        rows = assign(members, asked)
        alarmed += isinstance(sample_ratio(tally(rows, asked), asked.weights), RatioRefused)
        # every hundredth member of one arm is served as if of the other
        leaked = np.flatnonzero(rows == 0)[::100]
        rows[leaked] = 1
        caught += isinstance(sample_ratio(tally(rows, asked), asked.weights), RatioRefused)
    assert alarmed <= 1
    assert caught >= 17


def test_experiments_of_different_layers_and_of_different_names_are_independent() -> None:
    first = assign(MEMBERS, experiment(1, 1, 2, first=0.1, last=0.8))
    others = [
        experiment(1, 1, 2, name="mail", layer="mail", first=0.1, last=0.8),
        experiment(1, 1, 2, name="mail", layer="mail"),
        experiment(1, 1, 2, salt="again"),
    ]
    free = ~held_out(MEMBERS)
    for other in others:
        assert crossing(first[free], assign(MEMBERS[free], other)) > 0.001
    # a test that cannot fail would be none: the same experiment twice is not independent
    assert crossing(first[free], first[free]) < 1e-12


def test_experiments_of_one_layer_share_its_members_without_overlap() -> None:
    stretches = [(0.0, 0.25), (0.25, 0.6), (0.6, 1.0)]
    plan = Experiments(
        experiments=tuple(
            experiment(1, 1, name=f"e{n}", first=first, last=last)
            for n, (first, last) in enumerate(stretches)
        )
    )
    inside = [assign(MEMBERS, one) < len(one.arms) for one in plan.experiments]
    for one, other in combinations(inside, 2):
        assert not (one & other).any()
    np.testing.assert_array_equal(np.any(inside, axis=0), ~held_out(MEMBERS))
    for taken, (first, last) in zip(inside, stretches, strict=True):
        share = (last - first) * 0.99
        assert taken.mean() == pytest.approx(share, abs=4 * np.sqrt(share / len(MEMBERS)))


def test_the_hold_out_is_one_percent_the_same_in_every_experiment_and_for_good() -> None:
    # of the first ids; a change of these lists ends the only long measure there is
    assert np.flatnonzero(held_out(np.arange(1000))).tolist() == [
        *(180, 278, 338, 411, 467, 485, 528, 530, 865, 963)
    ]
    texts = [f"m{number}" for number in range(1000)]
    assert np.flatnonzero(held_out(texts)).tolist() == [
        *(59, 179, 224, 263, 269, 386, 440, 566, 626, 817, 992)
    ]
    held = held_out(MEMBERS)
    assert held.mean() == pytest.approx(0.01, abs=4 * np.sqrt(0.01 / len(MEMBERS)))
    for asked in (experiment(), experiment(1, 0, name="x", layer="y", first=0.5, salt="z")):
        np.testing.assert_array_equal(assign(MEMBERS, asked) == asked.groups.index(HOLD_OUT), held)
    assert held_out([]).shape == assign([], experiment()).shape == (0,)


def test_the_groups_say_what_the_rows_stand_for() -> None:
    asked = experiment(1, 2, 1, first=0.5)
    assert asked.groups == ("a", "b", "c", HOLD_OUT, OUTSIDE)
    rows = assign(MEMBERS, asked)
    assert set(np.unique(rows)) == {0, 1, 2, 3, 4}
    assert tally(rows, asked).tolist() == [int((rows == arm).sum()) for arm in range(3)]
    assert tally(rows[:0], asked).tolist() == [0, 0, 0]


def test_arms_stay_where_they_were_put() -> None:
    # an experiment that runs on under the next version must not draw its members anew
    first = assign(np.arange(24), experiment())
    assert first.tolist() == [
        *(1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1)
    ]


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("names must differ", {"arms": [{"name": "a"}, {"name": "a"}]}),
        ("names must differ", {"arms": [{"name": HOLD_OUT}]}),
        ("no arm has a weight", {"arms": [{"name": "a", "weight": 0}]}),
        ("nobody", {"arms": [{"name": "a"}], "first": 0.5, "last": 0.5}),
        ("at least 1 item", {"arms": []}),
    ],
)
def test_an_experiment_that_cannot_be_is_refused(said: str, fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=said):
        Experiment.model_validate({"name": "x", **fields})


def test_experiments_that_overlap_or_share_a_name_are_refused() -> None:
    one = experiment(name="one", last=0.5)
    Experiments(experiments=(one, experiment(name="two", first=0.5)))
    Experiments(experiments=(one, experiment(name="two", layer="mail")))
    with pytest.raises(ValidationError, match=r"one takes 0.0 to 0.5 of layer default, two 0.4"):
        Experiments(experiments=(experiment(name="two", first=0.4), one))
    with pytest.raises(ValidationError, match="two experiments are called one"):
        Experiments(experiments=(one, experiment(name="one", layer="mail")))


@given(
    cells=st.lists(
        st.tuples(st.integers(0, 10_000), st.floats(0.01, 5)), min_size=2, max_size=6
    ).filter(lambda cells: sum(count for count, _ in cells) > 0)
)
def test_the_ratio_is_pearsons_chi_square(cells: list[tuple[int, float]]) -> None:
    counts, weights = np.array([c for c, _ in cells]), np.array([w for _, w in cells])
    found = sample_ratio(counts, weights)
    ratio = found.ratio if isinstance(found, RatioRefused) else found
    expected = counts.sum() * weights / weights.sum()
    asked = chisquare(counts, expected)
    assert ratio.chi_square == pytest.approx(asked.statistic, rel=1e-9, abs=1e-9)
    assert ratio.p == pytest.approx(asked.pvalue, rel=1e-6, abs=1e-12)
    np.testing.assert_allclose(ratio.expected, expected)
    assert isinstance(found, RatioRefused) == (ratio.p < 0.001)


def test_a_refusal_says_what_it_saw() -> None:
    refused = sample_ratio([148_500, 151_500], [1, 1])
    assert isinstance(refused, RatioRefused)
    assert "148,500, 151,500 members, wanted 150,000.0, 150,000.0" in refused.why
    assert refused.ratio.counts.tolist() == [148_500, 151_500]
    assert isinstance(sample_ratio([149_800, 150_200], [1, 1]), Ratio)


def test_members_in_an_arm_without_weight_are_refused_and_no_members_are_not() -> None:
    assert isinstance(sample_ratio([500, 500, 1], [1, 1, 0]), RatioRefused)
    assert isinstance(sample_ratio([500, 500, 0], [1, 1, 0]), Ratio)
    assert isinstance(sample_ratio([7, 1], [1, 0]), RatioRefused)
    nobody = sample_ratio([0, 0], [1, 1])
    assert isinstance(nobody, Ratio)
    assert nobody.p == 1


@pytest.mark.parametrize(
    ("counts", "weights"), [([1], [1, 1]), ([-1, 2], [1, 1]), ([1, 1], [-1, 2]), ([1, 1], [0, 0])]
)
def test_counts_without_a_meaning_are_refused(counts: list[int], weights: list[float]) -> None:
    with pytest.raises(ValueError, match="with weights"):
        sample_ratio(counts, weights)
