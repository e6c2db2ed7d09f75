"""The public laws of re-rankers, callable by the tests of a package of one's own.

Each law takes a re-ranker and raises AssertionError, with what it found, where it is broken:

    @pytest.mark.parametrize("law", LAWS)
    def test_mine_keeps_the_public_laws(law):
        law(Mine())
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from recsys.domain.arrays import I64, NONE
from recsys.domain.joined import first_broken, silent
from recsys.domain.spec import Spec
from recsys.rerank.diversity import Reranker, ShelfView, TopK
from recsys.rerank.offer import Offer, Picks
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.utility import Parts, parts

Law = Callable[[Reranker[Any]], None]
SLOTS = 5


def settings_say_what_they_mean(reranker: Reranker[Any]) -> None:
    """Each setting has a meaning, and plain data make the same re-ranker again."""
    _must(not silent(reranker), silent(reranker))


def gains_are_finite_float32(reranker: Reranker[Any]) -> None:
    """Gains are finite float32 [n, c] in every slot, and so is the weight, which is not negative.

    Members who have no slots left are among them.
    """
    _must(0 <= reranker.weight < np.inf, f"a finite weight >= 0, found {reranker.weight}")
    for offer in _offers():
        state = reranker.init(offer.view)
        for column in _walk(offer):
            state = reranker.update(state, offer.view, column)
            gains = reranker.gains(state)
            _must(gains.dtype == np.float32, f"gains are float32, found {gains.dtype}")
            _must(
                gains.shape == offer.view.shape,
                f"gains are {offer.view.shape}, found {gains.shape}",
            )
            _must(bool(np.isfinite(gains).all()), "gains are finite")


def no_weight_is_no_variety(reranker: Reranker[Any]) -> None:
    """A weight that can be set can be 0, and slates are then those of the highest utility."""
    if not (isinstance(reranker, Spec) and "weight" in type(reranker).model_fields):
        return
    off = type(reranker).model_validate(reranker.model_dump() | {"weight": 0.0})
    for offer in _offers():
        _must(_same(_slates(off, offer), _slates(TopK(), offer)), "slates without variety")


def slates_are_full_without_repeats(reranker: Reranker[Any]) -> None:
    """A slate shows only what may be shown, nothing twice, and ends only where nothing is left."""
    for offer in _offers():
        columns = _slates(reranker, offer).columns
        for member, slate in enumerate(columns):
            shown = slate[slate != NONE]
            _must(bool(offer.eligible[member, shown].all()), "only what may be shown is shown")
            _must(len(set(shown.tolist())) == len(shown), "nothing is shown twice")
            room = min(SLOTS, int(offer.eligible[member].sum()))
            _must(len(shown) == room, f"{room} sales are shown, found {len(shown)}")


def the_same_question_has_the_same_answer(reranker: Reranker[Any]) -> None:
    """Asked again, drawn or not, every number is the same bit for bit; nothing given is changed."""
    for offer in _offers():
        unit = offer.view.unit.copy()
        for temperature in (0.0, 0.5):
            one, two = (_slates(reranker, offer, temperature) for _ in range(2))
            _must(_same(one, two), "the same slates, margins and chances when asked again")
            policy = SlatePolicy(SLOTS, reranker, temperature)
            again = policy.log_prob(offer, one.columns)
            _must(
                np.array_equal(again, one.log_propensity),
                "the chance of a slate is what was logged",
            )
        _must(np.array_equal(unit, offer.view.unit), "the vectors are left as they are")


def members_do_not_depend_on_each_other(reranker: Reranker[Any]) -> None:
    """A member's slate is the same whoever is asked beside them, and in whatever order."""
    for offer in _offers():
        whole = _slates(reranker, offer)
        order = np.arange(len(offer.eligible))[::-1]
        for rows in (order, order[:1], order[: len(order) // 2 + 1]):
            some = _slates(reranker, offer.take(rows))
            _must(_same(some, whole.take(rows)), "the same slate, whoever is asked beside")


def an_ended_slate_keeps_its_gains(reranker: Reranker[Any]) -> None:
    """Where nothing was chosen (-1), the gains stay as they were; `update` changes no state."""
    steps = [(offer, column) for offer in _offers() for column in _walk(offer)]
    for offer, first in steps:
        state = reranker.update(reranker.init(offer.view), offer.view, first)
        before = reranker.gains(state).copy()
        after = reranker.update(state, offer.view, np.full_like(first, NONE))
        _must(np.array_equal(reranker.gains(after), before), "-1 leaves the gains as they were")
        other = np.where(first == NONE, NONE, (first + 1) % offer.view.shape[1])
        reranker.update(state, offer.view, other)
        _must(np.array_equal(reranker.gains(state), before), "update returns a new state")


def parts_add_up_to_the_gain(reranker: Reranker[Any]) -> None:
    """What variety added is weight times gain, in units of value, and the margin is the rest."""
    for offer in _offers():
        picks = _slates(reranker, offer)
        utility = offer.parts.utility()
        state = reranker.init(offer.view)
        free = offer.eligible.copy()
        scale = offer.sigma * np.float32(reranker.weight)
        for slot, column in enumerate(picks.columns.T if offer.eligible.size else ()):
            rows = np.flatnonzero(column != NONE)
            variety = scale * reranker.gains(state)
            logged = picks.diversity[rows, slot]
            _must(np.array_equal(logged, variety[rows, column[rows]]), "the part of variety")
            gains = np.where(free, utility + variety, -np.inf)
            best = gains.max(axis=1, initial=-np.inf)[rows]
            _must(np.array_equal(utility[rows, column[rows]] + logged, best), "the best is taken")
            free[rows, column[rows]] = False
            state = reranker.update(state, offer.view, column)


def a_sale_worth_more_is_shown_no_less(reranker: Reranker[Any]) -> None:
    """A sale that is worth more to everybody is still shown to all who were shown it before."""
    for offer in _offers():
        for sale in range(min(3, offer.eligible.shape[1])):
            amounts = offer.parts.amounts.copy()
            amounts[0, :, sale] += np.float32(0.5)
            after = _slates(reranker, replace(offer, parts=Parts(amounts=amounts))).columns
            before = (_slates(reranker, offer).columns == sale).any(axis=1)
            _must(bool((after == sale).any(axis=1)[before].all()), "worth more, shown no less")


LAWS: tuple[Law, ...] = (
    settings_say_what_they_mean,
    gains_are_finite_float32,
    no_weight_is_no_variety,
    slates_are_full_without_repeats,
    the_same_question_has_the_same_answer,
    members_do_not_depend_on_each_other,
    an_ended_slate_keeps_its_gains,
    parts_add_up_to_the_gain,
    a_sale_worth_more_is_shown_no_less,
)
"""All of them."""


def broken(reranker: Reranker[Any]) -> str:
    """Return the first law that a re-ranker breaks and what was found, or an empty text."""
    return first_broken(LAWS, reranker)


def _must(holds: bool, wanted: str) -> None:  # ruff: ignore[boolean-type-hint-positional-argument]  # reads as a sentence
    if not holds:
        raise AssertionError(wanted)


def _offers() -> Iterator[Offer]:
    """Yield small offers: one shelf for all and one each, values that tie, one sale, none.

    Vectors have more dimensions than slates have slots.
    """
    for seed, (num, width, own) in enumerate([
        (6, 12, False),
        (5, 9, True),
        (7, 8, False),
        (1, 1, False),
        (3, 4, True),
        (2, 0, False),
    ]):
        rng = np.random.default_rng(seed)
        lead = num if own else 1
        unit = rng.normal(size=(lead, width, 8)).astype(np.float32)
        unit /= np.maximum(np.linalg.norm(unit, axis=2, keepdims=True), np.float32(1e-6))
        if width > 2:
            unit[:, 1] = unit[:, 0]  # two sales that are alike
        value = rng.random((num, width)).astype(np.float32)
        if seed == 2:
            value = np.round(value * 3) / np.float32(3)
        one = np.ones((1, 1), dtype=np.float32)
        category = rng.integers(NONE, 3, (lead, width))
        mix = rng.dirichlet(np.ones(3), num).astype(np.float32)
        mix[3::4] = 0  # members without a past
        mix = np.pad(mix, ((0, 0), (0, 1)))
        yield Offer(
            parts=parts(value, np.zeros_like(value), fatigue=one, boost=one, novelty=0.0),
            eligible=rng.random((num, width)) < 0.8,
            sigma=np.full((num, 1), 0.3, dtype=np.float32),
            view=ShelfView(unit, num, category, mix),
            brand=np.zeros((lead, width), dtype=np.int64),
            category=category,
        )


def _walk(offer: Offer) -> Iterator[I64]:
    """Yield columns I64[n] slot by slot; every third member's slate has ended."""
    num, width = offer.view.shape
    for slot in range(min(SLOTS, width)):
        column = (np.arange(num, dtype=np.int64) + slot) % width
        yield np.where(np.arange(num) % 3 == 2, NONE, column)


def _slates(reranker: Reranker[Any], offer: Offer, temperature: float = 0.0) -> Picks:
    draws = np.random.default_rng(7).random((len(offer.eligible), SLOTS))
    return SlatePolicy(SLOTS, reranker, temperature).act(offer, draws)


def _same(one: Picks, two: Picks) -> bool:
    return (
        np.array_equal(one.columns, two.columns)
        and np.array_equal(one.diversity, two.diversity)
        and np.array_equal(one.margin, two.margin)
        and np.array_equal(one.log_propensity, two.log_propensity)
    )
