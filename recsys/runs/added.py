"""Options that installed packages add to config groups, without a file: a class's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.domain.spec import Spec, kind_of
from recsys.runs.command import Vocabulary
from recsys.runs.settings import joined_at, variants

FILLED = {"rerank": "diversity"}
"""Config groups where each kind that packages offer for a field is an option: the group's default
with that field replaced. So `rerank=NAME` is a blend whose variety is what NAME says it is."""
Files = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""group -> option -> what its file holds."""


def with_added(
    verb: str, spec: type[Spec], choices: Mapping[str, str | None], *, files: Files
) -> Vocabulary:
    """Return what a verb's files offer and what installed packages add; nothing is imported."""
    groups: dict[str, dict[str, str | None]] = {
        group: {name: held.get("kind") for name, held in options.items()}
        for group, options in files.items()
    }
    added: dict[str, list[str]] = {}
    inside: dict[tuple[str, str], tuple[str, str]] = {}
    for group in FILLED.keys() & groups.keys():
        path, offered = f"{group}.{FILLED[group]}", offered_in(spec, group)
        added[group] = [kind for kind in offered if kind not in files[group]]
        inside |= {(group, kind): (path, kind) for kind in added[group]}
        for name, held in files[group].items():
            # a file of one's own may hold a kind of a package too
            inner = held.get(FILLED[group])
            kind = inner.get("kind") if isinstance(inner, Mapping) else None
            if kind in offered:
                inside[group, name] = (path, kind)
        groups[group] |= dict.fromkeys(added[group], kind_of(type(default_of(spec, group))))
    implied = {
        (group, name): found
        for group, options in files.items()
        for name, held in options.items()
        if (found := overridden(held))
    }
    return Vocabulary(verb, spec, groups, choices, added=added, inside=inside, implied=implied)


def overridden(held: Mapping[str, Any]) -> dict[str, str]:
    """Return group -> option that a file chooses: `defaults: [override /data: globo]`."""
    entries = [entry for entry in held.get("defaults", []) if isinstance(entry, dict)]
    return {
        key.removeprefix("override /"): option
        for entry in entries
        for key, option in entry.items()
        if key.startswith("override /")
    }


def offered_in(spec: type[Spec], group: str) -> list[str]:
    """Return the kinds that packages offer for the field of a group that an option fills."""
    field = type(default_of(spec, group)).model_fields[FILLED[group]]
    joined, ours = joined_at(field), {kind_of(one) for one in variants(field.annotation)}
    return [kind for kind in joined.names() if kind not in ours] if joined else []


def body(spec: type[Spec], group: str, option: str) -> dict[str, Any]:
    """Return what an option file would hold, plain; this imports the package's code.

    Raises:
        SettingError: the package is broken.
    """
    default = default_of(spec, group)
    filled = default.model_dump() | {FILLED[group]: {"kind": option}}
    return type(default).model_validate(filled).model_dump(mode="json")


def default_of(spec: type[Spec], group: str) -> Spec:
    """Return the Spec that a group holds where nothing is chosen."""
    default: Spec = spec.model_fields[group].default
    return default
