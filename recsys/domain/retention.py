"""Which of the artefacts below a root stay: the new ones, the one in use, and their parents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from recsys.domain.manifest import Manifest

YOUNG = timedelta(hours=1)
"""What is younger stays: somebody may be opening it."""


def kept(
    known: Mapping[str, Manifest], newest: int, *, in_use: str | None, now: datetime
) -> set[str]:
    """Return the names that stay: the newest, the one in use, the young, the parents of all these.

    `known` is name -> manifest of all that is published.
    """
    by_age = sorted(known, key=lambda name: known[name].made_at, reverse=True)
    stay = set(by_age[:newest]) | (known.keys() & {in_use})
    stay |= {n for n, m in known.items() if now - datetime.fromisoformat(m.made_at) < YOUNG}
    while parents := {
        name
        for name, manifest in known.items()
        if name not in stay
        and any(manifest.fingerprint in known[child].parents.values() for child in stay)
    }:
        stay |= parents
    return stay
