"""The Spec of `recsys slates`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from recsys.domain.events import ChannelName
from recsys.domain.spec import Count, Share, Spec
from recsys.runs.executor import Executor, Local
from recsys.serve.spec import instant

CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")
"""A time of day."""


class SlatesForAll(Spec):
    """A slate for each member of the audience, its log, and a file for the mailer."""

    at: str | None = None
    """The instant the slates are for (ISO 8601, UTC); null = the one the bundle was made for."""
    finish_by: str | None = None
    """When all must be done: 11:58 of the shop's own time, or an instant (ISO 8601). What cannot
    be done in time by the value model is done by taste alone, then without scores; null = never."""
    members: str | None = None
    """Who gets a slate: a parquet or CSV file with a column `member`; null = all of the bundle."""
    arms: str | None = None
    """A JSON file that says an experiment, {"name": "dial", "arms": [{"name": "a"}, {"name":
    "b"}]}: the log says who is in which arm, and the hold-out gets the slate that is for all."""
    arm: str | None = None
    """Only the members of this arm; null = all."""
    slots: Annotated[int, Field(ge=1, le=100)] = 6
    """Places on a slate."""
    dial: str | None = None
    """A JSON file of the novelty dial by context, as `recsys dial` makes it; null = as the bundle
    has it."""
    dial_drawn: Share | None = None
    """Share of slates whose dial is drawn from a grid, so that `recsys dial` can tell which is best
    for whom; null = as the bundle has it (rerank.novelty_drawn)."""
    channel: ChannelName = "mail"
    """How the slates are delivered, as the log says it."""
    files: tuple[Literal["parquet", "csv"], ...] = ("parquet", "csv")
    """Kinds of the mailer's file; [] = the log alone."""
    members_per_shard: Count = 50_000
    """Members whose slates stand in one file, on average."""
    most_repaired: Share = 0.005
    """Share of the members on whose slate one sale may be swapped to keep a promise that prices
    alone do not keep; 0 = swap nothing, and say what is missed."""
    out: str = "exports"
    """Folder below which a new folder is made."""
    bundle: str = "CURRENT"
    """The bundle that decides: CURRENT or a bundle's name."""
    bundles_dir: str = "bundles"
    """Where bundles are."""
    executor: Executor = Local()
    dry_run: bool = False
    """Print what would be made, how much of it is there already, and write nothing."""

    @field_validator("at", "finish_by")
    @classmethod
    def _an_instant(cls, said: str | None, info: ValidationInfo) -> str | None:
        if said is not None and not (info.field_name == "finish_by" and CLOCK.fullmatch(said)):
            instant(said)
        return said
