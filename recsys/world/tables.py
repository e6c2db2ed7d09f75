"""What the shop has on record of a played past, with the errors that records have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from recsys.domain.arrays import F32, I64, NONE, Bool
from recsys.domain.events import Channel, Kind
from recsys.domain.schema import Bag, Categorical, Numeric, Schema, Text
from recsys.domain.tables import Tables
from recsys.world.draws import Luck, draw, draws
from recsys.world.log import FLAG_FOUND, Log
from recsys.world.people import joined, member_features
from recsys.world.records import MISSING, absent, blurred, instants, named
from recsys.world.retailer import World
from recsys.world.state import NEVER, State
from recsys.world.words import CATEGORIES, DEPARTMENTS, SEASONS, STYLES, TITLES

SCHEMA = Schema(
    members=(
        Categorical(column="gender"),
        Categorical(column="age_band"),
        Categorical(column="region"),
        Categorical(column="device"),
        Categorical(column="came_by"),
        Bag(column="preferences", shares="category"),
        Bag(column="follows", shares="brand"),
        Categorical(column="income_band", sensitive=True),
        Categorical(column="has_children", sensitive=True),
    ),
    sales=(
        Categorical(column="category", shares="category"),
        Categorical(column="department"),
        Categorical(column="season"),
        Numeric(column="discount", buckets=8),
        Text(column="title"),
    ),
    category="category",
)


def make_tables(world: World, log: Log, state: State) -> Tables:
    """Return the tables of a played past up to the noon that `state` stands at."""
    everybody = Some(0, len(world.members))
    return replace(
        shop_tables(world, state),
        members=members_table(world, state, everybody),
        events=events_table(world, log, everybody),
        exposures=exposures_table(world, log, everybody),
        identities=identities_table(world, everybody),
    )


def shop_tables(world: World, state: State) -> Tables:
    """Return the tables that do not speak of members: sales, curation, stock; no events."""
    watermark = world.noon(state.day)
    known = np.flatnonzero(world.sales.opens_at < watermark)
    return Tables(
        name="flash_sales",
        zone=world.spec.zone,
        schema=SCHEMA,
        sales=_sales(world, known),
        events=pl.DataFrame(),
        curation=_curation(world, known),
        stock=_stock(world, state, known=known),
        watermark=instants(np.array([watermark])).item(),
        notes=("a simulated retailer: the truth behind it is known",),
    )


class Some:
    """Some members in a row, and their ids as text: with the shop they have another."""

    def __init__(self, first: int, end: int) -> None:
        """Name the members from row `first` to before row `end`."""
        self.first = first
        self.rows: I64 = np.arange(first, end)
        digits = _digits(self.rows, 6)
        self.ids: pl.Series = "m" + digits
        self.in_shop: pl.Series = "k" + digits.str.reverse()

    def gather(self, ids: pl.Series, rows: np.ndarray) -> pl.Series:
        """Take the ids of rows of the world."""
        return ids.gather(rows - self.first)


def _digits(rows: np.ndarray, width: int) -> pl.Series:
    return pl.Series(rows).cast(pl.String).str.zfill(width)


def _sale_ids(world: World) -> pl.Series:
    return "s" + _digits(np.arange(len(world.sales)), 5)


def members_table(world: World, state: State, some: Some) -> pl.DataFrame:
    """Write down those of some members who have joined."""
    rows = some.rows[: max(0, joined(world, state) - some.first)]
    return member_features(world, state, rows, ids=some.ids[: len(rows)])


def events_table(world: World, log: Log, some: Some) -> pl.DataFrame:
    """Write events of some down: purchases in the shop under the id that the shop knows."""
    in_shop = pl.Series(log.channel == Channel.SHOP)
    member, shop = some.gather(some.ids, log.member), some.gather(some.in_shop, log.member)
    sale = pl.Series(np.where(log.sale == NONE, 0, log.sale))
    bought = log.kind == Kind.PURCHASE
    price = np.where(bought, np.round(world.sales.price[log.sale].astype(np.float64), 2), 0.0)
    nothing = pl.Series([None], dtype=pl.String)
    return pl.DataFrame({
        "member": shop.zip_with(in_shop, member) if len(log) else member,
        "sale": _sale_ids(world).gather(sale).zip_with(pl.Series(log.sale != NONE), nothing),
        "kind": named(log.kind, [kind.name.lower() for kind in Kind]),
        "at": instants(log.at),
        "channel": named(log.channel, [channel.name.lower() for channel in Channel]),
        "value": price,
        "is_machine": log.flags & FLAG_FOUND > 0,
        "id_source": pl.Series(["shop"]).zip_with(in_shop, nothing),
    })


def exposures_table(world: World, log: Log, some: Some) -> pl.DataFrame:
    """Write down what was rendered, place by place, with its propensity."""
    days = [f"d{day:03d}" for day in range(int(log.shown_day.max(initial=0)) + 1)]
    mail = log.shown_channel == Channel.MAIL
    sends = [f"{day}-{where}" for where in ("page", "mail") for day in days]
    return pl.DataFrame({
        "member": some.gather(some.ids, log.shown_member),
        "sale": _sale_ids(world).gather(log.shown_sale),
        "at": instants(log.shown_at),
        "send": named(log.shown_day + len(days) * mail, sends),
        "slot": log.shown_slot,
        "channel": named(mail.astype(np.int64), ["web", "mail"]),
        "propensity": np.minimum(log.shown_propensity.astype(np.float64), 1.0),
    })


def _sales(world: World, rows: I64) -> pl.DataFrame:
    """Write sales down: five in a hundred fields missing, one wrong."""
    sales, brands = world.sales, world.brands
    key = sales.key[rows]
    names = pl.Series(brands.names, dtype=pl.String).gather(sales.brand[rows])
    category = np.array([name for name, _, _ in CATEGORIES])[sales.category[rows]]
    department = np.array(DEPARTMENTS)[brands.department[sales.brand[rows]]]
    season = np.array(SEASONS)[sales.season[rows]]
    discount = np.round(sales.discount[rows].astype(np.float64), 2)
    return pl.DataFrame({
        "sale": _sale_ids(world).gather(rows),
        "brand": absent(names, draw(key, Luck.SALE_ERROR, 0) < MISSING / 5),
        "opens_at": instants(sales.opens_at[rows]),
        "closes_at": instants(sales.closes_at[rows]),
        "price": np.round(sales.price[rows].astype(np.float64), 2),
        "title": _titles(world, rows, names),
        "category": blurred(category, key, Luck.SALE_ERROR, 1),
        "department": blurred(department, key, Luck.SALE_ERROR, 2),
        "season": blurred(season, key, Luck.SALE_ERROR, 3),
        "discount": absent(pl.Series(discount), draw(key, Luck.SALE_ERROR, 4) < MISSING),
    })


def _titles(world: World, rows: I64, names: pl.Series) -> pl.Series:
    """Write titles: words of its nearest styles (four in five), its category and its brand."""
    sales = world.sales
    luck = draws(sales.key[rows], 8, Luck.WORDS)
    gaps = ((sales.style[rows][:, None] - world.brands.centres[None]) ** 2).sum(axis=2)
    near = np.argsort(gaps, axis=1)
    style_words = np.array(STYLES)

    def word(nth: int, luck: F32) -> np.ndarray:
        stray = np.floor(luck[:, 0] * 5 * len(STYLES)).astype(np.int64)
        style = np.where(luck[:, 0] < 0.2, stray % len(STYLES), near[:, nth])
        place = np.floor(luck[:, 1] * style_words.shape[1]).astype(np.int64)
        words: np.ndarray = style_words[style, place]
        return words

    nouns = np.array([words for _, _, words in CATEGORIES])
    noun = nouns[sales.category[rows], np.floor(luck[:, 4] * 3).astype(np.int64)]
    first, second = pl.Series(word(0, luck[:, :2])), pl.Series(word(1, luck[:, 2:4]))
    first = first.str.head(1).str.to_uppercase() + first.str.slice(1)
    words = pl.DataFrame({"style": first, "second": second, "noun": noun, "brand": names})
    forms = [pl.format(form, *columns) for form, columns in TITLES]
    which = pl.Series(np.floor(luck[:, 5] * len(forms)).astype(np.int64))
    chosen = pl.coalesce(
        pl.when(pl.lit(which) == number).then(form) for number, form in enumerate(forms)
    )
    return words.select(chosen.alias("title")).to_series()


def _curation(world: World, rows: I64) -> pl.DataFrame:
    """Write down what editors picked, from opening to closing."""
    picked = rows[world.sales.curated[rows]]
    return pl.DataFrame({
        "sale": _sale_ids(world).gather(picked),
        "from_at": instants(world.sales.opens_at[picked]),
        "until_at": instants(world.sales.closes_at[picked]),
    })


def _stock(world: World, state: State, *, known: I64) -> pl.DataFrame:
    """Write stock down: what each sale opened with, and when nothing was left."""
    gone = np.flatnonzero(state.sold_out_at != NEVER)
    return pl.DataFrame({
        "sale": _sale_ids(world).gather(np.concatenate([known, gone])),
        "at": instants(np.concatenate([world.sales.opens_at[known], state.sold_out_at[gone]])),
        "left": np.concatenate([world.sales.stock[known], np.zeros(len(gone), dtype=np.int64)]),
    })


def identities_table(world: World, some: Some) -> pl.DataFrame:
    """Map shop ids to members: one in twenty is missing, one in fifty names somebody else."""
    members = world.members
    rows = some.rows[members.in_shop[some.first : some.first + len(some.rows)]]
    luck = draws(members.key[rows], 2, Luck.FEATURE, 90)
    other = np.floor(luck[:, 1] * len(members)).astype(np.int64)
    whose = np.where(luck[:, 0] > 0.98, other, rows)
    kept: Bool = luck[:, 0] >= 0.05
    return pl.DataFrame({
        "source": pl.repeat("shop", int(kept.sum()), eager=True),
        "id": some.gather(some.in_shop, rows[kept]),
        "member": "m" + _digits(whose[kept], 6),
    })
