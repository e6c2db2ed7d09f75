"""Settings that every source of data shares: the contract's limits, the task, the split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.domain.spec import Count, CountOrNone, NonNegative, Positive, Share, Spec

Cadence = Literal["noon", "hourly", "engagement", "member", "shown", "set"]


class Source(Spec):
    """What the data contract and the requests need to know of any source."""

    max_quarantined_share: Share = 0.01
    """Share of a table's rows that may be set aside before the run stops (exit code 3)."""
    max_unknown_share: Share = 0.05
    """Share of values of a column that training never saw before a warning is printed."""
    late_hours: Positive = 48.0
    """Events that arrive later than this after they happened are flagged as late."""
    preview_hours: NonNegative = 0.0
    """Views, carts and purchases up to this long before their sale opens are kept."""
    grace_hours: NonNegative = 1.0
    """Purchases up to this long after their sale closed are kept."""
    sensitive: tuple[str, ...] = ()
    """Sensitive columns that may be used all the same, by name."""
    cadence: Cadence = "noon"
    """When requests are made: each local noon, each local hour, at each engagement (training; one
    cutoff per block for judging), at each member's own quantiles of time, whenever something was
    shown (the shelf is then what was shown), or once a member where a past is a `set` without
    order, a share of which each step of training hides and asks for."""
    hidden_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Share of a past that a step of training hides and asks for, for cadence=set."""
    outcome_hours: Positive = 72.0
    """How long after a request its outcomes count; requests that are not settled stay out."""
    validation_days: Count = 1
    """Days of requests (for cadence=member: hundredths of a history) that choose the epoch."""
    value_days: CountOrNone = 1
    """Days of requests that fit the value model; 0 = the validation block fits it."""
    calibration_days: CountOrNone = 1
    """Days of requests that calibrate it; 0 = half of the members of the value model's block, who
    then do not fit it."""
    test_days: Count = 2
    """Days of requests that are judged, the last that settle."""
    towers_days: Annotated[int, Field(ge=0)] = 0
    """Days of requests that train the towers; 0 = all before validation."""
    exclude_seen: bool = False
    """Sales a member engaged with before a request are neither candidates nor outcomes of it, in
    training and judging alike; slates that are served do not know of this."""
    judged_requests: CountOrNone = 0
    """Requests kept of each block after the towers', drawn by a hash of (member, instant), where
    judging all would take too long; 0 = all."""
