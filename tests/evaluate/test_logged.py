"""Frames that are read, and frames that no log can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.errors import DataRefusedError
from recsys.evaluate.logged import read


def frame_of(**changed: Any) -> pl.DataFrame:
    plain: dict[str, Any] = {
        "member": ["b", "b", "a", "a", "a", "b"],
        "send": [1, 1, 1, 1, 1, 2],
        "slot": [1, 2, 1, 2, 3, 1],
        "reward": [1, 2, 3, 4, 5, 6],
        "log_propensity": [-1.0, -2.0, -1.0, -1.0, 0.0, -3.0],
        "target_log_prob": [-1.5, -1.0, -1.0, -2.0, 0.0, -1.0],
    }
    return pl.DataFrame(plain | changed)


def test_rows_become_slates_and_what_is_not_there_weighs_and_earns_nothing() -> None:
    log = read(frame_of(), prefix=True)
    assert log.members.tolist() == [0, 1, 1]
    np.testing.assert_allclose(log.ratio, np.array([[0, -1, 0], [-0.5, 1, 0], [2, 0, 0]]))
    reached = np.array([[0, -1, -1], [-0.5, 0.5, 0.5], [2, 2, 2]])
    np.testing.assert_allclose(log.weight, np.exp(reached))
    np.testing.assert_allclose(log.before[:, 1:], log.weight[:, :-1])
    assert (log.before[:, 0] == 1).all()
    assert log.reward.tolist() == [[3, 4, 5], [1, 2, 0], [6, 0, 0]]
    assert (log.model, log.unsupported, log.left_out) == (None, None, 0)


def test_rows_alone_keep_their_order_and_need_no_slot() -> None:
    log = read(frame_of().drop("slot", "send"))
    assert log.members.tolist() == [1, 1, 0, 0, 0, 1]
    assert log.reward.ravel().tolist() == [1, 2, 3, 4, 5, 6]
    assert log.weight.shape == (6, 1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), prefix=st.booleans())
def test_slates_do_not_depend_on_the_order_of_rows(seed: int, *, prefix: bool) -> None:
    frame = frame_of(q=[0.5] * 6, q_target=range(6), unsupported=[0.1] * 6)
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    whole, again = (read(each, prefix=prefix) for each in (frame, mixed))
    rows = np.arange(len(whole.reward))
    if not prefix:
        rows = np.searchsorted(frame["reward"].to_numpy(), mixed["reward"].to_numpy())
    for name in ("members", "ratio", "reward", "unsupported"):
        np.testing.assert_array_equal(getattr(whole, name)[rows], getattr(again, name))
    assert whole.model is not None
    assert again.model is not None
    np.testing.assert_array_equal(whole.model[1][rows], again.model[1])


@pytest.mark.parametrize("hole", [None, np.nan])
def test_a_row_without_a_propensity_takes_its_whole_slate_along(hole: float | None) -> None:
    frame = frame_of(log_propensity=[-1.0, hole, -1.0, -1.0, 0.0, -3.0])
    log = read(frame, prefix=True)
    assert log.reward.tolist() == [[3, 4, 5], [6, 0, 0]]
    assert log.members.tolist() == [0, 1]
    assert log.left_out == pytest.approx(1 / 3)
    alone = read(frame)
    assert alone.reward.ravel().tolist() == [1, 3, 4, 5, 6]
    assert alone.left_out == pytest.approx(1 / 6)


def test_what_is_left_out_may_lack_all_else() -> None:
    frame = frame_of(
        log_propensity=[None] * 2 + [-1.0] * 4,
        target_log_prob=[None] * 2 + [-1.0] * 4,
        reward=[None] * 2 + [1] * 4,
    )
    assert read(frame).reward.tolist() == [[1], [1], [1], [1]]


def test_a_target_that_never_shows_this_is_a_weight_of_nothing() -> None:
    log = read(frame_of(target_log_prob=[-np.inf] + [-1.0] * 5), prefix=True)
    assert log.weight[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"log_propensity": [0.5] + [-1.0] * 5}, "log_propensity of 1 rows is no log of a chance"),
        ({"log_propensity": [-np.inf] * 2 + [-1.0] * 4}, "log_propensity of 2 rows"),
        ({"target_log_prob": [0.1] + [-1.0] * 5}, "target_log_prob of 1 rows"),
        ({"target_log_prob": [None] + [-1.0] * 5}, "target_log_prob of 1 rows"),
        ({"reward": [None, 1, 1, 1, 1, 1]}, "reward of 1 rows is null or no number"),
        ({"reward": [np.inf, 1, 1, 1, 1, 1]}, "reward of 1 rows"),
        ({"member": [None] * 3 + ["a"] * 3}, "member of 3 rows is null"),
        ({"send": [None] + [1] * 5}, "send of 1 rows is null"),
        ({"slot": [1, 3, 1, 2, 3, 1]}, "slots of a slate do not run"),
        ({"slot": [1, 1, 1, 2, 3, 1]}, "slots of a slate do not run"),
        ({"slot": [1, 2, 1, 2, 3, 2]}, "slots of a slate do not run"),
        ({"slot": [1, 2, 1, 2, None, 1]}, "slot of 1 rows is null"),
        ({"q": [np.nan] * 6, "q_target": [0.0] * 6}, "q of 6 rows"),
        ({"unsupported": [None] * 6}, "unsupported of 6 rows"),
    ],
)
def test_what_no_log_can_hold_is_refused_by_name(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(DataRefusedError, match=says):
        read(frame_of(**changed), prefix=True)


@pytest.mark.parametrize("column", ["member", "slot", "reward", "log_propensity"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(DataRefusedError, match=f"the log lacks {column}\n"):
        read(frame_of().drop(column), prefix=True)


def test_another_policys_chances_are_read_by_name() -> None:
    with pytest.raises(DataRefusedError, match="the log lacks rival\n"):
        read(frame_of(), target="rival")
    log = read(frame_of(rival=[-1.0] * 6), target="rival")
    np.testing.assert_allclose(log.ratio.ravel(), [0, 1, 0, 0, -1, 2])


def test_two_sends_without_a_name_say_what_to_do() -> None:
    with pytest.raises(DataRefusedError, match="column `send`"):
        read(frame_of().drop("send"), prefix=True)
