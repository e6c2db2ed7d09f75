"""A plan of four shards, and what stands in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from recsys.domain.ledger import ShardFact, ShardPlan, put
from recsys.domain.manifest import JSON

PLAN = ShardPlan(
    kind="export",
    facts={"bundle": "abc", "dtype": "fp32"},
    shards=tuple(f"members/part-{number:05}.parquet" for number in range(4)),
)


def bytes_of(shard: str) -> bytes:
    return f"rows of {shard}".encode() * 100


def made(folder: Path, shard: str) -> ShardFact:
    def write(path: Path) -> Mapping[str, JSON]:
        path.write_bytes(bytes_of(shard))
        return {"rows": 7}

    return put(folder, shard, write)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
