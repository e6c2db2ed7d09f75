"""Who is not in the bundle: a past and features in, the slate of such a member out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from hashlib import blake2b
from itertools import starmap
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from recsys.domain.arrays import F32, I32, NONE
from recsys.domain.clock import us_of
from recsys.domain.embeddings import Embeddings
from recsys.domain.errors import SettingError
from recsys.domain.events import KIND_WEIGHTS, Channel, Events, Kind
from recsys.domain.idtable import IdTable
from recsys.domain.manifest import JSON
from recsys.domain.requests import Requests
from recsys.domain.shelf import Shelf
from recsys.domain.shop import Shop
from recsys.domain.shown import Shown
from recsys.domain.slates import Slates
from recsys.rerank.ranker import Ranker, draws_of
from recsys.serve.answers import MAX_IDS, Heard
from recsys.serve.asks import Touch
from recsys.serve.segments import Segments
from recsys.towers.plain import MemberTower

KINDS = {kind.name.lower(): kind for kind in Kind}
CHANNELS = {channel.name.lower(): channel for channel in Channel}
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Nobody bought online before, says the data contract: an earlier time is in another unit."""
_FIRST = us_of(EARLIEST)
_LATEST = np.iinfo(np.int64).max


class Newcomer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member the bundle does not know, described by the caller."""

    history: Annotated[tuple[Touch, ...], Meta(max_length=MAX_IDS)] = ()
    """In any order."""
    features: dict[str, Any] = {}  # msgspec copies it
    """Column of members -> what is known, as JSON; a column that is not there is unknown."""
    member: str = ""
    """Whose luck draws explored slots: with an id, the same all day; without, by what is said."""


@dataclass(frozen=True)
class Welcome:
    """The answer to n newcomers."""

    slates: Slates | None
    """As `BundleParts.slates` makes them, row i that of the i-th; None = this bundle cannot, and
    the next rung of the ladder answers."""
    because: str
    """Why it cannot; empty where it can."""
    vectors: F32
    """Their vectors as of the shelf's instant, F32[n, dim]; of no width where it cannot."""
    heard: tuple[Heard, ...] = ()


@dataclass(frozen=True)
class Door:
    """Where newcomers are seen: the shop with its sales and indexes, and nobody's past but theirs.

    Made once a bundle. The popularity of sales stays that of all members.
    """

    ranker: Ranker
    """Able to liken sales; its desk is laid for `shop`."""
    shop: Shop
    sales: Embeddings
    sale_ids: IdTable

    @cached_property
    def _nobody(self) -> Ranker:
        """The ranker without segments: they are of member rows, and newcomers have their own."""
        none = np.zeros(0, dtype=np.int16)
        # terms are kept with their segments: what the house keeps for members is not for these
        return self.ranker.with_house(replace(self.ranker.house, segment=none, _kept=[]))

    def welcome(
        self,
        tower: MemberTower,
        asked: Sequence[Newcomer],
        shelf: Shelf,
        *,
        slots: int,
        novelty: float | None = None,
    ) -> Welcome:
        """Return the slates of newcomers on a shelf, all as of its instant.

        Raises:
            SettingError: a kind, a time or a column cannot be read; the text names it.
        """
        history, heard = self.read(asked, shelf.at)
        features = tower.columns([one.features for one in asked])
        vectors = tower(history, features, at=shelf.at)
        ranker = self._ranker(slots, novelty)
        slates = self._slates(ranker, history, vectors, shelf=shelf, luck=_luck(asked))
        return Welcome(slates, "", vectors, heard)

    def by_segment(
        self,
        segments: Segments,
        asked: Newcomer,
        shelf: Shelf,
        *,
        slots: int,
        novelty: float | None = None,
    ) -> Slates | None:
        """Return the slate of a newcomer by the segments they are in; None = in none.

        It is that of a member without a past whose taste is what these segments like.

        Raises:
            SettingError: members have no such column.
        """
        vector = segments.vector(asked.features)
        if vector is None:
            return None
        ranker, (nothing, _) = self._ranker(slots, novelty), self.read([Newcomer()], shelf.at)
        return self._slates(ranker, nothing, vector[None], shelf=shelf, luck=_luck([asked]))

    def _ranker(self, slots: int, novelty: float | None) -> Ranker:
        ranker = self._nobody.with_slots(slots)
        return ranker if novelty is None else ranker.with_novelty(novelty)

    def read(self, asked: Sequence[Newcomer], at: int) -> tuple[Events, tuple[Heard, ...]]:
        """Return the pasts of newcomers as engagements before an instant, and what was left out.

        Raises:
            SettingError: a kind or a time cannot be read, or a sale is missing.
        """
        touches = [
            (who, touch, _kind(touch), _instant(touch.at))
            for who, one in enumerate(asked)
            for touch in one.history
        ]
        telling = [one for one in touches if KIND_WEIGHTS[one[2]] > 0]
        sale = self.sale_ids.rows([_sale(touch) for _, touch, _, _ in telling])
        told = [
            (who, when, kind, CHANNELS.get(_word(touch.channel), Channel.OTHER))
            for who, touch, kind, when in telling
        ]
        who, when, kind, channel = np.array(told, dtype=np.int64).reshape(-1, 4).T
        known, earlier = sale != NONE, when < at
        order = np.lexsort((channel, kind, sale, when, who))
        order = order[(known & earlier)[order]]
        # of touches that differ in their channel alone the first stands
        one_by_one = np.stack((who, when, sale, kind), axis=1)[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (one_by_one[1:] != one_by_one[:-1]).any(axis=1)
        used = order[first]
        left = {
            "used": who[used],
            "silent": np.array([one[0] for one in touches if KIND_WEIGHTS[one[2]] == 0], np.int64),
            "unknown_sales": who[~known],
            "later": who[known & ~earlier],
            "repeated": who[order[~first]],
        }
        counts = {name: np.bincount(whose, minlength=len(asked)) for name, whose in left.items()}
        heard = list(starmap(Heard, np.stack([*counts.values()], axis=1).tolist()))
        history = Events(
            sale=sale[used].astype(np.int32),
            at=when[used],
            kind=kind[used].astype(np.uint8),
            channel=channel[used].astype(np.uint8),
            flags=np.zeros(len(used), dtype=np.uint8),
            value=np.zeros(len(used), dtype=np.float32),
            member_ptr=np.concatenate(([0], np.cumsum(counts["used"]))),
        )
        return history, tuple(heard)

    def _slates(
        self, ranker: Ranker, history: Events, vectors: F32, *, shelf: Shelf, luck: I32
    ) -> Slates:
        rows = np.arange(len(vectors), dtype=np.int32)
        shop = replace(self.shop, history=history, shown=Shown.nothing(len(rows)))
        desk = replace(self.ranker.desk(self.shop), shop=shop)
        ranker = replace(ranker, _desk=[desk])
        requests = Requests.now(rows, shelf, history.member_ptr[1:])
        on_shelf, all_of_them = self.sales.vectors[shelf.sales], slice(0, len(rows))
        asked, offer = ranker.offered(
            shop,
            requests,
            all_of_them,
            taste=np.einsum("rd,sd->rs", vectors, on_shelf),
            unit=on_shelf[:, : self.sales.unit_dims],
        )
        # rows are places in a batch, and luck must not hang on the company
        draws = draws_of(replace(requests, member=luck), all_of_them, ranker.policy.num_draws)
        picks = ranker.policy.act(offer, draws)
        return ranker.told(asked, picks.offered(offer), picks)


def cannot(tower: MemberTower | None, specs: JSON) -> str:
    """Say why a bundle of these settings has no slates for newcomers; empty where it has."""
    if tower is not None:
        return ""
    said: Any = specs
    try:
        encoder = str(said["towers"]["encoder"]["kind"])
    except (KeyError, TypeError):
        encoder = "pooled"
    if encoder in {"pooled", "causal"}:
        return (
            "this bundle carries no member tower of this version: publish it again with recsys "
            "refresh, or train again"
        )
    return f"its encoder '{encoder}' is an installed package's, which needs torch"


def turned_away(because: str) -> Welcome:
    """Return the answer of a bundle that cannot."""
    return Welcome(None, because, np.zeros((0, 0), dtype=np.float32))


def _kind(touch: Touch) -> Kind:
    word = _word(touch.kind)
    if word not in KINDS:
        near = get_close_matches(word, KINDS, n=1)
        meant = f": '{near[0]}'?" if near else ""
        raise SettingError(
            f"'{touch.kind:.40}' in a newcomer's history is no kind of event{meant}",
            f"kinds are: {', '.join(KINDS)}",
        )
    return KINDS[word]


def _sale(touch: Touch) -> str:
    if touch.sale is None:
        raise SettingError(f"a {touch.kind} in a newcomer's history names no sale")
    return touch.sale


def _instant(at: str | int) -> int:
    """Return UTC us."""
    if isinstance(at, str):
        try:
            read = datetime.fromisoformat(at)
        except ValueError:
            read = None
        if read is None or read.tzinfo is None:
            raise SettingError(
                f"'{at:.40}' in a newcomer's history is no instant",
                "write ISO 8601 with an offset, as 2026-03-24T12:07:00+01:00",
            )
        at = us_of(read)
    if at < _FIRST:
        raise SettingError(
            f"{at} in a newcomer's history is before 2000",
            "whole numbers are UTC microseconds since 1970",
        )
    return min(at, _LATEST)


def _word(text: str) -> str:
    return text.strip().lower().replace("-", "_").replace(" ", "_")


def _luck(asked: Sequence[Newcomer]) -> I32:
    """Return what draws are keyed by in place of a member's row, I32[n]."""
    said = [one.member.encode() or msgspec.json.encode(one, order="sorted") for one in asked]
    words = [int.from_bytes(blake2b(one, digest_size=4).digest(), "little") for one in said]
    return (np.array(words, dtype=np.int64) & 0x7FFFFFFF).astype(np.int32)
