"""Newcomers as hypothesis makes them up, and the same people as members of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from recsys.data.contract import check
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, HOUR, Channel, Events, Kind
from recsys.domain.schema import Instant, Numeric, Text, Vector
from recsys.domain.source import Source
from recsys.domain.tables import Tables
from tests.builders import SCHEMA, tiny_tables

FACE = 3
RICH = SCHEMA.model_copy(
    update={
        "members": (
            *SCHEMA.members,
            Numeric(column="spent", log=True, buckets=4),
            Text(column="motto"),
            Vector(column="face", dim=2),
            Instant(column="born_at"),
        )
    }
)


@dataclass(frozen=True)
class Told:
    """What one newcomer tells."""

    features: dict[str, Any]
    past: tuple[tuple[int, int, int, int], ...]
    """(at, sale row, kind, channel) of engagements."""


def rich_tables(members: int = 60, days: int = 10) -> Tables:
    """A tiny shop whose members are described in every kind of column."""
    tables, rng = tiny_tables(members=members, days=days), np.random.default_rng(5)
    assert tables.members is not None
    known = rng.random(members) < 0.8
    face = [
        list(row) if k else None
        for row, k in zip(rng.normal(size=(members, FACE)), known, strict=True)
    ]
    born = datetime(1980, 1, 1, tzinfo=UTC)
    frame = tables.members.with_columns(
        pl.Series("spent", np.where(known, rng.exponential(80, members), np.nan)).fill_nan(None),
        pl.Series(
            "motto", [("Less is more", "carpe diem!", None)[row % 3] for row in range(members)]
        ),
        pl.Series("face", face, dtype=pl.List(pl.Float32)),
        pl.Series(
            "born_at", [born + timedelta(hours=int(h)) for h in rng.integers(0, 90_000, members)]
        ),
    )
    return replace(tables, members=frame, schema=RICH)


def rich_dataset(members: int = 60, days: int = 10) -> Dataset:
    """The checked dataset of `rich_tables`."""
    return check(rich_tables(members, days), Source()).dataset


words = st.one_of(
    st.sampled_from(["region 0", "region 2", "category 1", "category 4", " ", ""]),
    st.text(max_size=12),
)
numbers = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 7.0, 12.5])
described = st.fixed_dictionaries(
    {},
    optional={
        "region": st.none() | words,
        "likes": st.none() | st.lists(words, max_size=4),
        "spent": st.none() | numbers,
        "motto": st.none() | st.text(st.characters(codec="ascii"), max_size=20),
        "face": st.none() | st.lists(st.floats(-9, 9, width=32), min_size=FACE, max_size=FACE),
        "born_at": st.none()
        | st.datetimes(datetime(1930, 1, 1), datetime(2020, 1, 1)).map(  # ruff: ignore[call-datetime-without-tzinfo]  # hypothesis wants it so
            lambda at: at.replace(tzinfo=UTC, microsecond=0)
        ),
    },
)


def pasts(dataset: Dataset, most: int = 12) -> st.SearchStrategy[Any]:
    """Engagements with sales of a dataset around its last instants, after it too."""
    last = dataset.watermark
    kinds = [Kind.VIEW, Kind.MAIL_CLICK, Kind.WAIT_LIST, Kind.CART, Kind.PURCHASE]
    event = st.tuples(
        st.integers(last - 400 * DAY, last + HOUR) | st.sampled_from([last, last - 1, last - HOUR]),
        st.integers(0, dataset.num_sales - 1),
        st.sampled_from([int(kind) for kind in kinds]),
        st.sampled_from([int(channel) for channel in Channel]),
    )
    return st.lists(event, max_size=most, unique_by=itemgetter(slice(3))).map(
        lambda e: tuple(sorted(e))
    )


def newcomers(dataset: Dataset, *, most: int = 6) -> st.SearchStrategy[list[Told]]:
    """Some newcomers, those who tell nothing among them."""
    return st.lists(st.builds(Told, described, pasts(dataset)), min_size=1, max_size=most)


def as_members(dataset: Dataset, told: Sequence[Told]) -> Dataset:
    """The dataset with these people as its only members."""
    fixed = {"consent_personalise": True, "consent_mail": True}
    rows = [{"member": f"n{row}", **fixed, **one.features} for row, one in enumerate(told)]
    schema = dataset.members.schema
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    nothing_shown = dataset.exposures.clear()
    return replace(dataset, members=frame, events=past_of(told), exposures=nothing_shown)


def past_of(told: Sequence[Told]) -> Events:
    """Their engagements as events."""
    every = np.array([event for one in told for event in one.past], dtype=np.int64).reshape(-1, 4)
    counts = [len(one.past) for one in told]
    return Events(
        sale=every[:, 1].astype(np.int32),
        at=every[:, 0].copy(),
        kind=every[:, 2].astype(np.uint8),
        channel=every[:, 3].astype(np.uint8),
        flags=np.zeros(len(every), dtype=np.uint8),
        value=np.zeros(len(every), dtype=np.float32),
        member_ptr=np.cumsum([0, *counts]).astype(np.int64),
    )
