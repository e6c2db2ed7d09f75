"""A ranker and the shop's rules and promises in, a ranker that obeys them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from recsys.campaign.audience import Audience
from recsys.campaign.bounds import Exposure
from recsys.campaign.promise import priced, promises_of
from recsys.campaign.spec import Campaign, Promised
from recsys.domain.arrays import F32, I32
from recsys.domain.errors import SettingError
from recsys.domain.ties import keyed
from recsys.rerank.groups import segments_of
from recsys.rerank.house import House, vocabs
from recsys.rerank.ranker import Ranker
from recsys.rerank.rules import Rules
from recsys.serve.parts import info_of
from recsys.towers.embed import Embedder

SAMPLED = 20_000
"""Members whose slates tell who will see each sale; exact figures come with the audience's."""


def housed(
    ranker: Ranker, embedder: Embedder, *, spec: Campaign, tell: Callable[[str], None]
) -> Ranker:
    """Return the ranker under the editors' rules and the prices of what is promised.

    Prices are set for the newest shelf of the embedder's dataset, and told.

    Raises:
        DataRefusedError: a rule cannot be followed.
        GateError: no slates can keep the promises.
    """
    dataset = embedder.dataset
    info = info_of(dataset)
    house = House(info=info.select("sale", "brand", "category"), rules=rules(spec.rules, info))
    if len(house.rules):
        tell(f"  rules    {len(house.rules)} of editors, from {spec.rules}")
    ranker = ranker.with_house(house)
    if not isinstance(spec, Promised):
        return ranker
    who = audience_of(embedder, most=spec.sample)
    segment = segments_of(spec.segments, dataset.members)
    promises, notes = promises_of(spec, who.shop.shelf(who.at), info)
    asked = Exposure.of_members(promises, segment[who.members])
    promises, lines = promises.about(asked.members)
    for note in (*notes, *lines):
        tell(f"  promises {note}")
    if not promises.bounds:
        return ranker
    prices, missed = priced(ranker, who, promises, segment=segment, spec=spec)
    what = f"{len(promises.bounds)} bounds, {np.count_nonzero(prices.floor + prices.cap)} priced"
    tell(f"  promises {what}, missed by at most {prices.violation:.4f}")
    for line in missed:
        tell(f"           {line}")
    return ranker.with_house(replace(house, prices=prices, segments=spec.segments, segment=segment))


def audience_of(embedder: Embedder, *, most: int = SAMPLED) -> Audience:
    """Return members who consent, a sample of at most so many, before the newest shelf."""
    dataset = embedder.dataset
    at = dataset.watermark
    vectors = embedder.sales(dataset.shelf(at).sales, at)

    def taste_of(members: I32) -> F32:
        return embedder.members(members, at) @ vectors.T

    consent = dataset.members["consent_personalise"].to_numpy()
    everyone = np.flatnonzero(consent)
    drawn = np.argsort(keyed(5, everyone), kind="stable")[:most]
    return Audience(
        shop=dataset.shop,
        at=at,
        members=np.sort(everyone[drawn]).astype(np.int32),
        taste_of=taste_of,
        unit=vectors[:, : embedder.unit_dims],
    )


def rules(path: str, info: pl.DataFrame) -> Rules:
    """Read editors' rules; an empty path is none.

    Raises:
        SettingError: there is no such file.
        DataRefusedError: a rule cannot be followed.
    """
    if not path:
        return Rules.none()
    file = Path(path)
    if not file.is_file():
        raise SettingError(
            f"campaign.rules={path}: no such file", "name a parquet or CSV file, or leave it empty"
        )
    read = pl.read_parquet if file.suffix == ".parquet" else _csv
    return Rules.of(read(file), **vocabs(info))


def _csv(file: Path) -> pl.DataFrame:
    return pl.read_csv(file, infer_schema=False)
