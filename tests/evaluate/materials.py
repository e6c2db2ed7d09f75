"""One run's material, made up, for the laws of the report and its comparisons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys.domain.report import Estimate, Report
from recsys.evaluate.material import (
    DataFacts,
    DialCurve,
    DialPoint,
    EpochRow,
    Material,
    MemberStory,
    Place,
    Reach,
    SaleMap,
)
from recsys.evaluate.reliability import reliability

NASTY = "<script>alert(1)</script> & Søn"
SLICES = ("all", "day0", "older", "new_brand", "history_0", "history_20_up", "channel_app")


def estimate(value: float, half: float = 0.01, n: int = 1000) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=n)


def report(
    taste: float = 0.4,
    *,
    half: float = 0.01,
    apart: Estimate | None = None,
    oracles: bool = True,
) -> Report:
    values = {"taste": taste, "random": 0.1, "popular": 0.2, "brand_affinity": 0.35, "ease": 0.15}
    values |= {"visible_oracle": 0.6, "oracle": 0.7} if oracles else {}
    scorers: dict[str, dict[str, dict[str, Estimate]]] = {
        name: {
            where: {
                "ndcg_at_10": estimate(value, half),
                "recall_at_10": estimate(value, half),
                "recall_at_6": estimate(value, half),
                "discovery_rate_at_6": estimate(0.2),
            }
            for where in SLICES
        }
        for name, value in values.items()
    }
    scorers["slates"] = {
        "all": {"recall_at_6": estimate(0.33), "discovery_rate_at_6": estimate(0.25)}
    }
    if apart:
        scorers["taste"]["day0"]["ndcg_at_10_minus_brand_affinity"] = apart
    return Report(
        scorers=scorers, headline="day0/ndcg_at_10", notes=("a fact",), seconds={"ease": 2}
    )


def dial_point(dial: float) -> DialPoint:
    kept = estimate(1 - 0.02 * dial)
    return DialPoint(
        dial, estimate(0.1), kept, estimate(0.4), estimate(0.1 + 0.1 * dial),
        estimate(0.02 + 0.01 * dial), estimate(0.1), estimate(0.9), estimate(0.5),
    )  # fmt: skip


def rival(way: str, *settings: float, now: float | None = None) -> DialCurve:
    return DialCurve(way, [dial_point(setting) for setting in settings], now)


def story(name: str) -> MemberStory:
    places = [
        Place(f"{NASTY} {slot}", "brand", 0.03, -0.002, 0.004, "You bought it.", hit=slot == 1)
        for slot in range(6)
    ]
    return MemberStory(name, "joined in March", places)


def material(num_sales: int = 40, **changes: object) -> Material:
    rng = np.random.default_rng(0)
    value = rng.beta(1, 30, 5_000).astype(np.float32)
    unit = rng.standard_normal((200, 16)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    made = Material(
        title=NASTY,
        made_at="22 Nov 2026, 12:03 UTC",
        report=report(),
        command="python train.py data=flash_sales",
        curve=[EpochRow(e, 3 / e, 0.3 + e / 100, 0.4 + e / 100, best=e == 3) for e in range(1, 5)],
        dial=[dial_point(dial) for dial in (0, 0.35, 0.7)],
        dial_now=0.7,
        ways=[rival("slots", 0, 1, 2)],
        reach=Reach(
            at="22 Nov 2026, 12:00",
            members=1000,
            shown=np.arange(num_sales, dtype=np.int64),
            titles=[f"{NASTY} {row}" for row in range(num_sales)],
            brands=["Nord & Hus"] * num_sales,
            curated=np.arange(num_sales) % 9 == 4,
            new=np.arange(num_sales) % 5 == 0,
        ),
        reliability=reliability(value, rng.random(5_000) < value),
        members=[story(f"m{row}") for row in range(6)],
        facts=DataFacts("tiny", "1 Mar", "9 Mar", {"events": 12_345}, {"unknown kind": 7}, ["dry"]),
        sale_map=SaleMap.of(
            unit, ["home", "women"] * 100, titles=["t"] * 200, on_shelf=np.arange(200) > 180
        ),
        versions={"torch": "2.13.0"},
        config="towers:\n  dim: 64\n",
        notes=("another fact",),
        truth_known=True,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # tests name real fields
