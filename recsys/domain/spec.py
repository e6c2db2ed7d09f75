"""The base of every setting: frozen, closed, documented where it is declared."""

from __future__ import annotations

from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
"""A count for which zero means "off"."""


class Spec(BaseModel):
    """A set of settings that cannot change, refuses unknown names and knows its field docs."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


def kind_of(variant: type[Spec]) -> str | None:
    """Return the `kind` that selects a variant of a union, or None for a plain Spec."""
    field = variant.model_fields.get("kind")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    return str(get_args(field.annotation)[0])
