"""When decisions are made: instants of requests in, five blocks of time out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recsys.data.instants import local_hours, local_noons
from recsys.domain.arrays import I64
from recsys.domain.clock import utc_of
from recsys.domain.dataset import Dataset
from recsys.domain.errors import SettingError
from recsys.domain.events import DAY, HOUR
from recsys.domain.source import Source
from recsys.domain.split import BLOCKS, Block, Split

JUDGING = BLOCKS[1:]
"""The blocks after the towers', in time order."""


@dataclass(frozen=True)
class Schedule:
    """Decision times of the blocks; no outcome of one lies behind the start of the next."""

    times: Mapping[str, I64]
    """Block -> instants, ascending, I64 UTC us; without the towers' where these are baskets."""
    split: Split
    notes: tuple[str, ...]


def judging(source: Source) -> tuple[str, ...]:
    """Return the blocks after the towers' that have time of their own, in time order."""
    return tuple(name for name in JUDGING if getattr(source, f"{name}_days"))


def instants(dataset: Dataset, source: Source) -> Schedule:
    """Cut the local noons (or hours) into blocks, from the last one that settles backwards.

    Raises:
        SettingError: the data are too short for the days and the outcome window asked for.
    """
    outcome_us = int(source.outcome_hours * HOUR)
    hourly = source.cadence == "hourly"
    first = int(dataset.history.at.min(initial=dataset.watermark))
    known = (local_hours if hourly else local_noons)(dataset.zone, first, dataset.watermark)
    settled_by, times = dataset.watermark, dict[str, I64]()
    names = ("towers", *judging(source))
    for name in reversed(names):
        wanted = int(getattr(source, f"{name}_days")) * (24 if hourly else 1)
        ready = known[known + outcome_us <= settled_by]
        if len(ready) < max(wanted, 1):
            raise _too_short(name, dataset, source)
        times[name] = ready[-wanted:]  # wanted = 0 keeps all
        settled_by = int(times[name][0])
    unsettled = int((known + outcome_us > dataset.watermark).sum())
    unused = len(known) - unsettled - sum(len(at) for at in times.values())
    return Schedule(
        times=times,
        split=_split({name: _block(name, times[name], outcome_us) for name in names}),
        notes=(
            f"{unsettled} decision times without settled outcomes are left out, all after "
            + when(dataset.watermark - outcome_us),
            f"{unused} decision times lie before the first block or under outcomes between two",
        ),
    )


def cutoffs(dataset: Dataset, source: Source) -> Schedule:
    """Give each judging block one decision time, an outcome window apart, the last one settled.

    The towers' block holds the engagements before them: each is its own outcome, settled at once.

    Raises:
        SettingError: the data are too short for the outcome windows and some past.
    """
    outcome_us = int(source.outcome_hours * HOUR)
    names = judging(source)
    times = {
        name: np.array([dataset.watermark - back * outcome_us], dtype=np.int64)
        for back, name in zip(range(len(names), 0, -1), names, strict=True)
    }
    end = int(times["validation"][0])
    start = end - source.towers_days * DAY if source.towers_days else np.iinfo(np.int64).min
    at = dataset.history.at
    training = at[(at >= start) & (at < end)]
    if not len(training):
        raise _too_short("towers", dataset, source)
    blocks = {name: _block(name, at, outcome_us) for name, at in times.items()}
    blocks["towers"] = _block("towers", np.array([training.min(), training.max()]), 1)
    return Schedule(
        times=times,
        split=_split(blocks),
        notes=(f"judging blocks hold one request a member; the first is at {when(end)}",),
    )


def windows(dataset: Dataset, source: Source) -> Split:
    """Cut the time of what was shown into windows of 24 hours, from the watermark backwards.

    A send is of the window that its outcomes settle in; the towers' may begin with the first.

    Raises:
        SettingError: nothing was shown, or not for long enough.
    """
    outcome_us, end = int(source.outcome_hours * HOUR), dataset.watermark
    first = dataset.exposures["at"].min()
    blocks = dict[str, Block]()
    for name in reversed(("towers", *judging(source))):
        days = int(getattr(source, f"{name}_days"))
        start = end - days * DAY if days else first
        if not isinstance(first, int) or not isinstance(start, int) or start > end - outcome_us:
            raise _too_short(name, dataset, source)
        blocks[name] = Block(name, start=start, last=end - outcome_us, end=end)
        end = start
    return _split(blocks)


def _split(blocks: Mapping[str, Block]) -> Split:
    return Split(
        towers=blocks["towers"],
        validation=blocks["validation"],
        value=blocks.get("value"),
        calibration=blocks.get("calibration"),
        test=blocks["test"],
    )


def _block(name: str, at: I64, outcome_us: int) -> Block:
    return Block(name, start=int(at[0]), last=int(at[-1]), end=int(at[-1]) + outcome_us)


def when(at: int) -> str:
    """Write an instant (UTC us) for people, to the minute."""
    return f"{utc_of(at):%Y-%m-%d %H:%M} UTC"


def _too_short(block: str, dataset: Dataset, source: Source) -> SettingError:
    first = int(dataset.history.at.min(initial=dataset.watermark))
    days = ", ".join(f"{name} {getattr(source, f'{name}_days')}" for name in JUDGING)
    return SettingError(
        f"data={dataset.name}: {(dataset.watermark - first) / DAY:.1f} days of events leave no "
        f"decision time for block {block}",
        f"asked for: days {days}; outcome_hours={source.outcome_hours:g} after each block",
        "do: give more data, or lower data.outcome_hours or the data.*_days",
    )
