"""Logs with propensities, made by hand: files as the loaders read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from recsys.campaign.slate_columns import KEY, OUTCOMES, SLATE_LOG, kinds_of
from recsys.campaign.slate_shards import write_shard
from recsys.domain.ties import uniform
from recsys.evaluate.by_context import AT_DIAL, OWN
from recsys.public.hillstrom import ABOUT as OF_CUSTOMERS
from recsys.public.hillstrom import ARMS
from recsys.public.open_bandit import ABOUT

NOON = datetime(2026, 3, 1, 11, tzinfo=UTC)
SHARDS = 3


def open_bandit(folder: Path, rows: int = 6_000) -> Path:
    """Two policies over four items at three places; bts loves the first two items."""
    for which, (policy, chances) in enumerate(
        {"random": [0.25] * 4, "bts": [0.4, 0.4, 0.1, 0.1]}.items()
    ):
        item = np.searchsorted(np.cumsum(chances), uniform(1, which, np.arange(rows)))
        pl.DataFrame({
            "timestamp": ["2019-11-24 00:00:00.5+00:00"] * rows,
            "item_id": item,
            "position": 1 + np.arange(rows) % 3,
            "click": (uniform(2, which, np.arange(rows)) < 0.02 + 0.04 * (item == 1)) * 1,
            "propensity_score": np.array(chances)[item],
            **{name: ["81ce"] * rows for name in ABOUT},
        }).write_csv(folder / f"{policy}_men.csv.gz", compression="gzip")
        pl.DataFrame({"item_id": range(4)}).write_csv(
            folder / f"{policy}_men_item_context.csv.gz", compression="gzip"
        )
    return folder


def hillstrom(folder: Path, rows: int = 6_000) -> pl.DataFrame:
    """Arms in turn; men's mail brings visits."""
    arm = np.arange(rows) % 3
    visit = (uniform(3, np.arange(rows)) < np.array([0.1, 0.2, 0.15])[arm]) * 1
    made = pl.DataFrame({
        **{name: [1] * rows for name in OF_CUSTOMERS},
        "segment": np.array(list(ARMS.values()))[arm].tolist(),
        "visit": visit,
        "conversion": visit // 2,
        "spend": visit * 10.0,
    })
    made.write_parquet(folder / "hillstrom.parquet")
    return made


def slate_log(folder: Path, members: int = 3_000) -> dict[str, pl.DataFrame]:
    """Two places of three sales drawn in turn; every 200th member has a repaired slot.

    A tenth of the members is sent nothing. Bought was every third slot. The target doubles the
    chance of the first sale at the first place. Written as `log/`, outcomes.parquet and
    target.parquet; returned too.
    """
    sent = np.arange(members) % 10 > 0
    first = (3 * uniform(4, np.arange(members))).astype(np.int64)
    second = (first + 1 + (2 * uniform(5, np.arange(members))).astype(np.int64)) % 3
    rows = pl.concat([
        _log(np.flatnonzero(sent), 0, first[sent], 1 / 3),
        _log(np.flatnonzero(sent), 1, second[sent], 1 / 2),
        _log(np.flatnonzero(~sent), -1, first[~sent], 1.0),
    ])
    for shard in range(SHARDS):
        mine = pl.col("member_id").str.slice(1).cast(pl.Int64) % SHARDS == shard
        write_shard(rows.filter(mine), folder / "log", shard=shard)
    shown = rows.filter(pl.col("slot") >= 0)
    outcomes = bought_from(shown[::3])
    target = shown.select(
        *KEY,
        target_log_prob=pl
        .when(pl.col("slot") == 1)
        .then(pl.lit(0.5).log())
        .when(pl.col("sale_id") == "s0")
        .then(pl.lit(0.5).log())
        .otherwise(pl.lit(0.25).log()),
    )
    outcomes.write_parquet(folder / "outcomes.parquet")
    target.write_parquet(folder / "target.parquet")
    return {"shown": shown, "outcomes": outcomes, "target": target}


def _log(member: np.ndarray, slot: int, sale: np.ndarray, chance: float) -> pl.DataFrame:
    repaired = (member % 200 == 7) & (slot == 1)
    known = {
        "send_id": ["friday"] * len(member),
        "decided_at": [NOON] * len(member),
        "delivered_for": [NOON] * len(member),
        "member_id": [f"m{row}" for row in member],
        "slot": [slot] * len(member),
        "sale_id": [f"s{row}" for row in sale],
        "log_propensity": pl.Series(np.where(repaired, np.nan, np.log(chance)), nan_to_null=True),
        "repaired": repaired,
    }
    return _whole(pl.DataFrame(known))


def _whole(known: pl.DataFrame) -> pl.DataFrame:
    """Add the columns of the contract that are not there: empty texts, zeros, no lists."""
    blank = {pl.String(): "", pl.Boolean(): False, pl.List(pl.Float32()): None}
    return known.select(
        (
            pl.col(one.name)
            if one.name in known.columns
            else pl.lit(blank.get(one.dtype, 0), dtype=one.dtype).alias(one.name)
        ).cast(one.dtype)
        for one in SLATE_LOG
    )


def with_dials(
    folder: Path, slates: pl.DataFrame, *, own: float = 0.7, swapped: float = 0.0, day: int = 0
) -> None:
    """Write slates in the columns of `recsys.evaluate.by_context` as a log and its outcomes.

    Of a share of the members a sale was swapped afterwards.
    """
    number = slates["member"].str.slice(1).cast(pl.Int64).to_numpy()
    kept = pl.Series(uniform(8, number) >= swapped)
    rows = _whole(
        slates.select(
            "slot",
            "context",
            send_id="send",
            decided_at=pl.lit(NOON + timedelta(days=day)),
            delivered_for=pl.lit(NOON + timedelta(days=day)),
            member_id="member",
            channel=pl.lit("mail"),
            sale_id=pl.lit("s0"),
            dial=pl.lit(0.7),
            dial_own=pl.lit(own),
            log_propensity=pl.when(kept).then("log_propensity"),
            repaired=~kept,
            by_dial=pl.when(kept).then(pl.concat_list(OWN, *AT_DIAL)),
        )
    )
    write_shard(rows, folder / "log", shard=0)
    bought_from(rows.filter(slates["reward"] > 0)).write_parquet(folder / "outcomes.parquet")


def bought_from(keys: pl.DataFrame) -> pl.DataFrame:
    """Outcomes of some rows of a log: a purchase five minutes after delivery."""
    kinds = kinds_of(OUTCOMES)
    return keys.select(
        *KEY,
        opened=True,
        clicked=True,
        visited=False,
        bought=True,
        margin=pl.lit(2.5, pl.Float32),
        unsubscribed=False,
        at=(pl.col("delivered_for") + timedelta(minutes=5)).cast(kinds["at"]),
    ).select(*kinds)
