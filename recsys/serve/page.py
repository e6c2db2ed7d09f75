"""The page for people: one member's slate and why, who sees each sale, health. No script."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recsys.campaign.arms import HOLD_OUT
from recsys.domain.arrays import I64, NONE
from recsys.serve.answers import Answer, OnOffer
from recsys.serve.recommender import Recommender

SAMPLE = 2_000
"""Members whose slates are made to count who sees each sale."""
ROWS = 60
"""Sales listed in the table of reach."""


@dataclass(frozen=True)
class Chip:
    """A typical member to look at."""

    member: str
    label: str


@dataclass(frozen=True)
class Reach:
    """How many of the sampled members have a sale on their slate."""

    sale: str
    title: str | None
    brand: str | None
    curated: bool
    members: int
    share: float


@dataclass(frozen=True)
class _Counted:
    key: tuple[str, bytes, int]
    sampled: int
    reach: list[Reach]


class Styled:
    """A template with our style in it, and the headers that let a browser load nothing else."""

    def __init__(self, template: str) -> None:
        """Read the template and the style."""
        loader = PackageLoader("recsys.serve")
        jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
        css, _, _ = loader.get_source(jinja, "page.css")
        jinja.globals["css"] = Markup(css)  # ruff: ignore[unsafe-markup-use]  # our own file, not a caller's words
        self._template = jinja.get_template(template)
        hashed = base64.b64encode(sha256(css.encode()).digest()).decode()
        self.headers = {
            "Content-Security-Policy": "default-src 'self'; script-src 'none'; "
            f"style-src 'sha256-{hashed}'; object-src 'none'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }

    def render(self, **said: object) -> str:
        """Return the page as HTML."""
        return self._template.render(**said)


class Page:
    """Renders the page; keeps the reach of the shelf it last counted."""

    def __init__(self, *, docs: bool = True) -> None:
        """Read the template; `docs` = there is a page about the routes to point at."""
        self._styled, self._docs = Styled("page.html.j2"), docs
        self.headers = self._styled.headers
        self._counted: _Counted | None = None

    def render(
        self, recommender: Recommender, *, member: str, slots: int, stale: bool = False
    ) -> str:
        """Return the page as HTML; `member` may be empty or unknown.

        `stale`: a newer bundle has failed to open for long.
        """
        at = recommender.now()
        shelf = recommender.shelf(at)
        answer = None
        if member and shelf:
            answer = recommender.recommend([member], slots=slots, at=at)[0]
        counted = self._reach(recommender, at, slots=slots)
        opening = recommender.next_opening(at)
        zone = ZoneInfo(recommender.bundle.parts.zone)
        return self._styled.render(
            **_about(recommender, zone),
            at=_local(at, zone),
            age=age(at - recommender.bundle.parts.watermark),
            stale=stale,
            docs=self._docs,
            member=member,
            answer=answer,
            why_not=_why_not(recommender, member, answer),
            scale=_scale(answer),
            shelf=shelf,
            opening=None if opening is None else _local(opening, zone),
            chips=chips(recommender),
            slots=slots,
            sampled=counted.sampled,
            reach=counted.reach[:ROWS],
            more=max(0, len(counted.reach) - ROWS),
        )

    def _reach(self, recommender: Recommender, at: int, *, slots: int) -> _Counted:
        shelf = recommender.shelf_at(at)
        key = (recommender.generation, shelf.sales.tobytes(), slots)
        counted = self._counted
        if counted is None or counted.key != key:
            counted = _Counted(key, *count_reach(recommender, at, slots=slots))
            self._counted = counted
        return counted


def count_reach(recommender: Recommender, at: int, *, slots: int) -> tuple[int, list[Reach]]:
    """Count who sees each open sale, over up to SAMPLE members; the most seen first."""
    parts = recommender.bundle.parts
    shelf = recommender.shelf_at(at)
    everyone = np.flatnonzero(parts.personalise)
    members = everyone[:: max(1, -(-len(everyone) // SAMPLE))]
    if not len(shelf) or not len(members):
        return 0, []
    seen: I64 = parts.slates(members, shelf, slots=slots).sales.ravel()
    count = np.bincount(seen[seen != NONE], minlength=parts.shop.num_sales)
    rows = dict(zip(parts.info["sale"].to_list(), count.tolist(), strict=True))
    reach = [_reached(sale, rows[sale.sale], len(members)) for sale in recommender.shelf(at)]
    return len(members), sorted(reach, key=lambda sale: (-sale.members, sale.sale))


def chips(recommender: Recommender) -> list[Chip]:
    """Choose typical members by how much is known of them."""
    parts = recommender.bundle.parts
    known = np.diff(parts.shop.history.member_ptr)
    order = np.argsort(known, kind="stable")
    order = order[parts.personalise[order]]
    if not len(order):
        return []
    chosen = {
        "knows us best": order[-1],
        "knows us well": order[int(0.9 * (len(order) - 1))],
        "now and then": order[len(order) // 2],
        "hardly ever": order[len(order) // 10],
        "least known": order[0],
    }
    return [Chip(str(parts.members.ids[row]), label) for label, row in chosen.items()]


def _reached(sale: OnOffer, members: int, sampled: int) -> Reach:
    return Reach(
        sale=sale.sale,
        title=sale.title,
        brand=sale.brand,
        curated=sale.curated,
        members=members,
        share=members / sampled,
    )


def _about(recommender: Recommender, zone: ZoneInfo) -> dict[str, Any]:
    bundle = recommender.bundle
    parts = bundle.parts
    known = np.diff(parts.shop.history.member_ptr)
    return {
        "shop": parts.name,
        "zone": parts.zone,
        "generation": bundle.generation,
        "made_at": bundle.manifest.made_at,
        "watermark": _local(parts.watermark, zone),
        "of_the_past": parts.of_the_past,
        "members": parts.shop.num_members,
        "consenting": int(parts.personalise.sum()),
        "no_history": float((known == 0).mean()) if len(known) else 0.0,
        "num_sales": parts.shop.num_sales,
        "retrieval": parts.index.spec.kind,
        "recall": bundle.recall,
    }


def _why_not(recommender: Recommender, member: str, answer: Answer | None) -> str:
    if answer is not None and answer.arm == HOLD_OUT:
        return f"{member} is in the hold-out"
    if recommender.known([member]):
        return f"{member} wants no personal slates"
    return f"{member} is not in the bundle"


def _scale(answer: Answer | None) -> float:
    """Return what makes the longest bar 100 wide."""
    if answer is None:
        return 0.0
    positive = [sum(max(part, 0.0) for part in (p.taste, p.new, p.curated)) for p in answer.sales]
    longest = max(positive, default=0.0)
    return 100 / longest if longest > 0 else 0.0


def age(us: int) -> str:
    """Return microseconds in the largest unit of which there are two."""
    minutes = max(us, 0) // 60_000_000
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2 * 24 * 60 else f"{minutes // (24 * 60)} days"


def _local(at: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).astimezone(zone).strftime("%d %b %Y %H:%M")
