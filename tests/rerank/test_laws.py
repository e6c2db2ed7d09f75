from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.domain.arrays import F32, I64
from recsys.domain.spec import Positive
from recsys.rerank import laws
from recsys.rerank.calibrated import Calibrated
from recsys.rerank.diversity import Mmr, Reranker, ShelfView
from recsys.rerank.dpp import Dpp
from recsys.rerank.ssd import Ssd, Window
from tests.rerank.hand import RERANKERS


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize(
    "reranker",
    [*RERANKERS, Mmr(weight=2.0), Dpp(weight=2.0), Ssd(window=2), Calibrated(weight=2.0)],
    ids=lambda kind: str(kind.model_dump()),
)
def test_our_own_re_rankers_keep_the_public_laws(reranker: Reranker[Any], law: laws.Law) -> None:
    law(reranker)


class Undocumented(Mmr):
    reach: int = 1


class Endless(Mmr):
    def gains(self, state: F32) -> F32:
        return np.where(state < -1.5, np.float32(0), np.float32(-np.inf))


class Wide(Mmr):
    def gains(self, state: F32) -> F32:
        return super().gains(state).astype(np.float64)


class Moody(Mmr):
    def gains(self, state: F32) -> F32:
        noise: F32 = np.random.default_rng().random(state.shape).astype(np.float32)
        return super().gains(state) + noise


class Sociable(Mmr):
    def gains(self, state: F32) -> F32:
        gains = super().gains(state)
        return gains - gains.mean(axis=0, keepdims=True) if gains.size else gains


class Forgetful(Mmr):
    def update(self, state: F32, view: ShelfView, chosen: I64) -> F32:
        return super().update(state, view, np.maximum(chosen, 0))


class InPlace(Mmr):
    def update(self, state: F32, view: ShelfView, chosen: I64) -> F32:
        state[:] = super().update(state, view, chosen)
        return state


class Negative(Mmr):
    weight: float = -1.0
    """Price."""


class AlwaysOn(Mmr):
    weight: Positive = 0.25
    """Price."""


class Sliding(Ssd):
    window: int = 1
    """Sales that a sale is held against."""

    def update(self, state: Window, view: ShelfView, chosen: I64) -> Window:
        after = super().update(state, view, chosen)
        return Window(after.rows, after.left + (state.rows[0] ** 2 if state.rows else 0))


@pytest.mark.parametrize(
    ("reranker", "law"),
    [
        (Undocumented(), "settings_say_what_they_mean"),
        (Endless(), "gains_are_finite_float32"),
        (Wide(), "gains_are_finite_float32"),
        (Negative(), "gains_are_finite_float32"),
        (Moody(), "the_same_question_has_the_same_answer"),
        (Sociable(), "members_do_not_depend_on_each_other"),
        (AlwaysOn(), "no_weight_is_no_variety"),
        (Sliding(), "an_ended_slate_keeps_its_gains"),
        (Forgetful(), "an_ended_slate_keeps_its_gains"),
        (InPlace(), "an_ended_slate_keeps_its_gains"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_planted_breach_is_named(reranker: Any, law: str) -> None:
    assert laws.broken(reranker).startswith(f"{law}: ")


def test_an_error_of_someone_elses_code_is_a_breach_too() -> None:
    class Lost(Mmr):
        def init(self, view: ShelfView) -> F32:
            raise KeyError(view.num_members)

    assert laws.broken(Lost()) == "gains_are_finite_float32: KeyError: 6"
