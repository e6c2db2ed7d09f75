"""A slate for everybody before noon: streamed by shards, logged, and ready for the mailer."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from recsys.campaign.arms import RatioRefused, sample_ratio
from recsys.campaign.pace import Pace, Way
from recsys.domain import artefact
from recsys.domain.artefact import Facts
from recsys.domain.errors import ArtefactError, NoRoomError
from recsys.domain.ledger import Ledger
from recsys.domain.stop import StopFlag
from recsys.runs import slates_told as said
from recsys.runs.console import Console
from recsys.runs.executor import Executor, Local, run
from recsys.runs.folder import utc_now
from recsys.runs.on_processes import cores
from recsys.runs.progress import Progress
from recsys.runs.serve import opened
from recsys.runs.slates_plan import (
    Asked,
    bytes_of,
    deadline,
    dealt,
    experiment_of,
    job_of,
    members_of,
    plan_of,
    seat_for,
    shards_of,
)
from recsys.runs.slates_repair import Kept, kept
from recsys.runs.slates_sending import Sending
from recsys.runs.slates_shards import Deciding, deal, tell
from recsys.runs.slates_spec import SlatesForAll

Told = Mapping[int, Mapping[str, Any]]
"""What each shard says of itself."""


@dataclass(frozen=True)
class Campaign:
    """A send that is about to be made."""

    spec: SlatesForAll
    sending: Sending
    asked: Asked
    finish_by: datetime | None
    now: Callable[[], float]
    """The clock, in seconds since 1970."""

    @property
    def out(self) -> Path:
        """Where the folder is made."""
        return Path(self.spec.out)

    def done(self, ledger: Ledger) -> dict[int, Mapping[str, Any]]:
        """Return the shards whose files are all there, made in one way."""
        facts, found = ledger.facts(), dict[int, Mapping[str, Any]]()
        for number in range(shards_of(self.spec, self.asked)):
            files = [facts.get(name) for name in self.sending.job.names(number)]
            told = [fact.said for fact in files if fact is not None]
            if len(told) == len(files) and all(one == told[0] for one in told):
                found[number] = told[0]
        return found


def slates(spec: SlatesForAll, *, now: Callable[[], float] = time.time) -> None:
    """Make the slates of the whole audience, their log and the mailer's file, all or nothing.

    A run that was stopped, however, is gone on with by the same command. `now` is the clock.

    Raises:
        ArtefactError: the bundle cannot be used, or another process makes these slates now.
        GateError: promises are missed, and swaps on a few slates do not mend them.
        InterruptedRunError: a signal asked to stop; the shards made stay.
        NoRoomError, DeviceError: the disk does not hold the slates, or refused them.
        SettingError: nothing is on offer then, or a setting asks for what is not there.
        UnknownMemberError: the bundle knows none of the members asked for.
    """
    console, bundle = Console(), opened(spec.bundle, spec.bundles_dir)
    seat = seat_for(spec, bundle)
    arms = experiment_of(spec)
    asked = members_of(spec, seat, arms)
    until = None
    if spec.finish_by is not None:
        until = deadline(spec.finish_by, seat.parts.zone, datetime.fromtimestamp(now(), UTC))
    sending = Sending(seat, job_of(spec, bundle, seat, asked=asked, arms=arms))
    send = Campaign(spec, sending, asked, until, now)
    said.begin(console, sending, members=len(asked.rows))
    said.left_out(console, unknown=asked.unknown, unwritten=asked.unwritten)
    plan = plan_of(spec, sending.job, asked)
    if spec.dry_run:
        there = Ledger.peek(send.out, plan)
        said.dry(console, plan, there=len(there), needed=bytes_of(sending.job, len(asked.rows)))
        return
    with StopFlag().listening() as stop, Ledger.open(send.out, plan) as ledger:
        told = made(console, send, ledger, stop=stop)
        keeping = promises(console, send, ledger, told=told)
        said.arms(console, refused(send, arms_of(told)))
        folder = ledger.finish(
            name=f"{utc_now():%Y-%m-%d_%H%M%S}_slates", **facts_of(send, told, keeping)
        )
    said.end(console, folder, told=told, kinds=sending.job.kinds)


def made(console: Console, send: Campaign, ledger: Ledger, *, stop: StopFlag) -> Told:
    """Make the shards that are not there whole; return what all of them say.

    Raises:
        NoRoomError: the disk does not hold them.
        ArtefactError: an earlier run's worker that outlived it wrote one of them as well.
        InterruptedRunError: a signal asked to stop; the shards made stay.
    """
    told = send.done(ledger)
    there = sum(int(fact["members"]) for fact in told.values())
    has_room(send, len(send.asked.rows) - there)
    if told:
        console.fact("found", f"{len(told):,} shards of an earlier run, whole")
    folder = ledger.folder.resolve()
    for number, frame in dealt(send.spec, send.asked).items():
        deal(folder, number, frame)
    missing = [n for n in range(shards_of(send.spec, send.asked)) if n not in told]
    progress = Progress(console, len(send.asked.rows), "members", before=there, now=send.now)
    pace = pace_of(send, progress.of - there)
    tell(folder, pace.way)
    work = Deciding(folder, send.sending.job)
    for number, fact in run(send.spec.executor, work, missing, stop=stop):
        told[number] = fact
        progress(int(fact["members"]))
        before = pace.way
        if pace.done(int(fact["members"]), Way[fact["way"].upper()]) != before:
            tell(folder, pace.way)
            said.slower(console, pace, until=send.finish_by)
    whole = send.done(ledger)
    if len(whole) < shards_of(send.spec, send.asked):
        raise ArtefactError(
            "a worker of an earlier run wrote a shard meanwhile, in another way",
            "what is whole stands: the same command goes on",
        )
    return whole


def pace_of(send: Campaign, members: int) -> Pace:
    """Watch the clock over so many members."""
    return Pace(
        members=members,
        workers=workers(send.spec.executor),
        finish_by=None if send.finish_by is None else send.finish_by.timestamp(),
        now=send.now,
        ways=send.sending.seat.ways,
    )


def workers(executor: Executor) -> int:
    """Return how many shards are in flight at a time, as far as is known here."""
    asked = executor.processes if isinstance(executor, Local) else executor.tasks
    return asked or cores()


def promises(console: Console, send: Campaign, ledger: Ledger, *, told: Told) -> Kept:
    """See to the promises made about the whole audience; a part of it keeps none.

    Slates that were made in a hurry are not mended: they would be late for it.

    Raises:
        GateError: they are missed, and swaps on a few slates do not mend them.
    """
    if not send.asked.everyone or send.sending.seat.ranker.house.prices is None:
        return Kept()
    hurried = any(fact["way"] != "value" for fact in told.values())
    most = 0.0 if hurried else send.spec.most_repaired
    keeping = kept(send.sending, ledger.folder.resolve(), told, most=most)
    said.kept(console, keeping)
    return keeping


def facts_of(send: Campaign, told: Told, keeping: Kept) -> Facts:
    """Return what the manifest says of the slates."""
    sending, seat = send.sending, send.sending.seat
    by_way = Counter[str]()
    for fact in told.values():
        by_way[fact["way"]] += int(fact["own"])
    members = sum(int(fact["members"]) for fact in told.values())
    arms = arms_of(told)
    seen = np.sum([fact["seen"] for fact in told.values()], axis=0)
    seen = seen + np.array(keeping.moved) if keeping.moved else seen
    return {
        "parents": {"bundle": sending.job.fingerprint},
        "counts": {
            "members": members,
            "by_value": by_way["value"],
            "by_taste": by_way["taste"],
            "plain": members - by_way["value"] - by_way["taste"],
            "plain_for_lack_of_time": sum(int(fact["late"]) for fact in told.values()),
            "withheld_consent": sum(int(fact["withheld"]) for fact in told.values()),
            "unknown": send.asked.unknown,
            "no_consent_to_mail": send.asked.unwritten,
            "repaired": keeping.repaired,
            "shards": len(told),
        },
        "watermark": seat.parts.watermark,
        "decided_at": sending.job.at,
        "spec": send.spec.model_dump(mode="json"),
        "extra": {
            "send_id": sending.job.send_id,
            "zone": seat.parts.zone,
            "policies": dict(zip(("value", "taste", "plain"), sending.job.policies, strict=True)),
            "arms": dict(arms),
            "arms_refused": refused(send, arms),
            "reach": dict(
                zip(seat.sales.gather(seat.shelf.sales).to_list(), seen.tolist(), strict=True)
            ),
            "missed": list(keeping.missed),
            "rerank": sending.job.rerank.model_dump(mode="json"),
        },
    }


def arms_of(told: Told) -> Counter[str]:
    """Count the members of each arm over all shards."""
    counts = Counter[str]()
    for fact in told.values():
        counts.update(fact["arms"])
    return counts


def refused(send: Campaign, members: Mapping[str, int]) -> str | None:
    """Tell why nothing may be read out of the arms; None = they hold the members they should.

    Members who were asked for by name are no test of that.
    """
    arms = send.sending.job.arms
    if arms is None or not send.asked.everyone:
        return None
    found = sample_ratio([members[arm.name] for arm in arms.arms], arms.weights)
    return found.why if isinstance(found, RatioRefused) else None


def has_room(send: Campaign, members: int) -> None:
    """Refuse to begin what the disk does not hold.

    Raises:
        NoRoomError: it has less than 1.1 x what is needed.
    """
    needed = bytes_of(send.sending.job, members)
    free = artefact.DISK.free_bytes(send.out)
    if free < 1.1 * needed:
        raise NoRoomError(
            f"{os.fspath(send.out)} has {free:,} bytes free, the slates need {int(1.1 * needed):,}",
            "free some space, name another folder (out=FOLDER), or leave files out (files=[])",
        )
