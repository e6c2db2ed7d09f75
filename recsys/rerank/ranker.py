"""Scores of a shelf in, slates with parts, propensities and reasons out; the same when serving."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from recsys.domain.arrays import F32, I64, NONE, U8
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.slates import PARTS, Slates
from recsys.domain.ties import keyed, uniform
from recsys.rerank import value as values
from recsys.rerank.desk import Desk
from recsys.rerank.diversity import ShelfView
from recsys.rerank.novelty import newness
from recsys.rerank.policy import Offer, Picks, SlatePolicy
from recsys.rerank.reasons import Won, reasons
from recsys.rerank.signals import Question, signals
from recsys.rerank.spec import Rerank, plan_of
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
        if not self._desk or self._desk[0].shop is not shop:
            self._desk[:] = [Desk.of(shop)]
        return self._desk[0]

    def slates(
        self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
    ) -> Slates:
        """Make the slates of some requests of one group.

        `taste` F32[n, s] scores the group's shelf, `unit` F32[s, U] are its vectors of length 1.
        """
        plan = plan_of(self.spec)
        question, columns = ask(self.desk(shop), requests, rows, taste=taste, most=plan.candidates)
        wide = np.broadcast_to(columns, (len(taste), columns.shape[1]))
        x = signals(question, np.take_along_axis(taste, wide, axis=1))
        value = self.value_model(x)
        new = newness(
            question.days_known,
            soft=plan.newness == "soft",
            half_life_days=plan.half_life_days,
        )
        boost = np.where(question.curated, np.float32(plan.curated_boost), np.float32(1))
        one = np.ones((1, 1), dtype=np.float32)
        eligible = np.ones(value.shape, dtype=np.bool_)
        offer = Offer(
            parts=parts(value, new, fatigue=one, boost=boost, novelty=plan.novelty),
            eligible=eligible,
            sigma=sigma(value, eligible, median=self.median_deviation),
            view=ShelfView(unit=unit[columns], num_members=len(value)),
            brand=self.desk(shop).brand[question.sales],
            category=self.desk(shop).category[question.sales],
        )
        policy = SlatePolicy(
            slots=plan.slots,
            reranker=plan.diversity,
            temperature=plan.temperature,
            max_per_brand=plan.max_per_brand,
            apart=getattr(plan, "apart", 1),
        )
        picks = policy.act(offer, draws_of(requests, rows, plan.slots))
        return self._told(question, offer, picks, x=x, new=new)

    def _told(self, question: Question, offer: Offer, picks: Picks, *, x: F32, new: F32) -> Slates:
        """Put picks into slates: parts, reasons and evidence of each slot."""
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
            contributions=self.value_model.contributions(x[row, column]),
            new=new[row, column],
        )
        reason: U8 = np.zeros(shape, dtype=np.uint8)
        evidence: I64 = np.full(shape, NONE, dtype=np.int64)
        reason[row, slot], evidence[row, slot] = reasons(question, won, self.kernel)
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
        """Return calibrated values of the shelf, F32[n, s]; NaN where a sale is no candidate."""
        most = plan_of(self.spec).candidates
        question, columns = ask(self.desk(shop), requests, rows, taste=taste, most=most)
        wide = np.broadcast_to(columns, (len(taste), columns.shape[1]))
        found = self.value_model(signals(question, np.take_along_axis(taste, wide, axis=1)))
        spread = np.full(taste.shape, np.nan, dtype=np.float32)
        np.put_along_axis(spread, wide, found, axis=1)
        return spread

    def save(self, folder: Path) -> None:
        """Write the settings and the value model into a new folder."""
        folder.mkdir()
        values.save(self.value_model, folder)
        plain = {"spec": self.spec.model_dump(), "median_deviation": self.median_deviation}
        (folder / "ranker.json").write_text(json.dumps(plain), encoding="utf-8")


def load(folder: Path) -> Ranker:
    """Read what `Ranker.save` wrote."""
    plain = json.loads((folder / "ranker.json").read_text(encoding="utf-8"))
    spec: Rerank = TypeAdapter(Rerank).validate_python(plain["spec"])
    return Ranker(spec, values.load(folder), float(plain["median_deviation"]))


def ask(
    desk: Desk, requests: Requests, rows: slice, *, taste: F32, most: int
) -> tuple[Question, I64]:
    """Choose the sales in question: the whole shelf, or of a long one `most` a member.

    Returns the question and the columns of the shelf it is about, I64[1, c] or I64[n, c], in the
    order that settles ties. On long shelves: picked by an editor, known to the member, then taste.
    """
    group = int(requests.group[rows.start])
    shelf, curated = requests.shelf(group).astype(np.int64), requests.curated(group)
    order = np.argsort(keyed(int(requests.group_at[group]) // DAY, shelf), kind="stable")
    columns = order[None, :]
    if len(shelf) > most:
        columns = candidates(desk, requests, rows, taste=taste, order=order, most=most)
    question = Question(
        desk=desk, requests=requests, rows=rows, sales=shelf[columns], curated=curated[columns]
    )
    return question, columns


def candidates(
    desk: Desk, requests: Requests, rows: slice, *, taste: F32, order: I64, most: int
) -> I64:
    """Return `most` columns a member, I64[n, most], ascending in `order`."""
    group = int(requests.group[rows.start])
    shelf = requests.shelf(group)
    column = np.full(desk.shop.num_sales, NONE, dtype=np.int64)
    column[shelf] = np.arange(len(shelf))
    history = desk.shop.history
    start = history.member_ptr[requests.member[rows]]
    count = requests.history_end[rows] - start
    row = np.repeat(np.arange(len(count)), count)
    event = np.arange(len(row)) + (start - (np.cumsum(count) - count))[row]
    known = column[history.sale[event]]
    first = np.where(np.isfinite(taste), taste, -np.inf)
    above = float(np.abs(taste).max(initial=0)) + 1
    first = first + above * 2 * requests.curated(group)
    first[row[known != NONE], known[known != NONE]] += np.float32(above)
    best = np.argpartition(-first, most - 1, axis=1)[:, :most]
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return np.take_along_axis(best, np.argsort(place[best], axis=1), axis=1)


def draws_of(requests: Requests, rows: slice, slots: int) -> np.ndarray:
    """Draw numbers F64[n, slots] that depend on member, day and slot alone."""
    day = requests.at[rows][:, None] // DAY
    return uniform(requests.member[rows][:, None], day, np.arange(slots)[None, :])
