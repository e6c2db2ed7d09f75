"""Scores of a shelf in, slates with parts, propensities and reasons out; the same when serving."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from recsys.domain.arrays import F32, I64, NONE, U8
from recsys.domain.errors import ArtefactError
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.slates import PARTS, Slates
from recsys.domain.ties import uniform
from recsys.rerank import value as values
from recsys.rerank.asking import Asked, ask, asked_of
from recsys.rerank.desk import Desk
from recsys.rerank.diversity import ShelfView
from recsys.rerank.novelty import newness
from recsys.rerank.policy import Offer, Picks, SlatePolicy
from recsys.rerank.reasons import Won, reasons
from recsys.rerank.spec import Rerank, Spaced, plan_of
from recsys.rerank.utility import parts, sigma
from recsys.rerank.value import FittedValue, Label


@dataclass(frozen=True)
class Ranker:
    """How slates are made, and the value model that they are made with."""

    spec: Rerank
    value_model: FittedValue
    median_deviation: float
    """Of value over a member's shelf, median of the calibration block."""
    kernel: F32 | None = None
    """Vectors of all sales, F32[S, U], for reasons of likeness."""
    _desk: list[Desk] = field(default_factory=list, repr=False)

    @property
    def label(self) -> Label:
        """What value foretells."""
        return self.value_model.label

    def with_novelty(self, novelty: float, /) -> Ranker:
        """Return the same ranker with its dial at `novelty`."""
        mixed = plan_of(self.spec)
        return replace(self, spec=mixed.model_copy(update={"novelty": novelty}))

    def with_slots(self, slots: int) -> Ranker:
        """Return the same ranker for slates of another length."""
        return replace(self, spec=self.spec.model_copy(update={"slots": slots}))

    def with_kernel(self, kernel: F32) -> Ranker:
        """Return the same ranker, able to liken sales by their vectors F32[S, U]."""
        return replace(self, kernel=kernel)

    def desk(self, shop: Shop) -> Desk:
        """Return the shop's indexes, those asked for last."""
        for desk in self._desk:
            if desk.shop is shop:
                return desk
        # built here and then kept: another thread may ask for another shop meanwhile
        desk = Desk.of(shop)
        self._desk[:] = [desk]
        return desk

    def slates(
        self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
    ) -> Slates:
        """Make the slates of some requests of one group.

        `taste` F32[n, s] scores the group's shelf, `unit` F32[s, U] are its vectors of length 1.
        A sale whose taste is not finite is never shown.
        """
        plan = plan_of(self.spec)
        asked = self._ask(shop, requests, rows, taste=taste)
        offer = self._offer(asked, unit)
        picks = self.policy.act(offer, draws_of(requests, rows, plan.slots))
        return self._told(asked, offer, picks)

    @property
    def policy(self) -> SlatePolicy:
        """What fills the slates."""
        plan = plan_of(self.spec)
        return SlatePolicy(
            slots=plan.slots,
            reranker=plan.diversity,
            temperature=plan.temperature,
            max_per_brand=plan.max_per_brand,
            apart=plan.apart if isinstance(plan, Spaced) else 1,
        )

    def _ask(self, shop: Shop, requests: Requests, rows: slice, *, taste: F32) -> Asked:
        most = max(plan_of(self.spec).candidates, self.spec.slots)
        question, columns = ask(self.desk(shop), requests, rows, taste=taste, most=most)
        return asked_of(question, columns, taste)

    def _offer(self, asked: Asked, unit: F32) -> Offer:
        plan, question, desk = plan_of(self.spec), asked.question, asked.question.desk
        value = self.value_model(asked.x)
        boost = np.where(question.curated, np.float32(plan.curated_boost), np.float32(1))
        new = newness(
            question.days_known,
            soft=plan.newness == "soft",
            half_life_days=plan.half_life_days,
        )
        return Offer(
            parts=parts(
                value, new, fatigue=np.ones((1, 1), np.float32), boost=boost, novelty=plan.novelty
            ),
            eligible=asked.eligible,
            sigma=sigma(value, asked.eligible, median=self.median_deviation),
            view=ShelfView(unit=unit[asked.columns], num_members=len(value)),
            brand=desk.brand[question.sales],
            category=desk.category[question.sales],
        )

    def _told(self, asked: Asked, offer: Offer, picks: Picks) -> Slates:
        """Put picks into slates: parts, reasons and evidence of each slot."""
        question = asked.question
        row, slot = np.nonzero(picks.columns != NONE)
        column = picks.columns[row, slot]
        seen_by = np.minimum(row, len(question.sales) - 1)
        shape = picks.columns.shape
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
            flags=np.zeros(shape, dtype=np.uint8),
        )

    def value(self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32) -> F32:
        """Return calibrated values of the shelf, F32[n, s]; NaN where a sale is out of question."""
        asked = self._ask(shop, requests, rows, taste=taste)
        found = np.where(asked.eligible, self.value_model(asked.x), np.float32(np.nan))
        spread = np.full(taste.shape, np.nan, dtype=np.float32)
        np.put_along_axis(spread, np.broadcast_to(asked.columns, found.shape), found, axis=1)
        return spread

    def save(self, folder: Path) -> None:
        """Write the settings and the value model into a new folder."""
        folder.mkdir()
        values.save(self.value_model, folder)
        plain = {"spec": self.spec.model_dump(), "median_deviation": self.median_deviation}
        (folder / "ranker.json").write_text(json.dumps(plain), encoding="utf-8")


def load(folder: Path) -> Ranker:
    """Read what `Ranker.save` wrote.

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
    return Ranker(spec, values.load(folder), float(plain["median_deviation"]))


def draws_of(requests: Requests, rows: slice, slots: int) -> np.ndarray:
    """Draw numbers F64[n, slots] that depend on member, day and slot alone."""
    day = requests.at[rows][:, None] // DAY
    return uniform(requests.member[rows][:, None], day, np.arange(slots)[None, :])
