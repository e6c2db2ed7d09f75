"""What pydantic found wrong in, one sentence a person can act on out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from recsys.domain.spec import Spec
from recsys.runs.settings import kind_of, variants_at, walk


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
            return f"{path or 'config'}: {context['error']}"
        case _:
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
