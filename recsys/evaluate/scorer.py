"""What is judged: a function from requests to one score per sale of their shelf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recsys.domain.arrays import F32
from recsys.domain.requests import Requests

Scorer = Callable[[Requests, slice], F32]
"""Rows of requests inside one group -> F32[n, s] over that group's shelf; higher = better."""


@dataclass(frozen=True)
class Baseline:
    """A scorer that our models are measured against."""

    scorer: Scorer
    seconds: float
    """What fitting it took."""


OURS = frozenset({"taste", "taste_alone", "slates"})
"""Names of what is ours in a report; taste_alone = the towers without spectral coordinates."""
ORACLES = frozenset({"visible_oracle", "oracle"})
"""Names of what knows the truth of a simulated world; all other names are baselines."""
