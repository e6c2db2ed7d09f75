"""A published bundle that holds vectors and nothing else: all that an export looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from recsys.domain.artefact import publish
from tests.runs.starting import only, verb

DIM = 8
UNIT = DIM - 1


def vectors_of(ids: Sequence[str]) -> np.ndarray:
    """Draw a vector for each id, the same whoever its neighbours are."""
    seeds = [int.from_bytes(name.encode()) % 2**32 for name in ids]
    drawn = np.array([np.random.default_rng(seed).standard_normal(DIM) for seed in seeds])
    drawn = drawn.reshape(len(ids), DIM).astype(np.float32)
    drawn[:, :UNIT] /= np.linalg.norm(drawn[:, :UNIT], axis=1, keepdims=True)
    return drawn


def member_ids(count: int) -> list[str]:
    return [f"m{number * 7}" for number in range(count)]


def sale_ids(count: int) -> list[str]:
    return [f"sale-{number}" for number in range(count)]


def bundle_of(folder: Path, members: Sequence[str], sales: Sequence[str]) -> str:
    """Publish a bundle below `folder`/bundles; return its name."""

    def write(draft: Path) -> None:
        for name, file, column, ids in (
            ("members", "ids", "member", members),
            ("sales", "info", "sale", sales),
        ):
            (draft / name).mkdir()
            frame = pl.DataFrame({column: pl.Series(ids, dtype=pl.String)})
            frame.write_parquet(draft / name / f"{file}.parquet")
            np.save(draft / name / "vectors.npy", vectors_of(ids))

    return publish(
        folder / "bundles",
        "bundle",
        write,
        counts={"members": len(members), "sales": len(sales)},
        watermark=11,
        decided_at=12,
        extra={"unit_dims": UNIT, "dim": DIM, "model": "a model"},
    ).name


def made(shop: Path, out: str, *words: str) -> Path:
    """Export what the one bundle of a folder holds."""
    bundle = only(shop, "bundles/*").name
    said = verb(shop, "export", f"bundle={bundle}", f"out={out}", *words)
    assert said.returncode == 0, said.stderr
    return only(shop, f"{out}/*_export")
