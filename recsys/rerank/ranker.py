"""Scores of a shelf in, slates with parts, propensities and reasons out; the same when serving."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import TypeAdapter, ValidationError

from recsys.domain.arrays import F32, I64, NONE, U8
from recsys.domain.errors import ArtefactError
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.domain.shelf import Shelf
from recsys.domain.shop import Shop
from recsys.domain.slates import FLAG_EXPLORED, FLAG_PINNED, PARTS, Slates
from recsys.domain.ties import uniform
from recsys.rerank import appetite, house
from recsys.rerank import value as values
from recsys.rerank.appetite import USUAL, Appetite
from recsys.rerank.asking import Asked, ask, asked_of
from recsys.rerank.desk import Desk
from recsys.rerank.house import House, Terms
from recsys.rerank.offer import Offer, Picks
from recsys.rerank.offering import offer_of
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.reasons import Won, reasons
from recsys.rerank.spec import Rerank, plan_of
from recsys.rerank.value import FittedValue, Label

TASTE = "taste"
"""Folder, below a ranker's own, of the value model on taste alone."""


@dataclass(frozen=True)
class ByTaste:
    """Value by taste alone: cheap enough where there is no time for more."""

    value_model: FittedValue
    median_deviation: float
    """Of value over a member's shelf, median of the calibration block."""


@dataclass(frozen=True)
class Made:
    """Slates, and what they were chosen from."""

    slates: Slates
    asked: Asked
    offer: Offer
    picks: Picks


@dataclass(frozen=True)
class Ranker:
    """How slates are made, and the value model that they are made with."""

    spec: Rerank
    value_model: FittedValue
    median_deviation: float
    """Of value over a member's shelf, median of the calibration block."""
    kernel: F32 | None = None
    """Vectors of all sales, F32[S, U], for reasons of likeness."""
    appetite: Appetite = USUAL
    """What is usual of members who meet new brands."""
    house: House = field(default_factory=House)
    """Editors' rules and prices of promises."""
    by_taste: ByTaste | None = None
    """None = fitted by a version that knew no such thing."""
    _desk: list[Desk] = field(default_factory=list, repr=False)

    @property
    def label(self) -> Label:
        """What value foretells."""
        return self.value_model.label

    def with_novelty(self, novelty: float, /) -> Ranker:
        """Return the same ranker with its dial at `novelty`, for all members alike."""
        for_all = {
            "novelty": novelty,
            "novelty_short": (),
            "novelty_long": (),
            "novelty_drawn": 0.0,
        }
        return replace(self, spec=plan_of(self.spec).model_copy(update=for_all))

    def with_slots(self, slots: int) -> Ranker:
        """Return the same ranker for slates of another length."""
        return replace(self, spec=self.spec.model_copy(update={"slots": slots}))

    def with_kernel(self, kernel: F32) -> Ranker:
        """Return the same ranker, able to liken sales by their vectors F32[S, U]."""
        return replace(self, kernel=kernel)

    def with_house(self, house: House) -> Ranker:
        """Return the same ranker under other rules and prices."""
        return replace(self, house=house)

    def cheaper(self) -> Ranker | None:
        """Return the same ranker, its values by taste alone; None where these were not fitted."""
        cheap = self.by_taste
        if cheap is None:
            return None
        return replace(self, value_model=cheap.value_model, median_deviation=cheap.median_deviation)

    def standing_at(self, shop: Shop, at: int) -> Ranker:
        """Return the same ranker with its desk laid for one instant: small beside a long past."""
        return replace(self, _desk=[Desk.standing_at(shop, at, self.appetite)])

    def desk(self, shop: Shop) -> Desk:
        """Return the shop's indexes, those asked for last."""
        for desk in self._desk:
            if desk.shop is shop and desk.appetite is self.appetite:
                return desk
        # built here and then kept: another thread may ask for another shop meanwhile
        desk = Desk.of(shop, self.appetite)
        self._desk[:] = [desk]
        return desk

    def slates(
        self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
    ) -> Slates:
        """Make the slates of some requests of one group.

        `taste` F32[n, s] scores the group's shelf, `unit` F32[s, U] are its vectors of length 1.
        A sale whose taste is not finite is never shown.
        """
        return self.made(shop, requests, rows, taste=taste, unit=unit).slates

    def made(
        self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
    ) -> Made:
        """Make slates as `slates` does, and return what they were chosen from beside them."""
        asked, offer = self.offered(shop, requests, rows, taste=taste, unit=unit)
        picks = self.policy.act(offer, draws_of(requests, rows, self.policy.num_draws))
        offer = picks.offered(offer)
        return Made(self.told(asked, offer, picks), asked, offer, picks)

    def offered(
        self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
    ) -> tuple[Asked, Offer]:
        """Return what is known of the sales in question, and what `policy` picks slates from."""
        terms = self._terms(shop, requests, rows)
        asked = self._ask(shop, requests, rows, taste=taste, terms=terms)
        offer = offer_of(
            asked,
            plan_of(self.spec),
            self.value_model(asked.x, asked.eligible),
            unit=unit,
            median=self.median_deviation,
            terms=terms,
        )
        return asked, offer

    @property
    def policy(self) -> SlatePolicy:
        """What fills the slates."""
        return SlatePolicy.of(plan_of(self.spec))

    def _terms(self, shop: Shop, requests: Requests, rows: slice) -> Terms:
        group = int(requests.group[rows.start])
        shelf = Shelf(
            at=int(requests.group_at[group]),
            sales=requests.shelf(group),
            curated=requests.curated(group),
        )
        return self.house.terms(shop, shelf, slots=self.spec.slots)

    def _ask(
        self, shop: Shop, requests: Requests, rows: slice, *, taste: F32, terms: Terms
    ) -> Asked:
        most, orders = max(plan_of(self.spec).candidates, self.spec.slots), terms.orders
        if orders.banned.any():
            taste = np.where(orders.banned, np.float32(np.nan), taste)
        question, columns = ask(
            self.desk(shop),
            requests,
            rows,
            taste=taste,
            most=most,
            pinned=orders.pinned[orders.pinned != NONE],
        )
        return asked_of(question, columns, taste)

    def told(self, asked: Asked, offer: Offer, picks: Picks) -> Slates:
        """Put picks into slates: parts, reasons and evidence of each slot.

        The dial of the offer stands where it stood for the picks.
        """
        question, shape = asked.question, picks.columns.shape
        row, slot = np.nonzero(picks.columns != NONE)
        column = picks.columns[row, slot]
        pinned = np.zeros(shape, dtype=np.bool_)
        if offer.pinned is not None:
            pinned = (offer.pinned == picks.columns) & (picks.columns != NONE)
        seen_by = np.minimum(row, len(question.sales) - 1)
        amounts = np.zeros((*shape, len(PARTS)), dtype=np.float32)
        amounts[row, slot, :-1] = offer.parts.amounts[:, row, column].T
        amounts[row, slot, -1] = picks.diversity[row, slot]
        sales = np.full(shape, NONE, dtype=np.int64)
        sales[row, slot] = question.sales[seen_by, column]
        won = Won(
            row=row,
            column=column,
            sale=sales[row, slot],
            parts=amounts[row, slot],
            margin=picks.margin[row, slot],
            curated=question.curated[seen_by, column],
            drawn=picks.log_propensity[row, slot] < 0,
            pinned=pinned[row, slot],
            x=asked.x[row, column],
            typical=asked.typical[row],
        )
        reason: U8 = np.zeros(shape, dtype=np.uint8)
        evidence: I64 = np.full(shape, NONE, dtype=np.int64)
        reason[row, slot], evidence[row, slot] = reasons(
            question, won, model=self.value_model.model, kernel=self.kernel
        )
        return Slates(
            members=question.requests.member[question.rows].astype(np.int64),
            sales=sales,
            parts=amounts,
            margin=picks.margin,
            log_propensity=picks.log_propensity,
            reason=reason,
            evidence=evidence,
            flags=(FLAG_PINNED * pinned + FLAG_EXPLORED * picks.explored).astype(np.uint8),
        )

    def value(self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32) -> F32:
        """Return calibrated values of the shelf, F32[n, s]; NaN where a sale is out of question."""
        terms = self._terms(shop, requests, rows)
        asked = self._ask(shop, requests, rows, taste=taste, terms=terms)
        found = np.where(
            asked.eligible, self.value_model(asked.x, asked.eligible), np.float32(np.nan)
        )
        spread = np.full(taste.shape, np.nan, dtype=np.float32)
        np.put_along_axis(spread, np.broadcast_to(asked.columns, found.shape), found, axis=1)
        return spread

    def save(self, folder: Path) -> None:
        """Write the settings, the value model and the house's rules into a new folder."""
        folder.mkdir()
        self.house.save(folder)
        values.save(self.value_model, folder)
        cheap = self.by_taste
        if cheap is not None:
            (folder / TASTE).mkdir()
            values.save(cheap.value_model, folder / TASTE)
        plain = {
            "spec": self.spec.model_dump(),
            "median_deviation": self.median_deviation,
            "median_deviation_by_taste": None if cheap is None else cheap.median_deviation,
            "appetite": asdict(self.appetite),
        }
        (folder / "ranker.json").write_text(json.dumps(plain), encoding="utf-8")


def load(folder: Path, info: pl.DataFrame) -> Ranker:
    """Read what `Ranker.save` wrote; `info` has sale, brand, category of each sale of the shop.

    Raises:
        ArtefactError: its settings are not understood here, as those of a package that is gone.
    """
    plain = json.loads((folder / "ranker.json").read_text(encoding="utf-8"))
    try:
        spec: Rerank = TypeAdapter(Rerank).validate_python(plain["spec"])
    except ValidationError as refused:
        first = refused.errors()[0]
        raise ArtefactError(
            f"the slates of {folder} cannot be made here: {first['msg']}",
            "were they made with a package that is not installed here? recsys doctor lists what is",
        ) from None
    cheap = plain.get("median_deviation_by_taste")
    usual = appetite.read(plain["appetite"])
    return Ranker(
        spec,
        values.load(folder),
        float(plain["median_deviation"]),
        appetite=usual,
        house=house.load(folder, info),
        by_taste=None if cheap is None else ByTaste(values.load(folder / TASTE), float(cheap)),
    )


def draws_of(requests: Requests, rows: slice, slots: int) -> np.ndarray:
    """Draw numbers F64[n, slots] that depend on member, day and slot alone."""
    day = requests.at[rows][:, None] // DAY
    return uniform(requests.member[rows][:, None], day, np.arange(slots)[None, :])
