"""Cells made by hand."""

from __future__ import annotations

from typing import Any

from benchmarks.cells import (
    Cell,
    Cost,
    written,
)
from benchmarks.page import boards
from recsys.domain.report import Estimate

COST = Cost(seconds=1.0, processor_seconds=2.0, peak_mb=3.0)
NEEDED = {
    "beauty",
    "citeulike_cold",
    "complete_journey",
    "complete_journey_all",
    "ebnerd",
    "globo",
    "gowalla",
    "ml_100k",
    "ml_1m",
    "online_retail",
}


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01, n=9)


def made(seed: int = 1, value: float = 0.5, **changed: Any) -> Cell:
    figures = {
        scorer: {"all/recall_at_10": estimate(each), "all/ndcg_at_10": estimate(each / 2)}
        for scorer, each in {"taste": value, "item_knn": 0.25, "slates": 0.9}.items()
    }
    plain: dict[str, Any] = {
        "experiment": "beauty",
        "seed": seed,
        "made_at": f"2026-11-27T00:00:0{seed}+00:00",
        "machine": "2 CPU cores",
        "load": 1.5,
        "commit": "abc",
        "written": written("beauty"),
        "settings": "5e77",
        "file": "Beauty.txt.gz",
        "md5": boards()["beauty"].md5,
        "requests": {"test": 9},
        "epochs": 5,
        "best_epoch": 2,
        "reading": COST,
        "training": COST,
        "judging": COST,
        "fits": {"item_knn": 0.1},
        "figures": figures,
    }
    return Cell(**plain | changed)
