"""What a send is made of: a verified bundle, an instant, the members asked for, their shards."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from recsys.campaign.arms import Experiment, assign, read_experiment
from recsys.campaign.audience import shard_of
from recsys.campaign.slate_log import policy_id
from recsys.domain.arrays import I32, NONE, Bool
from recsys.domain.clock import utc_of
from recsys.domain.errors import SettingError, UnknownMemberError
from recsys.domain.ledger import ShardPlan
from recsys.domain.manifest import JSON
from recsys.rerank.dial import dialled, read_table
from recsys.rerank.ranker import Ranker
from recsys.rerank.spec import Rerank
from recsys.runs.folder import git_state, version, versions
from recsys.runs.slates_seat import Seat, seated
from recsys.runs.slates_sending import KINDS, Job
from recsys.runs.slates_spec import CLOCK, SlatesForAll
from recsys.serve.bundle import Bundle
from recsys.serve.spec import instant

BY_TASTE = "ranker/taste/value.json"
"""The file of a bundle that holds its value by taste alone."""
SLOT_BYTES = {"log.parquet": 24, "campaign.parquet": 16, "campaign.csv": 120}
"""Of each slot in a file, as a rule."""


@dataclass(frozen=True)
class Asked:
    """The m members who get a slate."""

    ids: pl.Series
    rows: I32
    """In the bundle, ascending."""
    unknown: int = 0
    """Ids of the file that the bundle does not know: they get nothing."""
    everyone: bool = True
    """All of the bundle's members who may be written to."""
    unwritten: int = 0
    """Members who do not consent to mail, and get none."""

    def where(self, kept: Bool) -> Asked:
        """Return some of the members, Bool[m]."""
        return replace(self, ids=self.ids.filter(kept), rows=self.rows[kept], everyone=False)


def seat_for(spec: SlatesForAll, bundle: Bundle) -> Seat:
    """Stand before the shelf of the instant asked for.

    Raises:
        SettingError: nothing is on offer then.
    """
    parts = bundle.parts
    at = parts.decided_at if spec.at is None else instant(spec.at)
    seat = seated(parts, at, rerank_of(spec, parts.ranker))
    if not len(seat.shelf):
        later = parts.shelves.next_opening(at)
        when = "no sale opens later" if later is None else f"the next opens at {_utc(later)}"
        raise SettingError(
            f"no sale is on offer at {_utc(at)}: nothing to make slates of",
            f"{when}; name another instant: at=TIME, or another bundle",
        )
    return seat


def rerank_of(spec: SlatesForAll, ranker: Ranker) -> Rerank:
    """Return how slates are made: as the bundle has it, but for what is asked for here.

    Raises:
        SettingError: its slates have no dial, or the file of dials cannot be used.
    """
    table = None if spec.dial is None else read_table(Path(spec.dial), channel=spec.channel)
    made = ranker.with_slots(spec.slots)
    return dialled(made.spec, made.appetite, table=table, drawn=spec.dial_drawn)


def members_of(spec: SlatesForAll, seat: Seat, arms: Experiment | None) -> Asked:
    """Return who gets a slate.

    Raises:
        SettingError: their file cannot be read, or there is no such arm.
        UnknownMemberError: the bundle knows none of them.
    """
    parts = seat.parts
    ids = pl.Series(parts.members.ids)
    asked = Asked(ids, np.arange(len(ids), dtype=np.int32))
    if spec.members is not None:
        named = _named(Path(spec.members))
        rows = np.asarray(parts.member_ids.rows(named.to_list()))
        known = np.unique(rows[rows != NONE]).astype(np.int32)
        if not len(known):
            raise UnknownMemberError(
                f"the bundle knows none of the {len(named):,} members of {spec.members}",
                f"it knows, for example: {', '.join(ids.head(3).to_list())}",
            )
        asked = Asked(ids.gather(known), known, int((rows == NONE).sum()), everyone=False)
    if spec.channel == "mail" and parts.mail is not None:
        agreed = np.asarray(parts.mail[asked.rows])
        asked = replace(
            asked.where(agreed), everyone=asked.everyone, unwritten=int((~agreed).sum())
        )
        if not agreed.any():
            raise SettingError("none of the members consents to mail", "name another channel")
    return asked if spec.arm is None else _in_arm(asked, spec.arm, arms=arms)


def experiment_of(spec: SlatesForAll) -> Experiment | None:
    """Read the experiment that is asked for, if one is.

    Raises:
        SettingError: the file is not there, or says no experiment.
    """
    return None if spec.arms is None else read_experiment(Path(spec.arms))


def _in_arm(asked: Asked, arm: str, *, arms: Experiment | None) -> Asked:
    """Keep the members of one arm."""
    groups = () if arms is None else arms.groups
    if arms is None or arm not in groups:
        raise SettingError(
            f"arm={arm}: there is no such arm", f"there are: {', '.join(groups) or 'no arms'}"
        )
    own = assign(asked.ids, arms) == groups.index(arm)
    if not own.any():
        raise SettingError(f"arm={arm}: none of the members is in it", "name another arm")
    return asked.where(own)


def job_of(
    spec: SlatesForAll, bundle: Bundle, seat: Seat, *, asked: Asked, arms: Experiment | None
) -> Job:
    """Return what is the same for all shards."""
    facts: dict[str, JSON] = {
        "bundle": bundle.manifest.fingerprint,
        "at": seat.shelf.at,
        "policies": policies_of(bundle, seat),
        "channel": spec.channel,
        "arms": None if arms is None else arms.model_dump(mode="json"),
        "members": None
        if asked.everyone and not asked.unwritten
        else sha256(asked.rows.tobytes()).hexdigest(),
    }
    digest = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return Job(
        bundle=bundle.folder.resolve(),
        fingerprint=bundle.manifest.fingerprint,
        at=seat.shelf.at,
        rerank=seat.rerank,
        send_id=f"{utc_of(seat.shelf.at):%Y-%m-%d_%H%M}_{digest[:8]}",
        channel=spec.channel,
        arms=arms,
        policies=policies_of(bundle, seat),
        kinds=tuple(
            kind for kind in KINDS if kind == "log.parquet" or kind.split(".")[1] in spec.files
        ),
    )


def policies_of(bundle: Bundle, seat: Seat) -> tuple[str, str, str]:
    """Return the ids of the policies that slates are made by, in the order of `Way`."""
    files, rerank = bundle.manifest.files, seat.rerank
    taste = files[BY_TASTE].sha256 if BY_TASTE in files else "none"
    return (
        bundle.named(rerank),
        policy_id(rerank, taste),
        bundle.named(rerank, plain=True),
    )


def plan_of(spec: SlatesForAll, job: Job, asked: Asked) -> ShardPlan:
    """Return the files to be made, and what their bytes depend on beside the way they are made."""
    return ShardPlan(
        kind="slates",
        facts={
            "send": job.send_id,
            "bundle": job.fingerprint,
            "shards": shards_of(spec, asked),
            "most_repaired": spec.most_repaired,
            "recsys": version(),
            "code": git_state(),
            "libraries": versions(),
        },
        shards=tuple(
            name for number in range(shards_of(spec, asked)) for name in job.names(number)
        ),
    )


def shards_of(spec: SlatesForAll, asked: Asked) -> int:
    """Return into how many shards the members are dealt."""
    return max(1, math.ceil(len(asked.rows) / spec.members_per_shard))


def dealt(spec: SlatesForAll, asked: Asked) -> Mapping[int, pl.DataFrame]:
    """Return the members of each shard, by the hash of their ids: columns id, row."""
    shards = shards_of(spec, asked)
    shard = shard_of(asked.ids, shards)
    order = np.argsort(shard, kind="stable")
    ends = np.searchsorted(shard[order], np.arange(shards + 1))
    frame = pl.DataFrame({"id": asked.ids, "row": asked.rows})[order]
    return {number: frame[ends[number] : ends[number + 1]] for number in range(shards)}


def bytes_of(job: Job, members: int) -> int:
    """Return how many bytes the files of some members have, as a rule."""
    return members * job.slots * sum(SLOT_BYTES[kind] for kind in job.kinds)


def deadline(text: str, zone: str, now: datetime) -> datetime:
    """Return the instant by which all must be done; a time of day is the next one in the zone.

    Raises:
        SettingError: it is over.
    """
    if CLOCK.fullmatch(text):
        hour, minute = (int(part) for part in text.split(":"))
        here = now.astimezone(ZoneInfo(zone))
        then = here.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
        if then <= here:
            # a day later on the clock of the wall, be that day 23 or 25 hours long
            then += timedelta(days=1)
        return then.astimezone(UTC)
    then = utc_of(instant(text))
    if then <= now:
        raise SettingError(
            f"finish_by={text} is over: it is {now:%Y-%m-%dT%H:%M} UTC", "name a later instant"
        )
    return then


def _named(file: Path) -> pl.Series:
    """Read the distinct ids of a file's column `member`."""
    if not file.is_file():
        raise SettingError(f"members={file}: no such file", "name a parquet or CSV file")
    try:
        frame: Any = (
            pl.read_parquet(file)
            if file.suffix == ".parquet"
            else pl.read_csv(file, infer_schema=False)
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SettingError(
            f"members={file} cannot be read: {str(error).splitlines()[0][:120]}",
            "it must be parquet, or CSV with a line of names",
        ) from None
    if "member" not in frame.columns:
        raise SettingError(
            f"members={file} has no column `member`", f"it has: {', '.join(frame.columns[:8])}"
        )
    ids: pl.Series = frame["member"].cast(pl.String).drop_nulls().unique(maintain_order=True)
    return ids


def _utc(at: int) -> str:
    return f"{utc_of(at):%Y-%m-%dT%H:%M} UTC"
