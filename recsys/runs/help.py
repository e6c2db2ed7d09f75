"""--help: examples first, then the groups with their options, then every setting in one line."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from recsys.runs.command import HELP_FLAGS, Vocabulary, chosen_kinds
from recsys.runs.console import WIDTH
from recsys.runs.settings import Setting, open_unions, walk

EXAMPLES = {
    "train": (
        "python train.py                              the built-in shop, two minutes",
        "python train.py data=complete_journey        a public set of real purchases",
        "python train.py data=mydata towers.dim=128   your tables, see recsys init",
        "python train.py -m towers.dim=32,64 seed=1,2 four runs, a table, the best",
        "python train.py -m 'seed=range(1,6)'         five runs; the same with ranges",
        "python train.py trainer.logger=tensorboard   curves; csv and mlflow do too",
        "python train.py resume=auto                  go on where a run was stopped",
    ),
    "serve": ("python serve_index.py                        serve the newest bundle",),
    "key": (
        "recsys key name=mailer scopes=[recommend]    printed once, kept as a hash",
        "recsys key name=mailer revoke=true           end all keys of that name",
    ),
    "recommend": ("recsys recommend member=m000042              one slate with reasons",),
    "export": ("recsys export what=[members,sales]           vectors as parquet",),
    "slates": (
        "recsys slates                                one for everybody, ready to mail",
        "recsys slates finish_by=11:58                in time, if need be a cheaper way",
        "recsys slates members=who.csv slots=8        for those named in a file",
    ),
    "refresh": ("recsys refresh                               today's sales, no training",),
    "check": ("recsys check data=mydata                     the data contract alone",),
    "init": ("recsys init path=mydata/                     guess the column mapping",),
    "doctor": ("recsys doctor                                what this machine offers",),
    "pareto": ("recsys pareto run=latest                     what novelty costs, every setting",),
    "dial": (
        "recsys dial root=LOG outcomes=outcomes.csv   who wants how much that is new",
        "recsys dial reward=earned discovery=0.5      new brands count half as much again",
    ),
    "offpolicy": (
        "recsys offpolicy data.root=PATH              a public log, judged by snips",
        "recsys offpolicy data=slate_log              your own log (docs/off-policy.md)",
        "recsys offpolicy method=dr_os method.shrink=50",
    ),
    "simulate": (
        "recsys simulate policy=popular days=14       play a policy forward",
        "recsys simulate out=big data.size=large      write its past down",
    ),
}


def help_text(vocabulary: Vocabulary, words: Sequence[str]) -> str:
    """Write the help of a verb, for the options chosen by the other words on the line."""
    chosen = chosen_kinds([word for word in words if word not in HELP_FLAGS], vocabulary)
    plan = "; add dry_run=true to see the plan" * ("dry_run" in vocabulary.spec.model_fields)
    lines = [
        f"recsys {vocabulary.verb} key=value ...      no dashes{plan}",
        "",
        *EXAMPLES.get(vocabulary.verb, ()),
    ]
    for group, options in vocabulary.groups.items():
        now = vocabulary.choices.get(group) or "none"
        names = "  ".join(option for option in options)
        lines += ["", f"{group}=...   now {now}", *wrapped(names, "  ")]
    lines += [*from_packages(vocabulary), "", "settings (path, default, meaning)"]
    for setting in walk(vocabulary.spec, chosen):
        lines += setting_lines(setting)
    return "\n".join(lines) + "\n"


def from_packages(vocabulary: Vocabulary) -> list[str]:
    """Name what installed packages add, and the packages; none of their code is imported."""
    found = [
        line
        for path, joined in open_unions(vocabulary.spec)
        for kind, package in joined.names().items()
        for line in wrapped(f"{path}.kind={kind}   {package}", "  ")
    ]
    return ["", "from installed packages (docs/extending.md)", *found] if found else []


def setting_lines(setting: Setting) -> list[str]:
    """Write one setting: its assignment, then its meaning, in at most 80 columns."""
    line = f"  {setting.path}={setting.default}"
    shown = line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
    return [shown, *wrapped(setting.meaning, "      ")]


def wrapped(text: str, indent: str) -> list[str]:
    """Wrap a text to 80 columns below an indent."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
