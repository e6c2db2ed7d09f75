"""Every setting of a Spec by its dotted path, with its bounds, default and one-line meaning."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from recsys.domain.joined import Joined
from recsys.domain.spec import Spec, kind_of


@dataclass(frozen=True)
class Setting:
    """One line of --help."""

    path: str
    default: str
    meaning: str


def variants(annotation: object) -> tuple[type[Spec], ...]:
    """Return the Spec classes an annotation admits: one, those of a union, or none."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return (annotation,)
    if get_origin(annotation) in {Annotated, Union, types.UnionType}:
        found = (variants(argument) for argument in get_args(annotation))
        return tuple(variant for group in found for variant in group)
    return ()


def variants_at(spec: type[Spec], path: str) -> tuple[type[Spec], ...]:
    """Return the Spec classes that may stand at a dotted path below a Spec."""
    found: tuple[type[Spec], ...] = (spec,)
    for part in path.split(".") if path else ():
        fields = [known.model_fields[part] for known in found if part in known.model_fields]
        found = tuple(variant for field in fields for variant in variants(field.annotation))
    return found


def nested_unions(spec: type[Spec], prefix: str = "", depth: int = 0) -> list[str]:
    """Return the dotted paths of unions below the config groups."""
    found = []
    for name, field in spec.model_fields.items():
        below = variants(field.annotation)
        if depth and len(below) > 1:
            found.append(f"{prefix}{name}")
        for variant in below:
            found += nested_unions(variant, f"{prefix}{name}.", depth + 1)
    return list(dict.fromkeys(found))


def settled(plain: Any, spec: type[Spec]) -> Any:
    """Return composed settings without what a file of defaults left of a kind that is not chosen.

    So an experiment's file may say `loss: {kind: sampled}`: Hydra merges it into the default's.
    """
    plain = deepcopy(plain)
    for path in nested_unions(spec):
        node = plain
        for part in path.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        kind = node.get("kind") if isinstance(node, dict) else None
        below = variants_at(spec, path)
        chosen = next((variant for variant in below if kind_of(variant) == kind), None)
        if chosen is None:
            continue
        others = [pair for other in below for pair in other.model_fields.items()]
        left = {name for name, field in others if name in node and node[name] == field.default}
        for name in left - chosen.model_fields.keys():
            del node[name]
    return plain


def walk(spec: type[Spec], chosen: Mapping[str, str], prefix: str = "") -> Iterator[Setting]:
    """Yield all settings below a Spec, those of a chosen kind only where `chosen` names one.

    `chosen` maps a dotted path to a kind, e.g. {"data": "flash_sales"}; a kind of an installed
    package is imported here if it is chosen, not otherwise.
    """
    for name, field in spec.model_fields.items():
        path = f"{prefix}{name}"
        below = variants(field.annotation)
        wanted = chosen.get(path)
        if wanted not in {kind_of(variant) for variant in below}:
            # where nobody offers it, the Spec refuses it and says what is possible
            joined = joined_at(field)
            if joined and wanted and wanted in joined.names():
                below = (*below, joined.load(wanted))
            else:
                wanted = None
        if not below or is_optional(field.annotation):
            yield Setting(path, default_text(field), meaning(field))
        for variant in below:
            if wanted in {None, kind_of(variant)}:
                yield from walk(variant, chosen, f"{path}.")


def joined_at(field: FieldInfo) -> Joined | None:
    """Return what says that installed packages may join a field's union, or None."""
    return next((mark for mark in field.metadata if isinstance(mark, Joined)), None)


def open_unions(spec: type[Spec], prefix: str = "") -> Iterator[tuple[str, Joined]]:
    """Yield the dotted paths of unions below a Spec that installed packages may join, once."""
    found: dict[str, Joined] = {}
    for name, field in spec.model_fields.items():
        joined = joined_at(field)
        if joined:
            found[f"{prefix}{name}"] = joined
        for variant in variants(field.annotation):
            found |= dict(open_unions(variant, f"{prefix}{name}."))
    yield from found.items()


def is_optional(annotation: object) -> bool:
    """Tell whether None is a value of the annotation."""
    return type(None) in get_args(annotation)


def takes_any_key(spec: type[Spec], path: str) -> bool:
    """Tell whether a path lies inside a mapping with free keys, such as column names."""
    head, _, rest = path.partition(".")
    field = spec.model_fields.get(head)
    if field is None or not rest:
        return False
    if holds_mapping(field.annotation):
        return True
    return any(takes_any_key(variant, rest) for variant in variants(field.annotation))


def holds_mapping(annotation: object) -> bool:
    """Tell whether an annotation is a dict or Mapping, bare or inside a union."""
    origin = get_origin(annotation)
    if origin in {Annotated, Union, types.UnionType}:
        return any(holds_mapping(argument) for argument in get_args(annotation))
    return isinstance(origin, type) and issubclass(origin, Mapping)


def default_text(field: FieldInfo) -> str:
    """Write a field's default as it would be typed on the command line."""
    if field.is_required():
        return "(needed)"
    value: Any = field.get_default(call_default_factory=True)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{','.join(str(v) for v in value)}]"
    return str(value)


def meaning(field: FieldInfo) -> str:
    """Return a field's documentation in one line, with its choices where it has a few."""
    text = " ".join((field.description or "").split())
    if get_origin(field.annotation) is Literal and "one of" not in text.lower():
        choices = " | ".join(str(choice) for choice in get_args(field.annotation))
        return f"{choices}. {text}" if text else choices
    return text
