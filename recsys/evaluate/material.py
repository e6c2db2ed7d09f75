"""All that a report shows, as plain values: whoever fills these in need not know how it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from recsys.domain.arrays import F32, I64, Bool
from recsys.domain.report import Estimate, Report
from recsys.evaluate.reliability import Reliability, Stratum


@dataclass(frozen=True)
class EpochRow:
    """What one epoch of training came to."""

    epoch: int
    loss: float
    val_ndcg_at_10: float
    val_recall_at_10: float
    best: bool
    """The epoch whose weights are published."""


@dataclass(frozen=True)
class DialPoint:
    """What one setting does to the slates of the same requests."""

    dial: float
    """The setting: of the novelty dial, b of the utility, where 0 is pure taste."""
    value: Estimate
    """Expected outcomes a slate: the sum of its calibrated appeal."""
    value_kept: Estimate
    """The same as a share of what the novelty dial brings at its lowest, paired by member."""
    hits: Estimate
    """Sales of a slate that the member then engaged with."""
    discovery_share: Estimate
    """Share of places that went to brands new to the member."""
    discovery_hits: Estimate
    """Hits among those places, a slate."""
    curated_share: Estimate
    """Share of places that went to sales an editor picked."""
    curated_reach: Estimate
    """Share of slates with such a sale."""
    ild: Estimate
    """Mean of 1 - cosine over the pairs of a slate."""


@dataclass(frozen=True)
class DialCurve:
    """One way to give up value for something else; all but its setting is as published."""

    way: str
    """boost (the novelty dial), slots, price, picks, or a kind of re-ranker."""
    points: Sequence[DialPoint]
    """By rising setting."""
    now: float | None = None
    """The setting that is published; None = the published slates are none of these."""


@dataclass(frozen=True)
class Reach:
    """How many members have each sale of one shelf on their slate; s sales."""

    at: str
    """The shelf's instant, in words."""
    members: int
    """How many members have a slate."""
    shown: I64
    """Members who have the sale on it, I64[s]."""
    titles: Sequence[str]
    brands: Sequence[str]
    curated: Bool
    new: Bool
    """No sale of the brand was on offer before, Bool[s]."""


@dataclass(frozen=True)
class Place:
    """One place of a slate: taste + new + curated is the gain it was won with."""

    title: str
    brand: str
    taste: float
    new: float
    curated: float
    reason: str
    """One sentence."""
    hit: bool = False
    """The member engaged with it afterwards."""


@dataclass(frozen=True)
class MemberStory:
    """One member as an example, with the slate it got."""

    member: str
    about: str
    """One line: what is known of the member."""
    places: Sequence[Place]


@dataclass(frozen=True)
class DataFacts:
    """What went into the run."""

    name: str
    first: str
    """First and last instant of the events, in words."""
    last: str
    rows: Mapping[str, int]
    """Rows kept of each table."""
    set_aside: Mapping[str, int] = field(default_factory=dict)
    """Rows in quarantine, by rule."""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class SaleMap:
    """Sales in two dimensions, so that likes lie together; s sales."""

    xy: F32
    """F32[s, 2]."""
    category: Sequence[str]
    titles: Sequence[str]
    on_shelf: Bool
    """On the shelf that the reach is about, Bool[s]."""
    kept: float
    """Share of the vectors' variance that the two dimensions hold."""

    @classmethod
    def of(
        cls, unit: F32, category: Sequence[str], *, titles: Sequence[str], on_shelf: Bool
    ) -> SaleMap:
        """Project unit vectors F32[s, dim] on their two principal components (PCA)."""
        centred = (unit - unit.mean(axis=0)).astype(np.float64)
        spread, axes = np.linalg.eigh(centred.T @ centred)
        xy = (centred @ axes[:, :-3:-1]).astype(np.float32)
        total = float(spread.sum())
        kept = float(spread[-2:].sum()) / total if total > 0 else 0.0
        return cls(xy, category, titles, on_shelf, kept)


@dataclass(frozen=True)
class Material:
    """One run, ready to be shown."""

    title: str
    made_at: str
    """When, in words and with the time zone."""
    report: Report
    command: str
    """Repeats the run."""
    curve: Sequence[EpochRow] = ()
    dial: Sequence[DialPoint] | None = None
    dial_now: float | None = 0.0
    """The setting that was judged and published; None = it is not one for all members."""
    ways: Sequence[DialCurve] = ()
    """Other ways than the dial to give up value, beside it."""
    reach: Reach | None = None
    reliability: Reliability | None = None
    strata: Sequence[Stratum] = ()
    """How chances came true by what is new to the member, on whole shelves and on slates."""
    value_label: str = "expected purchases"
    """What calibrated value counts."""
    members: Sequence[MemberStory] = ()
    facts: DataFacts | None = None
    sale_map: SaleMap | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    """The resolved settings as YAML."""
    notes: Sequence[str] = ()
    truth_known: bool = False
    """A simulated world: its oracles are ceilings, not competitors."""
    task: Literal["shelf", "endless"] = "shelf"
