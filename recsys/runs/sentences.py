"""What pydantic found wrong in, one sentence a person can act on out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from recsys.domain.spec import Spec, kind_of
from recsys.runs.settings import variants_at, walk

UNREADABLE = {
    "int_parsing": "is no whole number",
    "int_type": "is no whole number",
    "int_from_float": "is no whole number",
    "float_parsing": "is no number",
    "float_type": "is no number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "string_type": "is no text: put it in quotes of its own, key=\"'...'\"",
    "tuple_type": "is no list: write [a,b]",
}
"""Kind of pydantic's error -> what it says of a value."""


def sentences(errors: Sequence[Any], plain: Any, spec: type[Spec]) -> list[str]:
    """Say what is wrong with each value, once: a list is not too short because one of it is bad."""
    places = [error["loc"] for error in errors]

    def follows(error: Any) -> bool:
        loc = error["loc"]
        return error["type"] == "too_short" and any(
            place[: len(loc)] == loc and len(place) > len(loc) for place in places
        )

    return [sentence(error, plain, spec) for error in errors if not follows(error)]


def sentence(error: Any, plain: Any, spec: type[Spec]) -> str:
    """Say what is wrong with one value, where it stands and what it may be."""
    path = dotted(error["loc"], plain)
    value, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return f"no setting called {path!r}{hint(path, spec)}"
        case "missing":
            return f"{path} is needed\n  set it: {path}=..."
        case "less_than_equal" | "less_than":
            return f"{path}={value} is more than {context.get('le', context.get('lt'))}"
        case "greater_than_equal" | "greater_than":
            bound = context.get("ge", context.get("gt"))
            return f"{path}={value} is less than the least allowed, {bound}"
        case "literal_error":
            return f"{path}={value} is not there\n  {path} can be: {plainly(context['expected'])}"
        case "union_tag_invalid":
            possible = plainly(context["expected_tags"])
            return f"{path}.kind={context['tag']} is not there\n  it can be: {possible}"
        case "value_error":
            return f"{path}: {context['error']}" if path else str(context["error"])
        case _:
            return misread(error, path, spec)


def misread(error: Any, path: str, spec: type[Spec]) -> str:
    """Say that a value is not of the kind or form it must have."""
    value, kind = error["input"], error["type"]
    if kind in UNREADABLE:
        return f"{path}={value} {UNREADABLE[kind]}"
    if kind == "string_pattern_mismatch":
        meanings = {setting.path: setting.meaning for setting in walk(spec, {})}
        meant = meanings.get(path, f"it must match {error['ctx']['pattern']}")
        return f"{path}={value} is not written as it must be\n  {meant}"
    if kind == "too_short":
        return f"{path} needs {error['ctx']['min_length']} or more values"
    return f"{path}={value}: {error['msg']}"


def plainly(choices: str) -> str:
    """Turn pydantic's "'a', 'b' or 'c'" into "a, b, c"."""
    return choices.replace(" or ", ", ").replace("'", "")


def hint(path: str, spec: type[Spec]) -> str:
    """Name the kinds that have a setting, or the setting that is spelled alike; may be empty."""
    home, _, last = path.rpartition(".")
    owners = [
        kind_of(variant) for variant in variants_at(spec, home) if last in variant.model_fields
    ]
    if owners:
        kinds = " or ".join(f"{home}.kind={kind}" for kind in owners)
        return f"\n  another kind has it: set {kinds} too"
    close = get_close_matches(path, [setting.path for setting in walk(spec, {})], n=1)
    return f"\n  did you mean:  {close[0]}" if close else ""


def dotted(loc: Sequence[str | int], plain: Any) -> str:
    """Return the path of a value without the kinds that pydantic puts between."""
    parts: list[str] = []
    node = plain
    for part in loc:
        if isinstance(node, Mapping) and part not in node and node.get("kind") == part:
            continue
        parts.append(str(part))
        node = node.get(part) if isinstance(node, Mapping) else None
    return ".".join(parts)
