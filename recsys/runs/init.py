"""A folder of tables in, configs/data/NAME.yaml and the contract's verdict on it out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from recsys.data.guess import Guess, guess, to_yaml
from recsys.domain.errors import DataRefusedError, SettingError
from recsys.runs.check import check
from recsys.runs.console import Console
from recsys.runs.load import CONFIGS, options_of
from recsys.runs.spec import Check, Init

HOME = Path("configs", "data")
CHANGE = "CHANGE THIS"
"""Begins the reason for a line that only a person can get right."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What `data=NAME` can call: no dots, no slashes."""


def init(spec: Init) -> None:
    """Propose a mapping, write it with its reasons, hold the data to it, say what to type next.

    The file stays when the data are refused: it is what has to be corrected.

    Raises:
        SettingError: no such folder, or a config of that name is there and `force` is off.
        DataRefusedError: no table looks like events, or too many rows break the contract.
    """
    folder, name = Path(spec.path), name_of(spec)
    file = HOME / f"{name}.yaml"
    if file.exists() and not spec.force:
        raise SettingError(
            f"{file} is there",
            "replace it: force=true        or write another: name=NAME",
        )
    found = in_zone(guess(folder), spec.zone)
    write(file, to_yaml(found, name))
    console = Console()
    console.fact("wrote", f"{file}    (each line says why: correct it)")
    guessed(console, found)
    try:
        check(Check(data=found.source.model_copy(update={"name": name})))
    except DataRefusedError as refused:
        raise DataRefusedError(
            *str(refused).split("\n  "), f"correct {file}, then: recsys check data={name}"
        ) from refused
    console.line("next")
    console.line(f"  {f'recsys check data={name}':<38}the data contract alone")
    console.line(f"  {f'python train.py data={name}':<38}towers, slates, report, bundle")


def guessed(console: Console, found: Guess) -> None:
    """Say which column was taken for what, what was left out, and what a person must look at."""
    source = found.source
    for table, one in (
        ("events", source.events),
        ("sales", source.sales),
        ("members", source.members),
    ):
        if one is None:
            console.fact(table, "made of what the events name")
            continue
        console.fact(
            table, one.path, ", ".join(f"{our} = {their}" for our, their in one.columns.items())
        )
    if source.events.kinds:
        console.fact("kinds", ", ".join(f"{w} = {kind}" for w, kind in source.events.kinds.items()))
    for note in found.notes:
        console.fact("note", note)
    for setting, reason in found.why.items():
        if reason.startswith(CHANGE):
            console.fact("CHANGE", f"{setting}{reason.removeprefix(CHANGE)}")


def name_of(spec: Init) -> str:
    """Return the name of the config: the one asked for, or the folder's.

    Raises:
        SettingError: no folder is named, or the name cannot be one of a config of a person's own.
    """
    if not spec.path:
        raise SettingError("no folder named", "write: recsys init path=mydata/")
    folder = Path(spec.path)
    if not folder.is_dir():
        raise SettingError(f"path={spec.path} is no folder", "name the one that holds the tables")
    name = spec.name or re.sub(r"[^A-Za-z0-9_-]+", "_", folder.resolve().name).strip("_-")
    if NAME.fullmatch(name) is None:
        raise SettingError(
            f"{name!r} cannot name a config", "letters, digits, _ and - can: name=NAME"
        )
    built_in = options_of("data", [CONFIGS])
    own = built_in.get(name, {}).get("kind") == "tables"
    yours = own and CONFIGS.resolve() == Path("configs").resolve()
    if name in built_in and (name == "tables" or not yours):
        raise SettingError(f"data={name} is a source that is built in", "choose another: name=NAME")
    return name


def in_zone(found: Guess, zone: str) -> Guess:
    """Put the time zone that was named into a guess, which cannot see it in the data."""
    if zone == "UTC":
        return found
    return replace(
        found,
        source=found.source.model_copy(update={"zone": zone}),
        why={**found.why, "zone": "as named to recsys init"},
    )


def write(file: Path, text: str) -> None:
    """Write a config whole: a reader never sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)
