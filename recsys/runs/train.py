"""The river: prepare, split, fit, embed, index, rank, judge, publish."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from recsys.domain.errors import InterruptedRunError
from recsys.domain.report import Report
from recsys.domain.stop import StopFlag
from recsys.evaluate import report as page
from recsys.evaluate import tradeoff
from recsys.evaluate.gate import met
from recsys.runs import facts, tell
from recsys.runs.folder import RunFolder, comparable, find
from recsys.runs.journey import Journey, embark
from recsys.runs.judge import judge
from recsys.runs.learn import Learned, job_of, learn, pose
from recsys.runs.load import from_plain
from recsys.runs.plan import plan
from recsys.runs.prepare import Prepared, prepare
from recsys.runs.publish import publish
from recsys.runs.spec import Train
from recsys.towers import warm
from recsys.towers.device import resolve
from recsys.towers.job import EpochRow
from recsys.towers.memory import need


def train(spec: Train, *, on_start: Callable[[RunFolder], object] | None = None) -> None:
    """Run the whole journey of one Spec and leave a judged bundle and its report.

    `on_start` hears of the run's folder as soon as it is there.

    Raises:
        DeviceError: the device asked for is not on this machine; nothing is made.
        DataRefusedError: the input breaks the data contract beyond its limits.
        InterruptedRunError: a signal asked to stop; what was learned is saved.
        GateError: the result is below `evaluate.require`; the report is written, no bundle.
    """
    spec = settled(spec)
    if spec.dry_run:
        plan(spec)
        return
    with StopFlag().listening() as stop, embark(spec) as run:
        if on_start is not None:
            on_start(run.folder)
        prepared = prepare(spec.data, folder=run.path)
        learned, curve = learned_from(prepared, spec, run, stop=stop)
        pause = partial(unless_stopped, stop)
        judged = judge(learned, spec, run.folder, curve=curve.rows, pause=pause)
        page.write(judged, run.path)
        told(run, judged.report, learned)
        met(judged.report, spec.evaluate.require)
        bundle = publish(learned.model, spec, dial=tradeoff.kept(run.path))
        last_lines(run, bundle, member=somebody(learned))


def unless_stopped(stop: StopFlag) -> None:
    """Go on, unless a signal has asked the run to stop.

    Raises:
        InterruptedRunError: it has; what was learned is saved.
    """
    if stop.raised:
        raise InterruptedRunError("interrupted; the towers are saved", signal_code=stop.exit_code)


def settled(spec: Train) -> Train:
    """Return the settings to run with: `resume=FOLDER` alone means those of that run.

    Raises:
        MissingArtefactError: `resume` names no run.
    """
    if spec.resume in {None, "auto"}:
        return spec
    plain = spec.model_dump(mode="json")
    if comparable(plain) != comparable(Train().model_dump(mode="json")):
        return spec
    then = find(str(spec.resume), Path(spec.runs_dir)).config()
    kept = plain | comparable(then)
    machine = (plain if spec.trainer.logger != "none" else then)["trainer"]
    logger = {name: machine[name] for name in ("logger", "tracking") if name in machine}
    return from_plain(kept | {"trainer": kept["trainer"] | logger}, Train)


def learned_from(
    prepared: Prepared, spec: Train, run: Journey, *, stop: StopFlag
) -> tuple[Learned, tell.Curve]:
    """Pose the task and learn it, an epoch a line; return what was learned and the lines.

    Raises:
        NoRoomError: the device does not hold what training needs.
    """
    run.on_data(prepared.dataset.fingerprint)
    tell.data(run.console, prepared)
    run.folder.record(data=facts.of_data(prepared))
    task = pose(prepared, spec, run.path)
    tell.task(run.console, task)
    run.folder.record(task=facts.of_task(task))
    held = need(warm.settled(job_of(task, spec, run.path)), resolve(spec.trainer))
    run.console.fact("memory", *held.lines)
    run.folder.record(memory={"room": held.room, "parts": held.parts})
    held.fits()
    curve = tell.Curve(run.console, run.path / "metrics.csv")

    def on_epoch(row: EpochRow) -> None:
        curve(row)
        before = run.folder.facts().get("epochs", {})
        run.folder.record(epochs={**before, str(row.epoch): facts.of_epoch(row)})
        if row.best:
            run.folder.record(validation=facts.of_validation(row, task.dataset.task))

    learned = learn(task, spec, run.path, stop=stop, on_epoch=on_epoch, tell=run.note)
    kept = learned.checkpoint.relative_to(run.path / "checkpoints").as_posix()
    run.folder.record(checkpoint=kept, encoders=task.encoders.name)
    return learned, curve


def told(run: Journey, report: Report, learned: Learned) -> None:
    """Print the table of the test and where the report lies, also where no bundle will follow."""
    tell.results(run.console, report, learned)
    page = f"{run.folder.shown}/report.html"
    run.folder.record(test=facts.of_results(report, learned), report=page)
    run.console.line()
    run.console.line(f"  report   {page}")


def last_lines(run: Journey, bundle: Path, *, member: str) -> None:
    """Say what was made and what to type next; `member` is one to try."""
    run.folder.record(bundle=bundle.name)
    console = run.console
    console.line(f"  bundle   {os.path.relpath(bundle)}         now CURRENT")
    console.line("next")
    console.line(f"  {f'recsys recommend member={shlex.quote(member)}':<38}one member, here")
    console.line("  python serve_index.py                 what members get and why, in a browser")
    console.line("  recsys init path=mydata/              your own parquet or CSV")
    if run.console.quiet:
        run.console.result(run.folder.shown)


def somebody(learned: Learned) -> str:
    """Return the id of a member worth a look: of those who consent, the one with the most past."""
    dataset = learned.task.dataset
    consents = dataset.members["consent_personalise"].to_numpy()
    past = np.where(consents, np.diff(dataset.history.member_ptr), -1)
    return str(dataset.members["member"][int(past.argmax())])
