"""A past of the built-in world in, our own stack filling its slates day after day out.

Towers and value model are fitted once, on the past that the logging policy made. From then on
their weights stand still, and all else moves on with what the shop has on record at each noon:
vectors of members, popularity, appetite, newness, fatigue. A slate knows nothing but that record:
no luck, no hidden quality, no instant after the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl

from recsys.campaign.plain import for_all
from recsys.data.asof import history_end
from recsys.data.contract import check
from recsys.data.popularity import Popularity
from recsys.domain.arrays import F32, I64, NONE, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.requests import Requests
from recsys.domain.shelf import Shelf
from recsys.domain.shop import Shop
from recsys.domain.stop import StopFlag
from recsys.rerank.asking import Asked
from recsys.rerank.novelty import is_new
from recsys.rerank.offer import Offer, Picks
from recsys.rerank.ranker import draws_of
from recsys.rerank.spec import Blend, Pure, Rerank
from recsys.runs.learn import Learned, learn, pose
from recsys.runs.prepare import Prepared
from recsys.runs.record import Ids, Record
from recsys.runs.spec import Train
from recsys.towers.embed import Embedder
from recsys.towers.resident import SECOND
from recsys.world.days import Day, play_day
from recsys.world.play import Played, respond
from recsys.world.policy import Chosen, Noon, logging_policy
from recsys.world.retailer import World, make_world
from recsys.world.spec import FlashSales
from recsys.world.state import SLOTS, State


@dataclass(frozen=True)
class Plan:
    """How slates are made of what is known."""

    rerank: Rerank
    reserved: int = 0
    """Last places of a slate, kept for the most valuable sales that are new to the member."""
    seen: Callable[[Asked, Picks], None] | None = None
    """Told of what was picked of what at each noon, for those who consent."""


PLANS: Mapping[str, Plan] = MappingProxyType({
    "value": Plan(Pure()),
    "slots": Plan(Pure(), reserved=2),
    "stack": Plan(Blend()),
})
"""The most valuable sales alone; the same with two places kept for what is new; all we have."""


@dataclass(frozen=True)
class Start:
    """A world at the noon after its past, and the stack that was fitted on that past."""

    world: World
    state: State
    dataset: Dataset
    """The past, with a catalogue that also has the sales to come: each counts from its opening."""
    record: Record
    learned: Learned

    def with_world(self, **settings: float) -> Start:
        """Return the same start in a world that changes from now on, as discovery_value=0."""
        spec = self.world.spec.model_copy(update=settings)
        return replace(self, world=replace(self.world, spec=spec))


def start(spec: Train, *, days: int, folder: Path) -> Start:
    """Play the past of `spec.data` as it was logged and fit the stack on it.

    The world can then be played for `days` more. `folder` takes encoders and checkpoints.

    Raises:
        TypeError: `spec.data` is not the built-in world.
        SettingError: the past is too short for its five blocks.
    """
    data = spec.data
    if not isinstance(data, FlashSales):
        raise TypeError(f"data={data.kind} cannot be played: only kind flash_sales has a truth")
    world = make_world(data, days=data.num_days + days)
    past = respond(world, world.start, policy=logging_policy, days=data.num_days)
    prepared, identities = _on_record(past)
    task = pose(prepared, spec, folder)
    learned = learn(
        task, spec, folder, stop=StopFlag(), on_epoch=lambda _: None, tell=lambda _: None
    )
    ids = Ids.of(prepared.dataset, identities, past.truth)
    record = Record.of(prepared.dataset, ids)
    return Start(world, past.state, prepared.dataset, record, learned)


def _on_record(past: Played) -> tuple[Prepared, pl.DataFrame]:
    """Check what the shop has on record: a past, and a catalogue that is planned ahead."""
    last = past.world.num_days
    tables = replace(past, states=(*past.states, replace(past.state, day=last))).tables()
    checked = check(tables, past.world.spec)
    dataset = replace(checked.dataset, watermark=past.world.noon(past.state.day))
    identities = tables.identities
    if identities is None:
        raise TypeError("the built-in world makes no identity table")
    return Prepared(dataset, past.world.spec, checked, tables.notes), identities


def forward(begun: Start, plan: Plan, *, days: int) -> Iterator[Day]:
    """Play days on from a start, their slates filled by a plan; all plans meet the same luck.

    Raises:
        ValueError: the plan fills more places than this world has.
    """
    if plan.rerank.slots > SLOTS:
        raise ValueError(f"slots={plan.rerank.slots}: slates of this world have {SLOTS} at most")
    state, record = begun.state, begun.record
    for _ in range(days):
        day = play_day(begun.world, state, policy=partial(fill, begun, record, plan=plan))
        yield day
        state, record = day.state, record.after(day.log)


def fill(begun: Start, record: Record, noon: Noon, *, plan: Plan) -> Chosen:
    """Fill slates at a noon from what is on record: the editors' where consent is withheld."""
    dataset = replace(begun.dataset, events=record.history)
    shop = replace(dataset.shop, shown=record.shown)
    on_offer = record.ids.sale[noon.offer.rows]
    sales = np.sort(on_offer).astype(np.int32)
    shelf = Shelf(noon.at, sales, shop.curated(noon.at)[sales])
    members, slots = record.ids.member[noon.rows], plan.rerank.slots
    chosen = np.full((len(members), SLOTS), NONE, dtype=np.int64)
    chosen[:, :slots] = unasked(shop, shelf, slots)
    propensity = np.ones(chosen.shape, dtype=np.float32)
    known = np.flatnonzero(record.consent[members])
    if len(known):
        asking = members[known].astype(np.int32)
        ends = history_end(shop.history, asking, np.array(noon.at))
        requests = Requests.now(asking, shelf, ends)
        embedder = later(begun.learned.embedder, dataset)
        chosen[known, :slots], propensity[known, :slots] = _personal(
            begun.learned, plan, embedder, shop=shop, requests=requests
        )
    # the last cell stands for NONE
    column = np.full(dataset.num_sales + 1, NONE, dtype=np.int64)
    column[on_offer] = np.arange(len(on_offer))
    return Chosen(columns=column[chosen], propensity=propensity)


def unasked(shop: Shop, shelf: Shelf, slots: int) -> I64:
    """Return the slate of whoever withholds consent, I64[slots]: editors' picks, then the newest.

    The service answers them in the same order. NONE where the shelf has fewer sales.
    """
    slate = np.full(slots, NONE, dtype=np.int64)
    best = shelf.sales[for_all(shop, shelf, slots=slots)]
    slate[: len(best)] = best
    return slate


def later(embedder: Embedder, dataset: Dataset) -> Embedder:
    """Return the same towers over a dataset whose events alone are others.

    Sales and members are those of the embedder's own; so are their tensors.
    """
    moved, vectors = copy(embedder), copy(embedder.vectors)
    old, history = vectors.resident, dataset.history
    what = history.kind.astype(np.int64) * 5 + np.minimum(history.channel, 4)
    vectors.resident = replace(
        old,
        event_sale=old.event_sale.new_tensor(history.sale),
        event_second=old.event_second.new_tensor((history.at - old.epoch) // SECOND),
        event_what=old.event_what.new_tensor(what),
        member_ptr=history.member_ptr,
        popularity=Popularity.of(history, dataset.num_sales),
    )
    vectors.columns = embedder.trained.columns(dataset)
    moved.dataset, moved.vectors = dataset, vectors
    return moved


def _personal(
    learned: Learned, plan: Plan, embedder: Embedder, *, shop: Shop, requests: Requests
) -> tuple[I64, F32]:
    """Return sales and the chance of each place, I64[n, slots] and F32[n, slots]."""
    ranker = replace(learned.ranker, spec=plan.rerank, _desk=[])
    rows = requests.rows(0)
    vectors = embedder.sales(requests.shelf(0), int(requests.group_at[0]))
    asked, offer = ranker.offered(
        shop,
        requests,
        rows,
        taste=embedder.requests(requests, rows) @ vectors.T,
        unit=vectors[:, : embedder.unit_dims],
    )
    if plan.reserved:
        new = is_new(asked.question.days_known)
        columns = reserved(offer, new, slots=plan.rerank.slots, kept=plan.reserved)
        chance = np.ones(columns.shape, dtype=np.float32)
    else:
        policy = ranker.policy
        picks = policy.act(offer, draws_of(requests, rows, policy.num_draws))
        if plan.seen is not None:
            plan.seen(asked, picks)
        columns, chance = picks.columns, np.exp(picks.log_propensity)
    sales = np.broadcast_to(asked.question.sales, offer.eligible.shape)
    found = np.take_along_axis(sales, np.maximum(columns, 0), axis=1)
    return np.where(columns == NONE, NONE, found), chance


def reserved(offer: Offer, new: Bool, *, slots: int, kept: int) -> I64:
    """Fill slates by utility, their last `kept` places by the best that is new, I64[n, slots].

    `new` Bool[n, c]. Places for which nothing new is left go by utility too.
    """
    worth = np.where(offer.eligible, offer.parts.utility(), -np.inf)
    order = np.argsort(-worth, axis=1, kind="stable")
    fits = np.take_along_axis(offer.eligible, order, axis=1)
    free = np.arange(order.shape[1]) < slots - kept
    fresh = np.take_along_axis(new, order, axis=1) & fits
    turn = np.where(free, 0, np.where(fresh, 1, 2))
    first = np.argsort(turn, axis=1, kind="stable")[:, :slots]
    found = np.full((len(order), slots), NONE, dtype=np.int64)
    best, fit = (np.take_along_axis(one, first, axis=1) for one in (order, fits))
    found[:, : best.shape[1]] = np.where(fit, best, NONE)
    return found
