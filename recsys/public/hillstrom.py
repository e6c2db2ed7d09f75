"""Customers of Hillstrom's e-mail experiment in, a log with propensities and a target out."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Literal

import polars as pl

from recsys.domain.spec import Spec
from recsys.public.files import origin, present

FILE = "hillstrom.parquet"
MD5 = "a3c81e1a4132db717b122c42b25f9b32"
"""The file that our figures are of: 32,085 of the experiment's customers."""
ARMS = {"none": "No E-Mail", "mens": "Mens E-Mail", "womens": "Womens E-Mail"}
LOG_CHANCE = -log(len(ARMS))
"""Each customer was sent one of three, drawn with equal chances."""
ABOUT = (
    "recency",
    "history_segment",
    "history",
    "mens",
    "womens",
    "zip_code",
    "newbie",
    "channel",
)


class Hillstrom(Spec):
    """MineThatData's e-mail experiment (Hillstrom 2008): 32,085 customers, three arms by chance.

    File: hillstrom.parquet; published openly, no licence stated.
    Columns: what is known of a customer from before (months since the last purchase, spend of the
    year, what was bought, region, channel), the arm, and visit, conversion and spend in the two
    weeks after.
    Protocol: a policy says whom to send what. Each arm had a chance of 1/3, so any policy can be
    judged: write its log chances into `target_log_prob`. Here it sends `arm` to everybody, and
    `none_log_prob` is that of sending nothing.
    """

    kind: Literal["hillstrom"] = "hillstrom"
    root: str = "data/hillstrom"
    """Folder of hillstrom.parquet."""
    arm: Literal["none", "mens", "womens"] = "mens"
    """What the target sends to everybody."""
    outcome: Literal["visit", "conversion", "spend"] = "visit"
    """What counts: a visit, a purchase, or what it came to in dollars."""


def logged(source: Hillstrom) -> pl.DataFrame:
    """Read the log: member, arm, reward, the chances, what is known of customers, all outcomes.

    Raises:
        SettingError: the file is not there.
    """
    (path,) = present(Path(source.root), (FILE,), data=source.kind)
    names = {title: arm for arm, title in ARMS.items()}
    arm = pl.col("segment").replace_strict(names)
    return pl.read_parquet(path).select(
        member=pl.int_range(pl.len(), dtype=pl.Int64),
        arm=arm,
        reward=pl.col(source.outcome),
        log_propensity=pl.lit(LOG_CHANCE),
        target_log_prob=_always(arm == source.arm),
        none_log_prob=_always(arm == "none"),
        **{name: pl.col(name) for name in (*ABOUT, "visit", "conversion", "spend")},
    )


def notes(source: Hillstrom) -> tuple[str, ...]:
    """Say which bytes the log is, and whether they are those of our figures.

    Raises:
        SettingError: the file is not there.
    """
    (path,) = present(Path(source.root), (FILE,), data=source.kind)
    told = origin(path)
    return (told if told.endswith(MD5) else f"{told}, not the file of our figures",)


def _always(sent: pl.Expr) -> pl.Expr:
    """Return the log chance of a policy that always sends this."""
    return pl.when(sent).then(0.0).otherwise(float("-inf"))
