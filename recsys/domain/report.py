"""Figures that cannot stand without their interval and their baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recsys.domain.spec import Spec


class Estimate(Spec):
    """A mean over n requests with its 95 % bootstrap interval by member."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Report:
    """scorer -> slice -> metric -> Estimate. Slice "all" is every request and sale."""

    scorers: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    """"taste" and "slates" are ours; all others are baselines or, on a known world, oracles."""
    headline: str
    """The metric that decides, e.g. day0/ndcg_at_10 (slice/metric)."""
    notes: tuple[str, ...] = ()
    """Facts a reader must know: requests left out, baselines restricted and the like."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time spent judging, and fitting each baseline."""

    def __post_init__(self) -> None:
        """Refuse a report without baselines: a number alone says nothing."""
        missing = {"random", "popular"} - set(self.scorers)
        if missing:
            raise ValueError(f"a report needs its baselines; missing: {sorted(missing)}")

    def get(self, scorer: str, metric: str) -> Estimate:
        """Return one figure; `metric` is slice/metric, as in the headline.

        Raises:
            KeyError: the report holds no such figure.
        """
        where, _, name = metric.rpartition("/")
        return self.scorers[scorer][where or "all"][name]
