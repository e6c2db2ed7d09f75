"""A dataset in, the requests of its five blocks out: each with its past, shelf and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recsys.data.baskets import baskets, member_requests, sets, share_of_history
from recsys.data.schedule import Schedule, cutoffs, instants, judging, windows
from recsys.data.seen import first_contacts
from recsys.data.shelves import Moments, shelf_requests
from recsys.data.shown import shown_requests
from recsys.domain.dataset import Dataset
from recsys.domain.errors import SettingError
from recsys.domain.events import HOUR
from recsys.domain.requests import Requests
from recsys.domain.source import Source
from recsys.domain.split import BLOCKS, Block, Split
from recsys.domain.ties import uniform

REFIT = "refit"
REQUESTS_SEED = 1
"""Which requests of a block stay where `judged_requests` limits them."""


@dataclass(frozen=True)
class Blocks:
    """The requests of each block of time (RULINGS 1): no outcome reaches into the next block.

    With `value_days=0` the value model's requests are those of validation; with
    `calibration_days=0` half of the members of the value model's block calibrate it.
    """

    towers: Requests
    validation: Requests
    value: Requests
    calibration: Requests
    test: Requests
    split: Split | None
    """None where each member has cutoffs of their own."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""
    refit: Requests | None = None
    """The days of towers and validation as one training block; None unless asked for."""

    @property
    def learned(self) -> Requests:
        """What towers and baselines have learned from in the end."""
        return self.towers if self.refit is None else self.refit

    @property
    def learned_until(self) -> int:
        """UTC us: the end of it, outcomes included."""
        if self.refit is None:
            return self.towers_until
        return self.split.validation.end if self.split else int(self.refit.at.max()) + 1

    @property
    def towers_until(self) -> int:
        """UTC us: the end of the towers' block, outcomes included."""
        return self.split.towers.end if self.split else int(self.towers.at.max()) + 1


def blocks(dataset: Dataset, source: Source, *, refit: bool = False) -> Blocks:
    """Make the requests of a dataset, when `source.cadence` says decisions are made.

    A request is one (member, instant) followed by an engagement with that shelf within
    `outcome_hours` (RULINGS 2). Its outcomes are all sales of the shelf engaged with in that time,
    also those the member knew before; its past is what happened strictly before the instant. Of a
    `set` the outcomes that train stand in the past: see `Requests.hidden_share`. With `refit` there
    is a block to train on once validation has chosen: its days, too.

    Raises:
        SettingError: the data are too short for five blocks, or a block has no request.
    """
    match source.cadence:
        case "noon" | "hourly":
            schedule = instants(dataset, source)
            made, notes = _before_shelves(dataset, source, schedule, refit=refit)
        case "engagement" | "set":
            schedule = cutoffs(dataset, source)
            made, notes = _before_shelves(dataset, source, schedule)
            made |= _of_engagements(dataset, source, schedule.split, refit=refit)
        case "shown":
            split = windows(dataset, source)
            outcome_us = int(source.outcome_hours * HOUR)
            every = (*split.blocks, _both(split)) if refit else split.blocks
            made = {block.name: shown_requests(dataset, block, outcome_us) for block in every}
            made = {name: _limited(one, source, name) for name, one in made.items()}
            return _blocks(dataset, made, split, source=source)
        case "member":
            made = _by_member(dataset, source, refit=refit)
            return _blocks(dataset, made, None, source=source)
    return _blocks(dataset, made, schedule.split, source=source, notes=schedule.notes + notes)


def _both(split: Split) -> Block:
    towers, validation = split.towers, split.validation
    return Block(REFIT, start=towers.start, last=validation.last, end=validation.end)


def _before_shelves(
    dataset: Dataset, source: Source, schedule: Schedule, *, refit: bool = False
) -> tuple[dict[str, Requests], tuple[str, ...]]:
    moments = Moments(dataset)
    made, notes = dict[str, Requests](), list[str]()
    missed = hits = 0
    for name, times in schedule.times.items():
        requests, elsewhere = shelf_requests(moments, times, int(source.outcome_hours * HOUR))
        missed, hits = missed + elsewhere, hits + len(requests.target_sale)
        made[name] = _limited(requests, source, name)
        if len(made[name]) < len(requests):
            notes.append(f"{len(made[name]):,} of {len(requests):,} requests of {name} are judged")
    if refit:
        both = np.concatenate([schedule.times[name] for name in BLOCKS[:2]])
        made[REFIT], _ = shelf_requests(moments, both, int(source.outcome_hours * HOUR))
    notes.append(
        f"{missed:,} engagements within {source.outcome_hours:g} hours of a decision fell on sales "
        f"that were not on its shelf; {hits:,} outcomes (member, decision, sale) were"
    )
    return made, tuple(notes)


def _of_engagements(
    dataset: Dataset, source: Source, split: Split, *, refit: bool
) -> dict[str, Requests]:
    at, made = dataset.history.at, dict[str, Requests]()
    ends = {"towers": split.validation.start} | ({REFIT: split.validation.end} if refit else {})
    for name, end in ends.items():
        keep = (at >= split.towers.start) & (at < end)
        made[name] = (
            sets(dataset, keep, end, hidden_share=source.hidden_share)
            if source.cadence == "set"
            else baskets(dataset, keep)
        )
    return made


def _limited(requests: Requests, source: Source, block: str) -> Requests:
    """Keep at most `judged_requests`, drawn by a hash of member and instant: never by outcome."""
    limit = source.judged_requests
    if block in {"towers", REFIT} or not limit or len(requests) <= limit:
        return requests
    drawn = np.argsort(uniform(REQUESTS_SEED, requests.member, requests.at), kind="stable")
    return requests.take(np.sort(drawn[:limit]))


def _by_member(dataset: Dataset, source: Source, *, refit: bool) -> dict[str, Requests]:
    made, high = dict[str, Requests](), 100
    for name in reversed(judging(source)):
        if refit and name == "validation":
            made[REFIT] = baskets(dataset, share_of_history(dataset, 0, high))
        low = high - int(getattr(source, f"{name}_days"))
        made[name] = member_requests(dataset, share_of_history(dataset, low, high))
        high = low
    made["towers"] = baskets(dataset, share_of_history(dataset, 0, high))
    return made


def _finished(
    dataset: Dataset, made: Mapping[str, Requests], source: Source
) -> dict[str, Requests]:
    """Leave out what members knew, if asked to, and lend the value model the blocks it lacks."""
    done = dict(made)
    if source.exclude_seen:
        done = {name: first_contacts(one, dataset.history) for name, one in made.items()}
    done.setdefault("value", done["validation"])
    if "calibration" not in done:
        # steps fitted on the rows of the model itself would promise too much
        value = done["value"]
        fits = uniform(REQUESTS_SEED, value.member) < 0.5
        done["value"] = value.take(np.flatnonzero(fits))
        done["calibration"] = value.take(np.flatnonzero(~fits))
    return done


def _blocks(
    dataset: Dataset,
    made: Mapping[str, Requests],
    split: Split | None,
    *,
    source: Source,
    notes: tuple[str, ...] = (),
) -> Blocks:
    made = _finished(dataset, made, source)
    for name in BLOCKS:
        if not len(made[name]):
            raise SettingError(
                f"data={dataset.name}: block {name} holds no request",
                "found: no member engaged with a sale on the shelf within data.outcome_hours",
                "do: raise data.outcome_hours or the data.*_days, or give more events",
            )
    return Blocks(**made, split=split, notes=notes + _lent(source, refit=REFIT in made))


def _lent(source: Source, *, refit: bool) -> tuple[str, ...]:
    """Say which requests stand in for blocks of the value model that have no days."""
    notes = list[str]()
    if not source.value_days:
        notes.append("data.value_days=0: the value model learns from the block of validation")
        if refit:
            notes.append("the towers learn that block, too: only taste is judged fairly")
    if not source.calibration_days:
        notes.append(
            "data.calibration_days=0: half of the members it could learn from calibrate it"
        )
    return tuple(notes)
