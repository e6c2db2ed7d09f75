"""A bundle is published and opened only with an index that keeps its promise."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.domain.artefact import publish
from recsys.domain.dataset import Dataset
from recsys.domain.errors import BrokenArtefactError, GateError
from recsys.retrieval.index import build, write
from recsys.retrieval.spec import Hnsw, Ivf, Pq, Retrieval
from recsys.serve.bundle import Bundle, open_bundle, publish_bundle
from recsys.serve.parts import BundleParts
from tests.builders import tiny_dataset
from tests.serve.conftest import parts_of

POOR = Ivf(probes=1, recall=0.95)


@pytest.fixture(scope="module", name="shop")
def _shop() -> Dataset:
    return tiny_dataset(members=60, days=30, sales_a_day=20)


def test_an_index_below_its_target_is_not_published(shop: Dataset, tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"raise retrieval\.probes above 1"):
        publish_bundle(parts_of(shop, retrieval=POOR), tmp_path)
    assert list(tmp_path.iterdir()) == []
    lower = Ivf(probes=1, recall=0.1)
    bundle = open_bundle(publish_bundle(parts_of(shop, retrieval=lower), tmp_path))
    assert 0.1 <= bundle.recall < POOR.recall


@pytest.mark.parametrize("retrieval", [Ivf(probes=90), Hnsw(), Pq()], ids=lambda spec: spec.kind)
def test_what_an_index_finds_takes_and_weighs_is_written_down(
    shop: Dataset, tmp_path: Path, retrieval: Retrieval
) -> None:
    bundle = open_bundle(publish_bundle(parts_of(shop, retrieval=retrieval), tmp_path))
    said = bundle.manifest.extra
    assert isinstance(said, dict)
    assert said["recall"] == bundle.recall >= 0.95
    assert said["index"]["queries"] == 60
    assert said["index"]["bytes"] == (bundle.folder / "index.faiss").stat().st_size
    assert 0 < said["timed"]["single_ms"] < said["timed"]["batch_ms"]
    assert bundle.parts.index.vectors is bundle.parts.sales.vectors


def exchanged(bundle: Bundle, root: Path, parts: BundleParts) -> Path:
    """The same bundle, whole by its hashes, with the index of other parts."""

    def fill(draft: Path) -> None:
        shutil.copytree(bundle.folder, draft, dirs_exist_ok=True)
        (draft / "manifest.json").unlink()
        for path in [draft, *draft.rglob("*")]:
            path.chmod(0o700)
        write(parts.index, draft / "index.faiss")

    said = bundle.manifest
    return publish(
        root,
        "bundle",
        fill,
        self_test=said.self_test,
        extra=said.extra,
        watermark=said.watermark,
        decided_at=said.decided_at,
    )


def test_an_index_that_finds_less_than_when_it_was_made_is_not_opened(
    shop: Dataset, tmp_path: Path
) -> None:
    parts = parts_of(shop, retrieval=Pq(rescored=64))
    bundle = open_bundle(publish_bundle(parts, tmp_path))
    again = exchanged(bundle, tmp_path / "same", parts)
    assert open_bundle(again).recall == bundle.recall
    others = np.roll(parts.sales.vectors, 300, axis=0)
    shifted = replace(parts.index, faiss_index=build(Pq(rescored=64), others).faiss_index)
    wrong = exchanged(bundle, tmp_path / "other", replace(parts, index=shifted))
    with pytest.raises(BrokenArtefactError, match=r"its index finds 0\.\d+ of the best"):
        open_bundle(wrong)
