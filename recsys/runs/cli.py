"""recsys VERB key=value ...: a table of verbs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module

from recsys.domain.errors import SettingError
from recsys.domain.spec import Spec
from recsys.runs import spec as specs
from recsys.runs.asked import Asked
from recsys.runs.console import say
from recsys.runs.guard import guarded
from recsys.runs.log_spec import FindDial, OffPolicy
from recsys.runs.slates_spec import SlatesForAll

VERBS: dict[str, tuple[type[Spec], str, str]] = {
    "train": (specs.Train, "recsys.runs.train:train", "data to judged towers, bundle and report"),
    "serve": (specs.Serving, "recsys.runs.serve:serve", "answer from a bundle over HTTP"),
    "key": (specs.MakeKey, "recsys.runs.key:key", "let a caller ask the service"),
    "recommend": (specs.Recommend, "recsys.runs.recommend:recommend", "one slate with reasons"),
    "export": (specs.Export, "recsys.runs.export:export", "vectors as parquet"),
    "slates": (
        SlatesForAll,
        "recsys.runs.slates:slates",
        "one slate for each member",
    ),
    "refresh": (specs.Refresh, "recsys.runs.refresh:refresh", "today's sales, no training"),
    "check": (specs.Check, "recsys.runs.check:check", "the data contract alone"),
    "init": (specs.Init, "recsys.runs.init:init", "guess how your columns map"),
    "doctor": (specs.Doctor, "recsys.runs.doctor:doctor", "what this machine offers"),
    "pareto": (specs.Pareto, "recsys.runs.pareto:pareto", "what novelty costs, every setting"),
    "dial": (FindDial, "recsys.runs.dial:dial", "where the novelty dial is best, by a log"),
    "offpolicy": (OffPolicy, "recsys.runs.offpolicy:offpolicy", "judge by another's log"),
    "simulate": (specs.Simulate, "recsys.runs.simulate:simulate", "play a policy forward"),
}


def main(words: Sequence[str] | None = None) -> None:
    """Run a verb and end the process with its exit code."""
    sys.exit(guarded(lambda: start(list(sys.argv[1:] if words is None else words))))


def start(words: list[str]) -> None:
    """Find the verb, check its words, then load what it needs.

    Raises:
        SettingError: no such verb, or a setting that is wrong.
    """
    verb = words[0] if words else "--help"
    if verb in {"--help", "-h", "help"}:
        lines = [f"  {name:<11}{text}" for name, (_, _, text) in VERBS.items()]
        say("\n".join(["recsys VERB key=value ...    recsys VERB --help tells more", "", *lines]))
        return
    if verb not in VERBS:
        raise SettingError(f"no verb called {verb!r}", f"there are: {', '.join(VERBS)}")
    spec, home, _ = VERBS[verb]
    from recsys.runs.environment import before_imports
    from recsys.runs.load import launch

    # one query at a time: a second OpenMP thread makes it slower, not faster (PERF 2)
    before_imports(1 if verb in {"serve", "recommend"} else None)
    launch(verb, spec, words[1:], task=partial(run_all, home))


def run_all(home: str, asked: Sequence[Asked[Spec]]) -> None:
    """Run what was asked for; ends the process where it is a sweep of which a run failed."""
    if len(asked) == 1:
        run_task(home, asked[0].spec)
        return
    from recsys.runs.sweep import sweep

    code = sweep(asked, partial(run_task, home))
    if code:
        sys.exit(code)


def run_task(home: str, accepted: Spec, **more: object) -> None:
    """Import a run's function, once its config is accepted, and call it."""
    module, _, function = home.partition(":")
    getattr(import_module(module), function)(accepted, **more)
