"""What a command line asks for: one Spec a run, several in a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from recsys.domain.spec import Spec

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Asked(Generic[S]):
    """One of the runs that a command line asks for."""

    spec: S
    words: tuple[str, ...]
    """The settings that Hydra was given for it."""
