from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.data.requests import Blocks, blocks
from recsys.domain.dataset import Dataset
from recsys.domain.requests import Requests
from recsys.domain.source import Source
from tests.data.test_requests import SOURCES, a_shop
from tests.data.test_shown import SHOWN, shown

SET = Source(cadence="set", outcome_hours=48, hidden_share=0.4)
EVERY = SOURCES | {"set": SET, "shown": SHOWN}

__all__ = ["shown"]  # a fixture


@pytest.fixture(params=EVERY)
def dataset(request: pytest.FixtureRequest) -> Dataset:
    name: str = request.param
    if name == "shown":
        sends: Dataset = request.getfixturevalue("shown")
        return replace(sends, name=name)
    return replace(a_shop("engagement" if name == "set" else name), name=name)


def outcomes(requests: Requests) -> list[tuple[int, int, int]]:
    """Return member, instant and sale of each outcome, ordered."""
    row = np.repeat(np.arange(len(requests)), np.diff(requests.target_ptr))
    found = (requests.member[row], requests.at[row], requests.target_sale)
    return sorted(zip(*(part.tolist() for part in found), strict=True))


def cut(dataset: Dataset, *, refit: bool) -> Blocks:
    return blocks(dataset, EVERY[dataset.name], refit=refit)


def test_nothing_is_refitted_and_no_block_changes_unless_asked(dataset: Dataset) -> None:
    plain, asked = cut(dataset, refit=False), cut(dataset, refit=True)
    assert plain.refit is None
    assert plain.learned is plain.towers
    for name in ("towers", "validation", "value", "calibration", "test"):
        assert outcomes(getattr(plain, name)) == outcomes(getattr(asked, name))


def test_the_block_to_refit_on_has_the_days_of_towers_and_validation(dataset: Dataset) -> None:
    made = cut(dataset, refit=True)
    assert made.refit is made.learned
    assert made.refit is not None
    mine, towers, later = (outcomes(part) for part in (made.refit, made.towers, made.validation))
    both = sorted(towers + later)
    if EVERY[dataset.name].cadence in {"noon", "hourly"}:
        assert mine == both
        return
    # what fell between the two, or on what was not open yet, is learned as well; a basket holds
    # nothing that opened on its own day, whatever a member's cutoff asks of them
    learned = towers if EVERY[dataset.name].cadence == "member" else both
    assert {(member, sale) for member, _, sale in learned} <= {(m, s) for m, _, s in mine}
    if EVERY[dataset.name].cadence == "shown":
        assert set(both) <= set(mine)
        return
    history = dataset.history
    happened = set(zip(history.member.tolist(), history.sale.tolist(), strict=True))
    assert {(member, sale) for member, _, sale in mine} <= happened
    assert len(mine) > len(towers)


def test_it_ends_before_the_next_block_begins(dataset: Dataset) -> None:
    made = cut(dataset, refit=True)
    assert made.refit is not None
    assert made.towers_until <= made.learned_until
    if made.split is None:
        first = {m: a for m, a, _ in reversed(outcomes(made.value))}
        assert all(at <= first.get(member, at) for member, at, _ in outcomes(made.refit))
        return
    following = made.split.blocks[2]
    assert made.learned_until == made.split.validation.end <= following.start
    # the outcomes of a set stand before its instant
    last = int(made.refit.at.max()) + (0 if made.refit.hidden_share else made.refit.outcome_us)
    assert last <= following.start


def test_what_judges_is_never_learned_where_it_has_days_of_its_own(dataset: Dataset) -> None:
    made = cut(dataset, refit=True)
    assert made.refit is not None
    if dataset.name == "set":
        # what comes again is an outcome of both: what is learned happened before
        history = dataset.history
        before = history.at < made.learned_until
        happened = set(
            zip(history.member[before].tolist(), history.sale[before].tolist(), strict=True)
        )
        assert {(member, sale) for member, _, sale in outcomes(made.refit)} == happened
        return
    learned = set(outcomes(made.refit))
    for part in (made.value, made.calibration, made.test):
        assert not learned & set(outcomes(part))
    assert not [note for note in made.notes if "only taste is judged fairly" in note]


def test_a_value_model_that_is_lent_validation_is_noted() -> None:
    lent = SOURCES["noon"].model_copy(update={"value_days": 0})
    notes = blocks(a_shop("noon"), lent, refit=True).notes
    assert any("only taste is judged fairly" in note for note in notes)
