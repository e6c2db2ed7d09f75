"""A shop whose truth is known exactly: every slate is so rare a thing that all can be counted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
import polars as pl

from recsys.domain.arrays import F32, F64, I64
from recsys.domain.ties import uniform
from recsys.evaluate.rewards import cross_fitted
from recsys.rerank.diversity import Mmr, ShelfView, TopK
from recsys.rerank.offer import Offer
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.utility import parts, sigma
from recsys.world import FlashSales, play

SLOTS = 3
WORN, BORED = 0.8, 0.6
"""What a click's chance keeps from slot to slot, and below a sale of the same category."""


@dataclass(frozen=True)
class KnownShop:
    """m members before c sales each: how they react, and two policies that make their slates."""

    chance: F64
    """Chance of a click in the first slot, F64[m, c]."""
    sales: I64
    """Number of each sale among all, I64[m, c]."""
    offers: tuple[Offer, Offer]
    """What the log's policy and the target think of the same sales."""
    policies: tuple[SlatePolicy, SlatePolicy]
    """The log's, and the target."""

    def clicks(self, member: I64, columns: I64) -> F64:
        """Return the chance of a click at each slot of slates I64[n, SLOTS], F64[n, SLOTS]."""
        category = np.broadcast_to(self.offers[0].category, self.chance.shape)[member]
        shown = np.take_along_axis(category, columns, axis=1)
        above = np.array([
            (shown[:, :slot] == shown[:, slot, None]).any(axis=1) for slot in range(SLOTS)
        ]).T
        liked = np.take_along_axis(self.chance[member], columns, axis=1)
        clicks: F64 = liked * WORN ** np.arange(SLOTS) * np.where(above, BORED, 1.0)
        return clicks

    def log_prob(self, which: int, member: I64, columns: I64) -> F64:
        """Return the log chance of each slot of slates under a policy, F64[n, SLOTS]."""
        offer, policy = self.offers[which].take(member), self.policies[which]
        return policy.log_prob(offer, columns).astype(np.float64)

    @cached_property
    def truths(self) -> dict[str, float]:
        """The target's value: of a slate (prefix), and of a row after the log's choices (slot)."""
        num, width = self.chance.shape
        slates = np.array(list(permutations(range(width), SLOTS)))
        member = np.repeat(np.arange(num), len(slates))
        columns = np.tile(slates, (num, 1))
        log, target = (self.log_prob(which, member, columns) for which in (0, 1))
        clicks = self.clicks(member, columns)
        alone = np.exp(log.sum(axis=1, keepdims=True) - log + target)
        return {
            "prefix": float((np.exp(target.sum(axis=1)) * clicks.sum(axis=1)).sum() / num),
            "slot": float((alone * clicks).sum() / num / SLOTS),
        }

    def log(self, seed: int, visits: int) -> pl.DataFrame:
        """Draw members, slates and clicks; return the log with target, sale, q and q_target."""
        visit, slot = np.arange(visits)[:, None], np.arange(SLOTS)
        member = (uniform(seed, 0, visit[:, 0]) * len(self.chance)).astype(np.int64)
        picks = self.policies[0].act(self.offers[0].take(member), uniform(seed, 1, visit, slot))
        columns = picks.columns
        clicked = uniform(seed, 2, visit, slot) < self.clicks(member, columns)
        sale = np.take_along_axis(self.sales[member], columns, axis=1)
        frame = pl.DataFrame({
            "member": np.repeat(visit, SLOTS),
            "slot": np.tile(slot, visits),
            "sale": sale.ravel(),
            "reward": clicked.ravel(),
            "log_propensity": picks.log_propensity.ravel(),
            "target_log_prob": self.log_prob(1, member, columns).ravel(),
        })
        return cross_fitted(frame, self._chances(member, columns), seed=seed)

    def _chances(self, member: I64, columns: I64) -> F64:
        """Return the target's chance of each sale at each row, after the places before it."""
        chances = np.zeros((len(member), SLOTS, int(self.sales.max()) + 1))
        for slot in range(SLOTS):
            prefix = np.column_stack([member, columns[:, :slot]])
            known, row = np.unique(prefix, axis=0, return_inverse=True)
            asked = np.zeros((len(known), SLOTS), dtype=np.int64)
            asked[:, :slot] = known[:, 1:]
            table = np.zeros((len(known), chances.shape[2]))
            for column in range(self.chance.shape[1]):
                asked[:, slot] = column
                chance = np.exp(self.log_prob(1, known[:, 0], asked)[:, slot])
                table[np.arange(len(known)), self.sales[known[:, 0], column]] = chance
            chances[:, slot] = table[row]
        return chances.reshape(-1, chances.shape[2])


def drawn_shop(
    seed: int, *, members: int = 40, width: int = 6, temperature: float = 1.0
) -> KnownShop:
    """Draw a shop by chance; the target's temperature is `temperature`, that of the log 1.5."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(1.5, 8.0, (members, width))
    told = [chance * rng.lognormal(0.0, noise, chance.shape) for noise in (0.6, 0.3)]
    unit = rng.normal(size=(1, width, 4))
    return _shop(
        chance,
        told,
        sales=np.tile(np.arange(width), (members, 1)),
        unit=(unit / np.linalg.norm(unit, axis=2, keepdims=True)).astype(np.float32),
        category=rng.integers(0, 3, (1, width)),
        temperatures=(1.5, temperature),
    )


def flash_sales_shop(
    seed: int, *, members: int = 200, width: int = 8, temperature: float = 1.0
) -> KnownShop:
    """Take members of the simulated retailer before the best sales of a noon, with its truth."""
    played = play(FlashSales(size="small", seed=seed))
    tables = played.tables()
    now = played.world.noon(played.states[-1].day - 1)
    opens, closes = (
        tables.sales[name].dt.epoch("us").to_numpy() for name in ("opens_at", "closes_at")
    )
    shelf = np.flatnonzero((opens <= now) & (closes > now))
    ids = [f"m{row:06d}" for row in range(members)]
    names = tables.sales["sale"].to_numpy()[shelf]
    truth, visible = (
        played.truth.scores(ids, names, now, what="click", visible=known) for known in (False, True)
    )
    best = np.argsort(-visible, axis=1, kind="stable")[:, :width]
    chance = np.take_along_axis(truth, best, axis=1).astype(np.float64)
    rng = np.random.default_rng(seed)
    seen = np.take_along_axis(visible, best, axis=1)
    told = [seen * rng.lognormal(0.0, noise, seen.shape) for noise in (0.6, 0.3)]
    rows = played.truth.sale_rows(names)
    style = played.truth.styles[rows]
    style /= np.linalg.norm(style, axis=1, keepdims=True)
    category = (
        tables.sales["category"].rank("dense").fill_null(0).to_numpy()[shelf].astype(np.int64)
    )
    return _shop(
        chance,
        told,
        sales=best,
        unit=style[best].astype(np.float32),
        category=category[best],
        temperatures=(1.5, temperature),
    )


def _shop(
    chance: F64,
    told: list[F64],
    *,
    sales: I64,
    unit: F32,
    category: I64,
    temperatures: tuple[float, float],
) -> KnownShop:
    offers = [_offer(each.astype(np.float32), unit, category) for each in told]
    log = SlatePolicy(SLOTS, Mmr(), temperature=temperatures[0])
    target = SlatePolicy(SLOTS, TopK(), temperature=temperatures[1])
    return KnownShop(chance, sales, (offers[0], offers[1]), (log, target))


def _offer(value: F32, unit: F32, category: I64) -> Offer:
    eligible = np.ones(value.shape, dtype=np.bool_)
    one = np.ones((1, 1), dtype=np.float32)
    return Offer(
        parts=parts(value, np.zeros_like(value), fatigue=one, boost=one, novelty=0.0),
        eligible=eligible,
        sigma=sigma(value, eligible, median=0.1),
        view=ShelfView(unit=unit, num_members=len(value)),
        brand=category,
        category=category,
    )
