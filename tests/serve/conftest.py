from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.domain.arrays import F32
from recsys.domain.dataset import Dataset
from recsys.domain.embeddings import Embeddings
from recsys.rerank.calibrate import Calibrator
from recsys.rerank.ranker import Ranker
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend
from recsys.rerank.value import FittedValue, Logistic
from recsys.retrieval.index import build
from recsys.retrieval.spec import Exact, Retrieval
from recsys.serve.bundle import Bundle, open_bundle, publish_bundle
from recsys.serve.parts import INFO, BundleParts
from tests.builders import tiny_dataset

UNIT = 8
"""Coordinates of length 1; one more carries a bias."""


def vectors(ids: pl.Series, seed: int) -> Embeddings:
    """Random directions, and a last coordinate beside them."""
    rng = np.random.default_rng(seed)
    made: F32 = rng.standard_normal((len(ids), UNIT + 1)).astype(np.float32)
    made[:, :UNIT] /= np.linalg.norm(made[:, :UNIT], axis=1, keepdims=True)
    made[:, UNIT] *= np.float32(0.1)
    return Embeddings(ids=ids.to_numpy(), vectors=made, unit_dims=UNIT, fingerprint="model")


def ranker() -> Ranker:
    """Value that rises with taste, popularity and what was bought, as if fitted."""
    weight = np.zeros(len(NAMES))
    weight[NAMES.index("taste")] = 1.5
    weight[NAMES.index("brand_bought")] = 0.3
    plain = Calibrator(x=np.zeros(0), y=np.zeros(0))
    model = Logistic(mean=np.zeros(len(NAMES)), weight=weight, offset=-3.0)
    return Ranker(Blend(), FittedValue(model, (plain, plain), "purchase"), 0.02)


def parts_of(dataset: Dataset, *, seed: int = 1, retrieval: Retrieval | None = None) -> BundleParts:
    """All a bundle needs, from a dataset and random vectors."""
    sales = vectors(dataset.sales["sale"], seed)
    return BundleParts(
        name=dataset.name,
        zone=dataset.zone,
        shop=dataset.shop,
        members=vectors(dataset.members["member"], seed + 1000),
        personalise=dataset.members["consent_personalise"].to_numpy(),
        sales=sales,
        info=dataset.sales.select(INFO),
        index=build(retrieval or Exact(), sales.vectors),
        ranker=ranker(),
        specs={"rerank": Blend().model_dump(mode="json")},
        watermark=dataset.watermark,
        decided_at=dataset.watermark,
        parents={"dataset": dataset.fingerprint, "checkpoint": f"{seed:016x}"},
        of_the_past=True,
    )


@pytest.fixture(scope="session", name="dataset")
def _dataset() -> Dataset:
    return tiny_dataset(members=60, days=10, sales_a_day=8)


@pytest.fixture(scope="session", name="parts")
def _parts(dataset: Dataset) -> BundleParts:
    return parts_of(dataset)


@pytest.fixture(scope="session", name="bundle")
def _bundle(parts: BundleParts, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(publish_bundle(parts, tmp_path_factory.mktemp("bundles")))


@pytest.fixture(name="root")
def _root(parts: BundleParts, tmp_path: Path) -> Path:
    """A folder of bundles of its own, with one bundle in it."""
    publish_bundle(replace(parts), tmp_path)
    return tmp_path
