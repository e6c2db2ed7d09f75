"""Bundles whose vectors and tower are of one model, and people to ask them for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from recsys.domain.dataset import Dataset
from recsys.domain.events import Channel, Kind
from recsys.domain.slates import Slates
from recsys.rerank.calibrate import Calibrator
from recsys.rerank.ranker import Ranker
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend
from recsys.rerank.value import FittedValue, Logistic
from recsys.retrieval.index import build
from recsys.retrieval.spec import Exact
from recsys.serve.asks import Touch
from recsys.serve.newcomer import Newcomer
from recsys.serve.parts import BundleParts
from tests.serve.conftest import parts_of
from tests.towers.carrying import Made

STILL = Blend(explore_share=0.0, fatigue=1.0)
"""No luck and no record of showings: what a past and features alone decide."""


def ranker_of(spec: Blend) -> Ranker:
    """Value that every signal moves."""
    weight = np.random.default_rng(4).normal(size=len(NAMES)) * 0.3
    plain = Calibrator(x=np.zeros(0), y=np.zeros(0))
    model = Logistic(mean=np.zeros(len(NAMES)), weight=weight, offset=-3.0)
    return Ranker(spec, FittedValue(model, (plain, plain), "purchase"), 0.02)


def whole(one: Made, spec: Blend = STILL) -> BundleParts:
    """All parts of a bundle, vectors and tower of one model."""
    dataset, at = one.dataset, one.dataset.watermark
    sales = one.embedder.embeddings_sales(np.arange(dataset.num_sales), at)
    return replace(
        parts_of(dataset),
        members=one.embedder.embeddings_members(np.arange(dataset.num_members), at),
        sales=sales,
        index=build(Exact(), sales.vectors),
        ranker=ranker_of(spec),
        towers=one.tower,
    )


def as_newcomer(dataset: Dataset, member: int) -> Newcomer:
    """A member, described as if nobody knew them."""
    history = dataset.history
    past = range(int(history.member_ptr[member]), int(history.member_ptr[member + 1]))
    row = dataset.members.row(member, named=True)
    return Newcomer(
        history=tuple(
            Touch(
                sale=str(dataset.sales["sale"][int(history.sale[event])]),
                kind=Kind(history.kind[event]).name.lower(),
                at=int(history.at[event]),
                channel=Channel(history.channel[event]).name.lower(),
            )
            for event in past
        ),
        features={name: row[name] for name in ("region", "likes")},
    )


def same(found: Slates, expected: Slates) -> None:
    np.testing.assert_array_equal(found.sales, expected.sales)
    np.testing.assert_allclose(found.gains, expected.gains, atol=1e-5)
    np.testing.assert_allclose(found.parts, expected.parts, atol=1e-5)
    np.testing.assert_array_equal(found.reason, expected.reason)
    np.testing.assert_array_equal(found.evidence, expected.evidence)


def part_of(slates: Slates, row: int) -> Slates:
    """One row of slates."""
    fields = {name: getattr(slates, name)[row : row + 1] for name in Slates.__dataclass_fields__}
    return Slates(**fields)


def touch(**said: Any) -> Touch:
    return Touch(**{"kind": "view", "at": "2026-03-25T12:00:00+01:00", "sale": "s0001"} | said)


def strangers(count: int) -> list[Newcomer]:
    return [
        Newcomer(
            history=(
                touch(sale=f"s{row % 40:04d}"),
                touch(sale=f"s{row % 7:04d}", kind="purchase"),
            ),
            features={"region": f"region {row % 5}"},
            member=f"n{row}",
        )
        for row in range(count)
    ]


def a_click_later(one: Newcomer) -> Newcomer:
    """The same caller a click later."""
    return msgspec.structs.replace(one, history=(*one.history, touch(sale="s0011")))
