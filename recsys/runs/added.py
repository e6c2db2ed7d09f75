"""Options that installed packages add to config groups, without a file: a class's defaults."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from recsys.domain.spec import Spec, kind_of
from recsys.runs.settings import joined_at, variants

FILLED = {"rerank": "diversity"}
"""Config groups where each kind that packages offer for a field is an option: the group's default
with that field replaced. So `rerank=NAME` is a blend whose variety is what NAME says it is."""


def added(spec: type[Spec], group: str, *, besides: Collection[str]) -> dict[str, str]:
    """Return option -> dotted path of the field it fills, `besides` those with a file.

    Nothing is imported.
    """
    if group not in FILLED or group not in spec.model_fields:
        return {}
    field = type(default_of(spec, group)).model_fields[FILLED[group]]
    joined, ours = joined_at(field), {kind_of(one) for one in variants(field.annotation)}
    names = [kind for kind in joined.names() if kind not in {*ours, *besides}] if joined else []
    return dict.fromkeys(names, f"{group}.{FILLED[group]}")


def body(spec: type[Spec], group: str, option: str) -> dict[str, Any]:
    """Return what an option file would hold, plain; this imports the package's code.

    Raises:
        SettingError: the package is broken.
    """
    default = default_of(spec, group)
    filled = default.model_dump() | {FILLED[group]: {"kind": option}}
    return type(default).model_validate(filled).model_dump(mode="json")


def kind_added_to(spec: type[Spec], group: str) -> str | None:
    """Return the kind of a group's default, into which packages' options are put."""
    return kind_of(type(default_of(spec, group))) if group in FILLED else None


def default_of(spec: type[Spec], group: str) -> Spec:
    """Return the Spec that a group holds where nothing is chosen."""
    default: Spec = spec.model_fields[group].default
    return default
