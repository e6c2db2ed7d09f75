"""Showings of the Open Bandit sample in, a log with propensities and a target policy out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from recsys.domain.arrays import F64
from recsys.domain.spec import Spec
from recsys.public.files import origin, present

Policy = Literal["random", "bts"]
MD5 = {
    "bts_all.csv.gz": "b9e6c27b0070e26950697aafc99b8837",
    "bts_men.csv.gz": "0f0d4dc7f163407cea7be3d5b6dc0d78",
    "bts_women.csv.gz": "f0232de81875a65b73c4fdd07c6a6ed5",
    "random_all.csv.gz": "aa84a8e5858c333f416cbd063f21e226",
    "random_men.csv.gz": "c7ba5ad74f20c1407cdec0586b1dee02",
    "random_women.csv.gz": "3e1512288ae2e4bed9725d93a7313dc1",
}
"""The files that our figures are of: the sample inside the wheel obp 0.4.1."""
SLOTS = 3
ABOUT = ("user_feature_0", "user_feature_1", "user_feature_2", "user_feature_3")
READ = ("timestamp", "item_id", "position", "click", "propensity_score", *ABOUT)


class OpenBandit(Spec):
    """Open Bandit, the small sample: 10,000 showings a file of ZOZOTOWN's fashion page, 2019.

    Files: {random,bts}_{all,men,women}.csv.gz and their _item_context.csv.gz; data under CC BY 4.0
    as its page says (Saito et al. 2021).
    Columns: a showing is one place of three, with the chance that the logging policy gave the
    item there. Nobody is known twice, so each showing is a member of its own. Four hashed
    features of the visitor are kept; affinities are not.
    Protocol: judge one policy by the log of the other; the click rate of the target's own log is
    the truth, and with 38 to 69 clicks a file it is itself known to 12 to 16 % only. That proves
    a formula right or wrong, never a policy better.
    """

    kind: Literal["open_bandit"] = "open_bandit"
    root: str = "data/open-bandit"
    """Folder of the files."""
    campaign: Literal["all", "men", "women"] = "men"
    """80, 34 or 46 items."""
    log: Policy = "random"
    """Whose log: random = uniform, bts = Bernoulli Thompson sampling."""
    target: Policy = "bts"
    """In question. For bts, the shares of items by place in its own log: the policy learned all
    week, and these are its mean."""


def logged(source: OpenBandit) -> pl.DataFrame:
    """Read a log: member, at, slot (from 0), sale (item number), reward (click), chances, features.

    Raises:
        SettingError: the files are not there.
    """
    rows = _rows(source, source.log)
    chance = target_chances(source)[rows["slot"].to_numpy(), rows["sale"].to_numpy()]
    with np.errstate(divide="ignore"):
        # what the target never shows
        target = np.log(chance)
    return rows.with_columns(target_log_prob=target)


def target_chances(source: OpenBandit) -> F64:
    """Return the target's chance of each item at each slot, F64[SLOTS, items].

    Raises:
        SettingError: the files are not there.
    """
    context = f"{source.log}_{source.campaign}_item_context.csv.gz"
    (path,) = present(Path(source.root), (context,), data=source.kind)
    num_items = pl.read_csv(path, columns=["item_id"])["item_id"].n_unique()
    if source.target == "random":
        return np.full((SLOTS, num_items), 1 / num_items)
    shown = _rows(source, source.target)
    cell = shown["slot"].to_numpy() * num_items + shown["sale"].to_numpy()
    counts = np.bincount(cell, minlength=SLOTS * num_items).reshape(SLOTS, num_items)
    shares: F64 = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def notes(source: OpenBandit) -> tuple[str, ...]:
    """Say which bytes the log and the target's log are, and whether they are those of our figures.

    Raises:
        SettingError: the files are not there.
    """
    names = tuple(f"{policy}_{source.campaign}.csv.gz" for policy in (source.log, source.target))
    told = map(origin, present(Path(source.root), names, data=source.kind))
    return tuple(
        text if text.endswith(MD5[name]) else f"{text}, not the file of our figures"
        for name, text in zip(names, told, strict=True)
    )


def _rows(source: OpenBandit, policy: Policy) -> pl.DataFrame:
    name = f"{policy}_{source.campaign}.csv.gz"
    (path,) = present(Path(source.root), (name,), data=source.kind)
    return pl.read_csv(path, columns=list(READ)).select(
        member=pl.int_range(pl.len(), dtype=pl.Int64),
        at=pl.col("timestamp").str.to_datetime(time_zone="UTC"),
        slot=pl.col("position") - 1,
        sale=pl.col("item_id"),
        reward=pl.col("click"),
        log_propensity=pl.col("propensity_score").log(),
        **{name: pl.col(name) for name in ABOUT},
    )
