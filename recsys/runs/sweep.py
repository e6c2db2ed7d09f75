"""Several runs of one command, one after another: a table at the end, and the best of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from recsys.domain.artefact import point
from recsys.domain.errors import MissingArtefactError
from recsys.domain.spec import Spec
from recsys.runs.asked import Asked
from recsys.runs.console import Console
from recsys.runs.folder import RunFolder, command_line, finished
from recsys.runs.guard import guarded
from recsys.runs.spec import Train

STOPPED = {130, 143}
"""Exit codes of a run that was told to stop: the sweep stops with it."""


@dataclass(frozen=True)
class Outcome:
    """How one run of a sweep ended."""

    spec: Spec
    changed: dict[str, str]
    """The settings in which the runs of the sweep differ, as they were typed."""
    code: int
    folder: RunFolder | None
    """None where it ended before it had one."""

    @property
    def validation(self) -> dict[str, Any] | None:
        """The figure that chose the epoch: metric, value, epoch; None where no epoch ended."""
        return None if self.folder is None else self.folder.facts().get("validation")

    @property
    def value(self) -> float:
        """That figure of a run that is whole; below all others where there is none."""
        return self.validation["value"] if self.validation and not self.code else float("-inf")

    @property
    def cells(self) -> list[str]:
        """The run's line of the table."""
        found = self.validation
        figure = f"{found['value']:.4f}" if found else "-"
        ended = "done" if not self.code else "stopped" if self.code in STOPPED else "failed"
        name = "-" if self.folder is None else self.folder.path.name
        return [name, *self.changed.values(), figure, str(found["epoch"] if found else "-"), ended]


def sweep(asked: Sequence[Asked[Spec]], task: Callable[..., None]) -> int:
    """Run one after another; return 0, or the exit code of the first that failed or was stopped.

    One that fails does not keep the others from running; a stop signal ends them all. Runs of
    training end in a table, and the bundle of the best becomes CURRENT.
    """
    common = set.intersection(*(set(one.words) for one in asked))
    outcomes: list[Outcome] = []
    for one in asked:
        changed = dict(word.lstrip("+~").split("=", 1) for word in one.words if word not in common)
        outcomes.append(_run(one.spec, changed, task))
        _lead(outcomes)
        if outcomes[-1].code in STOPPED:
            break
    if isinstance(asked[0].spec, Train) and not asked[0].spec.dry_run:
        _tell(outcomes, left=len(asked) - len(outcomes))
    return next((outcome.code for outcome in outcomes if outcome.code), 0)


def _run(spec: Spec, changed: dict[str, str], task: Callable[..., None]) -> Outcome:
    """Run one, or take it as it is where `resume=auto` finds it done."""
    if not isinstance(spec, Train) or spec.dry_run:
        return Outcome(spec, changed, guarded(partial(task, spec)), None)
    done = finished(spec, Path(spec.runs_dir)) if spec.resume == "auto" else None
    if done is not None:
        return Outcome(spec, changed, 0, done)
    started: list[RunFolder] = []
    code = guarded(partial(task, spec, on_start=started.append))
    for folder in started:
        folder.record(swept=changed)
    return Outcome(spec, changed, code, started[0] if started else None)


def best_of(outcomes: Sequence[Outcome]) -> tuple[Outcome, int] | None:
    """Return the best run on validation and the number of seeds that its settings were run with.

    Settings are compared by their mean over seeds. None where all figures are one and the same:
    nothing was changed that the towers learn from.
    """
    whole = [outcome for outcome in outcomes if outcome.validation and not outcome.code]
    if not whole or (len(whole) > 1 and len({outcome.value for outcome in whole}) == 1):
        return None
    same: dict[tuple[tuple[str, str], ...], list[Outcome]] = {}
    for outcome in whole:
        settings = tuple(item for item in outcome.changed.items() if item[0] != "seed")
        same.setdefault(settings, []).append(outcome)
    best = max(same.values(), key=lambda runs: fmean(run.value for run in runs))
    return max(best, key=lambda run: run.value), len(best)


def _lead(outcomes: Sequence[Outcome]) -> None:
    """Let CURRENT name the bundle of the best so far, which keeps it from being cleared away."""
    best = best_of(outcomes)
    if best is None or best[0].folder is None or not isinstance(best[0].spec, Train):
        return
    root, name = Path(best[0].spec.bundles_dir), str(best[0].folder.facts().get("bundle", ""))
    if name:
        # one that a later run had cleared away leaves CURRENT as it is
        with suppress(MissingArtefactError):
            point(root, name)


def _tell(outcomes: Sequence[Outcome], *, left: int) -> None:
    """Print a line for each run, then the best, then how to go on where runs are left."""
    console = Console()
    metrics = {outcome.validation["metric"] for outcome in outcomes if outcome.validation}
    metric = metrics.pop() if len(metrics) == 1 else "validation"
    console.line()
    console.line(f" sweep: {len(outcomes)} of {len(outcomes) + left} runs, compared on validation")
    head = ["run", *short(list(outcomes[0].changed)), metric, "epoch", "ended"]
    console.table([head, *(outcome.cells for outcome in outcomes)])
    console.line()
    _tell_best(console, best_of(outcomes), metric)
    if left or outcomes[-1].code in STOPPED:
        command = command_line()
        console.fact("go on", command if "resume=" in command else f"{command} resume=auto")


def _tell_best(console: Console, best: tuple[Outcome, int] | None, metric: str) -> None:
    """Say which settings are best, where the run's test stands and what CURRENT names."""
    if best is None or best[0].folder is None:
        console.fact("best", "none: these settings change nothing that validation judges")
        return
    run, seeds = best
    same = {key: value for key, value in run.changed.items() if seeds == 1 or key != "seed"}
    settings = " ".join(f"{key}={value}" for key, value in same.items())
    by = f"by the mean of {seeds} seeds" if seeds > 1 else f"{metric} {run.value:.4f}"
    console.fact("best", f"{settings or 'the one run'}   {by}")
    console.fact("", f"{best[0].folder.shown}/report.html")
    console.fact("", "its test stands there; its bundle is CURRENT")


def short(keys: Sequence[str]) -> list[str]:
    """Return the last parts of dotted names, whole names where two end alike."""
    ends = [key.rpartition(".")[2] for key in keys]
    return [end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)]
