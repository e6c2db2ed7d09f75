"""What a played past looks like in figures, beside the bands that public sources name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from recsys.domain.arrays import I64, Bool
from recsys.domain.events import HOUR, Kind
from recsys.world.clock import weekday
from recsys.world.log import FLAG_MACHINE, FLAG_NEW, Log
from recsys.world.play import Played
from recsys.world.retailer import World

BANDS: Mapping[str, tuple[float, float]] = MappingProxyType({
    "purchases_in_noon_hour": (0.28, 0.38),
    "active_with_10_visits_a_month": (0.6, 0.85),
    "opens_per_mail": (0.15, 0.30),
    "clicks_per_mail": (0.02, 0.05),
    "purchases_per_visit": (0.01, 0.04),
    "clicks_in_first_24_hours": (0.5, 0.75),
    "new_brand_share_lowest_appetite": (0.09, 0.25),
    "new_brand_share_highest_appetite": (0.3, 0.5),
    "events_of_top_tenth": (0.35, 0.55),
    "appetite_between_halves": (0.3, 0.8),
})
"""Figure: least and most at default settings, by WORLD section 4 and its sources."""

SEEN_OFTEN = 10
"""Views that a member needs in each half of the past for its appetite to be compared."""


def figures(played: Played) -> dict[str, float]:
    """Return the figures of `BANDS` and those between them; NaN where nothing was there to count.

    new_brand_share_1 to _5 are the shares of purchases from brands never bought before, by fifths
    of the members' true appetite. Appetite between halves is the correlation, over the members
    with `SEEN_OFTEN` views in each half, of the share of unknown brands among views.
    """
    world, log, totals = played.world, played.log, played.totals
    people = log.flags & FLAG_MACHINE == 0
    mails = sum(day.mails for day in totals)
    visits = log.kind == Kind.VISIT
    bought = log.kind == Kind.PURCHASE
    by_fifth = _new_by_appetite(world, log, bought)
    return {
        "purchases_in_noon_hour": _in_noon_hour(world, log.at[bought]),
        "active_with_10_visits_a_month": _often_there(world, log.member[visits], len(totals)),
        "opens_per_mail": _ratio(int((people & (log.kind == Kind.MAIL_OPEN)).sum()), mails),
        "clicks_per_mail": _ratio(int((log.kind == Kind.MAIL_CLICK).sum()), mails),
        "purchases_per_visit": _ratio(int(bought.sum()), int(visits.sum())),
        "clicks_in_first_24_hours": _early(world, log),
        "new_brand_share_lowest_appetite": by_fifth[0],
        "new_brand_share_highest_appetite": by_fifth[-1],
        "events_of_top_tenth": _top_tenth(log.member[people]),
        "appetite_between_halves": _appetite_between_halves(world, log, days=len(totals)),
        **{f"new_brand_share_{number}": share for number, share in enumerate(by_fifth, start=1)},
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _share(of: Bool) -> float:
    return _ratio(int(of.sum()), of.size)


def _in_noon_hour(world: World, at: I64) -> float:
    """Return the share of weekday purchases in the hour after local noon."""
    day = np.searchsorted(world.noons, at, side="right") - 2
    workday = np.isin(day % 7, [day for day in range(7) if weekday(day) < 5])
    return _share((at - world.noons[day + 1] < HOUR)[workday])


def _often_there(world: World, member: np.ndarray, days: int) -> float:
    """Return the share with at least 10 visits in 30 days among those who came at all."""
    visits = np.bincount(member, minlength=len(world.members))
    return _share(visits[visits > 0] * 30 >= 10 * days)


def _early(world: World, log: Log) -> float:
    """Return the share of engagements within 24 hours of the sale's opening."""
    viewed = log.kind == Kind.VIEW
    return _share(log.at[viewed] - world.sales.opens_at[log.sale[viewed]] < 24 * HOUR)


def _new_by_appetite(world: World, log: Log, bought: Bool) -> list[float]:
    """Return the share of purchases from unknown brands in each fifth of true appetite."""
    member, new = log.member[bought], log.flags[bought] & FLAG_NEW > 0
    appetite = world.members.appetite
    fifth = np.digitize(appetite, np.quantile(appetite, [0.2, 0.4, 0.6, 0.8]))[member]
    return [_share(new[fifth == number]) for number in range(5)]


def _top_tenth(member: np.ndarray) -> float:
    """Return the share of events made by the most active tenth of those who made any."""
    events = np.sort(np.bincount(member))[::-1]
    events = events[events > 0]
    return _ratio(int(events[: max(1, len(events) // 10)].sum()), int(events.sum()))


def _appetite_between_halves(world: World, log: Log, *, days: int) -> float:
    """Correlate the share of unknown brands among a member's views between two halves."""
    viewed = log.kind == Kind.VIEW
    late = (log.at >= world.noon(days // 2))[viewed]
    member, new = log.member[viewed], (log.flags & FLAG_NEW > 0)[viewed]
    size = len(world.members)
    views = np.stack([np.bincount(member[half], minlength=size) for half in (~late, late)])
    unknown = np.stack([np.bincount(member[half & new], minlength=size) for half in (~late, late)])
    often = (views >= SEEN_OFTEN).all(axis=0)
    early, later = unknown[:, often] / views[:, often]
    if not (early.size and early.std() and later.std()):
        return float("nan")
    return float(np.corrcoef(early, later)[0, 1])
