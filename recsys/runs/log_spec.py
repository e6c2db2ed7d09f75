"""The Specs of what is asked of a slate log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.domain.events import ChannelName
from recsys.domain.spec import NonNegative, Spec
from recsys.evaluate.estimators import Estimator, Snips
from recsys.public.open_bandit import OpenBandit
from recsys.runs.logs import LoggedSource


class OffPolicy(Spec):
    """What another policy would have brought, by a log of this one that knows its chances."""

    data: LoggedSource = OpenBandit()
    method: Estimator = Snips()
    draws: Annotated[int, Field(ge=100, le=100_000)] = 1_000
    """Bootstrap draws behind the intervals."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of these draws."""


class FindDial(Spec):
    """Where the novelty dial should stand for whom, by a slate log whose dials were drawn."""

    root: str = "log"
    """Folder of the log's parquet files, or several: 'exports/*_slates/log' (docs/slate-log.md)."""
    outcomes: str = "outcomes.parquet"
    """Parquet or CSV file of what members did; or the folder in which a service keeps what it was
    told (serve.feedback)."""
    channel: ChannelName = "mail"
    """Only slates of this channel count, and the dials found are for it."""
    reward: Literal["bought", "clicked", "visited", "earned"] = "bought"
    """What counts: a purchase, a click, a visit, or what was earned, in money."""
    discovery: NonNegative = 0.0
    """What it is worth more where the sale was new to the member: 0.5 = half as much again. A log
    sees what came of a slate, not what a new brand brings later: this is the shop's to say."""
    out: str = "dial.json"
    """The file of dials that is written."""
    draws: Annotated[int, Field(ge=100, le=100_000)] = 1_000
    """Bootstrap draws behind the intervals."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of these draws."""
