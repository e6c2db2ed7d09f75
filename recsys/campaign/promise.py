"""Settings and one shelf in, the prices that keep its promises out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from recsys.campaign.allocate import solve
from recsys.campaign.audience import Audience, asked
from recsys.campaign.bounds import Bound, Exposure, Promises
from recsys.campaign.certificate import Infeasible, Sample
from recsys.campaign.spec import Promised
from recsys.domain.arrays import F32, F64, I16, I32, I64, NONE, Bool
from recsys.domain.errors import GateError, SettingError
from recsys.domain.prices import Prices
from recsys.domain.shelf import Shelf
from recsys.domain.ties import keyed
from recsys.rerank.groups import groups_of
from recsys.rerank.offer import Offer
from recsys.rerank.ranker import Ranker, draws_of
from recsys.rerank.utility import UTILITY_PARTS

FLOOR, CAP = UTILITY_PARTS.index("floor"), UTILITY_PARTS.index("cap")


def promises_of(
    spec: Promised, shelf: Shelf, info: pl.DataFrame
) -> tuple[Promises, tuple[str, ...]]:
    """Return what is promised on a shelf, and a note for each bound that is about nothing there.

    Raises:
        SettingError: a bound names a group or segment that nobody knows.
    """
    named = {bound.group for bound in spec.bounds if bound.segment is None}
    ids = info["sale"].gather(shelf.sales).to_list()
    each = [
        bound
        for sale, picked in zip(ids, shelf.curated.tolist(), strict=True)
        if f"sale={sale}" not in named
        for bound in _of_one(spec, f"sale={sale}", picked=picked)
    ]
    bounds, notes = [], []
    groups = groups_of([bound.group for bound in spec.bounds], shelf, info)
    for bound in spec.bounds:
        if groups.named([bound.group]).any():
            bounds.append(bound)
        else:
            notes.append(f"{bound.name} is promised, but has no sale on this shelf: left out")
    asked = (*bounds, *each)
    kept = groups_of([bound.group for bound in asked], shelf, info)
    return Promises(asked, kept, spec.segments), tuple(notes)


def _of_one(spec: Promised, group: str, *, picked: bool) -> list[Bound]:
    lower = spec.each_pick if picked else 0.0
    upper = spec.each_sale if spec.each_sale < 1 else None
    if not lower and upper is None:
        return []
    if upper is not None and lower > upper:
        raise SettingError(
            f"campaign.each_pick={lower:g} is above campaign.each_sale={upper:g}",
            "no sale that an editor picked could keep both",
        )
    return [Bound(group=group, lower=lower, upper=upper)]


@dataclass(frozen=True)
class Rehearsal:
    """The slates of n members of a sample, ready to be made again under other prices."""

    ranker: Ranker
    offers: Sequence[Offer]
    """In chunks of the members, without prices."""
    columns: Sequence[I64]
    """Columns of the shelf that each offer's are, I64[c] each."""
    draws: Sequence[F64]
    segment: I16
    """Of the n members, I16[n]."""
    promises: Promises

    @classmethod
    def of(
        cls, ranker: Ranker, audience: Audience, promises: Promises, *, segment: I16, chunk: int
    ) -> Rehearsal:
        """Make the offers of an audience, chunk by chunk; `segment` I16[all members].

        Raises:
            SettingError: the shelf is longer than what is valued for a member.
        """
        num = len(audience.shop.shelf(audience.at))
        if num > ranker.spec.candidates:
            raise SettingError(
                f"promises are about {num:,} sales on the shelf, and only "
                f"rerank.candidates={ranker.spec.candidates} are valued for a member",
                "promise nothing here (campaign=none), or raise rerank.candidates",
            )
        offers, columns, draws = [], [], []
        for requests in asked(audience, chunk=chunk):
            rows = requests.rows(0)
            known, offer = ranker.offered(
                audience.shop,
                requests,
                rows,
                taste=audience.taste_of(requests.member),
                unit=audience.unit,
            )
            offers.append(offer)
            columns.append(known.columns[0])
            draws.append(draws_of(requests, rows, ranker.policy.num_draws))
        return cls(ranker, offers, columns, draws, segment[audience.members], promises)

    def __call__(self, prices: Prices) -> I64:
        """Return the slates under prices, columns of the shelf I64[n, N] or NONE."""
        tariff = prices.tariff(self.promises.groups, self.promises.segments)
        made, first = [], 0
        for offer, columns, draws in zip(self.offers, self.columns, self.draws, strict=True):
            segment = self.segment[first : first + len(offer.eligible)]
            first += len(segment)
            amounts = offer.parts.amounts.copy()
            amounts[FLOOR], amounts[CAP] = tariff.of(segment, columns[None, :])
            priced_too = replace(offer, parts=replace(offer.parts, amounts=amounts))
            picked = self.ranker.policy.columns(priced_too, draws)
            # NONE reads what is put behind the last column: NONE
            made.append(np.append(columns, NONE)[picked])
        return np.concatenate(made)

    @property
    def value(self) -> F32:
        """Values of what may be shown, flat."""
        return np.concatenate([offer.parts.amounts[0][offer.eligible] for offer in self.offers])

    @property
    def eligible(self) -> Bool:
        """What may be shown, Bool[n, S] by columns of the shelf."""
        return np.concatenate([
            offer.eligible[:, np.argsort(columns)]
            for offer, columns in zip(self.offers, self.columns, strict=True)
        ])


def sampled(members: I32, most: int) -> I32:
    """Keep at most so many members, drawn by a hash, ascending."""
    drawn = np.argsort(keyed(11, members), kind="stable")[:most]
    return np.sort(members[drawn])


def priced(
    ranker: Ranker, audience: Audience, promises: Promises, *, segment: I16, spec: Promised
) -> tuple[Prices, tuple[str, ...]]:
    """Find the prices under which the audience's slates keep the promises.

    Returns them and a line for each promise that the sample's slates still miss.

    Raises:
        GateError: no slates can keep the promises; it says which and by how much.
    """
    some = replace(audience, members=sampled(audience.members, spec.sample))
    act = Rehearsal.of(ranker, some, promises, segment=segment, chunk=spec.chunk)
    value = act.value.astype(np.float64)
    found = solve(
        act,
        promises,
        Sample(act.segment, act.eligible),
        # where all values are one, a step is a tenth of it
        sigma=max(float(value.std()), 0.1 * float(value.mean())) or 1.0,
        steps=spec.steps,
        tighten=spec.tighten,
    )
    if isinstance(found, Infeasible):
        raise GateError(*found.told)
    shares = Exposure.none(promises).plus(act(found), act.segment).shares(promises)
    return found, promises.told(shares)
