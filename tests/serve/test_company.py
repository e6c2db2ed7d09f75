"""Members like a member: an index finds what comparing all would find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.domain.embeddings import Embeddings
from recsys.retrieval.alike import build_alike
from recsys.retrieval.spec import Pq
from recsys.serve import company
from recsys.serve.bundle import open_bundle, publish_bundle
from recsys.serve.company import gathered, nearest
from recsys.serve.parts import BundleParts

NUM, UNIT = 3_000, 16


@pytest.fixture(name="members", scope="module")
def _members() -> Embeddings:
    rng = np.random.default_rng(1)
    made = rng.standard_normal((NUM, UNIT + 1)).astype(np.float32)
    made[:, :UNIT] /= np.linalg.norm(made[:, :UNIT], axis=1, keepdims=True)
    names = pl.Series([f"m{row}" for row in range(NUM)])
    return Embeddings(names.to_numpy(), made, unit_dims=UNIT, fingerprint="model")


def by_hand(members: Embeddings, row: int, k: int, allowed: np.ndarray) -> list[int]:
    cosine = members.unit @ members.unit[row]
    cosine[~allowed] = -np.inf
    cosine[row] = -np.inf
    order: list[int] = np.argsort(-cosine, kind="stable")[:k].tolist()
    return order


def test_all_are_compared_where_there_is_no_index(
    members: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(company, "_BLOCK", 700)
    allowed = np.random.default_rng(2).random(NUM) < 0.5
    for row in (0, 699, 700, NUM - 1):
        rows, cosines = nearest(members.unit, row, 12, allowed=allowed, made=None)
        assert rows.tolist() == by_hand(members, row, 12, allowed)
        assert (np.diff(cosines) <= 0).all()


def test_an_index_finds_the_same_and_nobody_who_did_not_agree(members: Embeddings) -> None:
    made = build_alike(Pq(), members)
    allowed = np.random.default_rng(3).random(NUM) < 0.5
    found = wanted = 0
    for row in range(0, NUM, 150):
        rows, _ = nearest(members.unit, row, 10, allowed=allowed, made=made)
        assert allowed[rows].all()
        assert row not in rows
        found += len(set(rows.tolist()) & set(by_hand(members, row, 10, allowed)))
        wanted += 10
    assert found >= 0.95 * wanted


def test_fewer_than_asked_for_are_all_of_them(members: Embeddings) -> None:
    allowed = np.zeros(NUM, dtype=np.bool_)
    allowed[[5, 6]] = True
    assert sorted(nearest(members.unit, 5, 9, allowed=allowed, made=None)[0].tolist()) == [6]
    assert not len(nearest(members.unit, 0, 9, allowed=np.zeros(NUM, np.bool_), made=None)[0])


def test_few_members_need_no_index(members: Embeddings) -> None:
    assert gathered(members) is None


def test_an_index_that_does_not_keep_its_word_is_not_kept(
    members: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(company, "MANY", 1_000)
    assert gathered(members) is not None
    monkeypatch.setattr(company, "Pq", lambda: Pq(recall=1.0, rescored=1))
    assert gathered(members) is None


def test_a_bundle_carries_its_index(
    parts: BundleParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(company, "MANY", 10)
    carried = replace(parts, company=gathered(parts.members))
    opened = open_bundle(publish_bundle(carried, tmp_path)).parts
    assert opened.company is not None
    row, k = 3, 5
    everyone = np.ones(len(parts.personalise), dtype=np.bool_)
    ours = nearest(parts.members.unit, row, k, allowed=everyone, made=None)[0]
    theirs = nearest(opened.members.unit, row, k, allowed=everyone, made=opened.company)[0]
    assert theirs.tolist() == ours.tolist()
    # what a clock measured does not give it another name
    assert (
        publish_bundle(carried, tmp_path / "again").name == publish_bundle(carried, tmp_path).name
    )
