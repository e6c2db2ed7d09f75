"""What installed packages add to a union of settings, through Python entry points (RULINGS 16)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from recsys.domain.errors import SettingError
from recsys.domain.spec import Spec, kind_of

T = TypeVar("T")


@dataclass(frozen=True)
class Joined:
    """Marks a union, told apart by `kind`, that installed packages may join.

    Who is there is read from the packages' metadata; a package's code is imported when its kind is
    chosen, and not before. A config names a kind, never code.
    """

    group: str
    """Of entry points: name = kind, object = a Spec."""
    needs: tuple[str, ...]
    """What the Spec must have beside its settings."""

    def names(self) -> dict[str, str]:
        """Return kind -> the packages that offer it, with versions; nothing is imported."""
        found: dict[str, str] = {}
        for entry in sorted(metadata.entry_points(group=self.group), key=package_of):
            others = f"{found[entry.name]}, " if entry.name in found else ""
            found[entry.name] = f"{others}{package_of(entry)}"
        return dict(sorted(found.items()))

    def is_there(self, kind: str) -> bool:
        """Tell whether the outermost module of an offered kind is found; it is not imported."""
        first, *_ = metadata.entry_points(group=self.group, name=kind)
        outermost = first.value.partition(":")[0].partition(".")[0]
        return bool(outermost) and find_spec(outermost) is not None

    def load(self, kind: str) -> type[Spec]:
        """Import the Spec of a kind that an installed package offers.

        Raises:
            SettingError: several packages offer it, or it is broken.
        """
        first, *others = metadata.entry_points(group=self.group, name=kind)
        if others:
            raise SettingError(
                f"several packages offer {kind!r}: {self.names()[kind]}",
                "keep one of them: pip uninstall removes the other",
            )
        try:
            found = first.load()
            fault = self.fault(found, kind)
        except Exception as broken:  # ruff: ignore[blind-except]  # someone else's module may raise anything
            fault = f"{type(broken).__name__}: {broken}".partition("\n")[0]
        if fault:
            raise SettingError(
                f"{kind!r} of the package {package_of(first)} cannot be used: {fault}",
                f"it is {first.value}, entry point of {self.group}",
                "mend or update the package, or choose another kind",
            )
        spec: type[Spec] = found
        return spec

    def fault(self, found: object, kind: str) -> str:
        """Say what keeps an object from joining; empty if nothing does."""
        if not (isinstance(found, type) and issubclass(found, Spec)):
            return "it is no subclass of recsys.domain.spec.Spec"
        if kind_of(found) != kind:
            return f"it needs the field  kind: Literal[{kind!r}] = {kind!r}"
        if not (found.model_config.get("frozen") and found.model_config.get("extra") == "forbid"):
            return "its model_config undoes what Spec sets: frozen, extra='forbid'"
        try:
            made = found()
        except ValidationError as refused:
            first = refused.errors()[0]
            return f"its defaults are refused: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        lacking = [name for name in self.needs if not hasattr(made, name)]
        return f"it lacks {', '.join(lacking)}" if lacking else ""

    def __get_pydantic_core_schema__(  # ruff: ignore[bad-dunder-method-name]  # pydantic's
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Send kinds that are not ours to the package that offers them."""
        ours = [kind_of(variant) for variant in get_args(source)]

        def check(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
            given = value.get("kind") if isinstance(value, Mapping) else value
            kind = getattr(given, "kind", given)
            if kind in ours or not isinstance(kind, str):
                return inner(value)
            offered = self.names()
            if kind not in offered:
                possible = ", ".join(repr(name) for name in (*ours, *offered))
                raise PydanticKnownError(
                    "union_tag_invalid",
                    {"discriminator": "'kind'", "tag": kind, "expected_tags": possible},
                )
            return self.load(kind).model_validate(value)

        return core_schema.no_info_wrap_validator_function(
            check,
            handler(source),
            # by the value's own class, which the union does not name
            serialization=core_schema.simple_ser_schema("any"),
        )


def silent(made: object) -> str:
    """Say which settings lack a meaning, or that plain data do not make it again; may be empty."""
    if not isinstance(made, Spec):
        return "it is a Spec"
    fields = type(made).model_fields.items()
    bare = [name for name, field in fields if name != "kind" and not field.description]
    if bare:
        return f"each setting has a line of text below it, found none: {', '.join(bare)}"
    again = type(made).model_validate(made.model_dump(mode="json"))
    return "" if again == made else "plain data make the same again"


def package_of(entry: metadata.EntryPoint) -> str:
    """Return the name and version of the package that has an entry point."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "(unknown)"


def first_broken(laws: Sequence[Callable[[T], None]], one: T) -> str:
    """Return the first law that what a package adds breaks and what was found, or an empty text."""
    for law in laws:
        try:
            law(one)
        except Exception as found:  # ruff: ignore[blind-except]  # someone else's code may raise anything
            said = "" if isinstance(found, AssertionError) else f"{type(found).__name__}: "
            return f"{law.__name__}: {said}{found}".partition("\n")[0]
    return ""
