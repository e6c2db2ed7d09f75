"""A shop with a bundle, and the slates that `recsys slates` makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.campaign.slate_shards import scan
from recsys.domain.artefact import open_artefact
from recsys.domain.dataset import Dataset
from recsys.domain.manifest import Manifest
from recsys.rerank.ranker import ByTaste, Ranker
from recsys.rerank.signals import NAMES
from recsys.rerank.value import Logistic
from recsys.runs.slates import slates
from recsys.runs.slates_plan import experiment_of, job_of, members_of, seat_for
from recsys.runs.slates_sending import Sending
from recsys.runs.slates_spec import SlatesForAll
from recsys.serve.bundle import open_bundle, publish_bundle
from recsys.serve.parts import BundleParts
from tests.runs.starting import only
from tests.serve.conftest import parts_of, ranker


@dataclass(frozen=True)
class Shop:
    """A folder with bundles, and what is in the newest."""

    root: Path
    parts: BundleParts

    def spec(self, **more: Any) -> SlatesForAll:
        said = {"bundles_dir": str(self.root / "bundles"), "out": str(self.root / "exports")}
        plain = {"executor": {"kind": "local", "processes": 1}} | said | more
        return SlatesForAll.model_validate(plain)

    def made(self, *, now: Callable[[], float] | None = None, **more: Any) -> Path:
        """Make the slates in a folder of their own, and return it."""
        spec = self.spec(**more)
        slates(spec) if now is None else slates(spec, now=now)
        return only(Path(spec.out), "*_slates")

    def sending(self, **more: Any) -> Sending:
        spec = self.spec(**more)
        bundle = open_bundle(only(self.root / "bundles", "[0-9a-f]*"))
        seat = seat_for(spec, bundle)
        arms = experiment_of(spec)
        asked = members_of(spec, seat, arms)
        return Sending(seat, job_of(spec, bundle, seat, asked=asked, arms=arms))


def with_taste() -> Ranker:
    """A ranker that knows what to do where time is short."""
    made = ranker()
    weight = np.array([1.2 if name == "taste" else 0.0 for name in NAMES])
    model = Logistic(mean=np.zeros(len(NAMES)), weight=weight, offset=-3.0)
    return replace(made, by_taste=ByTaste(replace(made.value_model, model=model), 0.02))


def shop_of(root: Path, dataset: Dataset, **more: Any) -> Shop:
    parts = replace(parts_of(dataset), **({"ranker": with_taste()} | more))
    publish_bundle(parts, root / "bundles")
    return Shop(root, parts)


def log_of(folder: Path) -> pl.DataFrame:
    return scan(folder / "log").collect()


def manifest(folder: Path) -> Manifest:
    return open_artefact(folder, "slates")


def hashes(folder: Path) -> dict[str, str]:
    return {path: fact.sha256 for path, fact in manifest(folder).files.items()}


def policies(folder: Path) -> dict[str, str]:
    said: Any = manifest(folder).extra
    return {policy: way for way, policy in said["policies"].items()}
