from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from recsys.domain.ledger import Ledger, put
from recsys.domain.manifest import JSON
from tests.domain.sharding import PLAN, bytes_of, made


def test_a_worker_that_fails_leaves_no_shard_and_no_draft(tmp_path: Path) -> None:
    def breaks(path: Path) -> Mapping[str, JSON]:
        path.write_bytes(b"half")
        raise ValueError("no such member")

    with Ledger.open(tmp_path, PLAN) as held:
        with pytest.raises(ValueError, match="no such member"):
            put(held.folder, PLAN.shards[0], breaks)
        assert held.missing() == list(PLAN.shards)
        assert list((held.folder / "members").iterdir()) == []
        assert list(held.folder.glob(".draft-*")) == []


def test_two_workers_on_one_shard_harm_nothing(tmp_path: Path) -> None:
    shard = PLAN.shards[0]
    with Ledger.open(tmp_path, PLAN) as held:

        def slow(path: Path) -> Mapping[str, JSON]:
            path.write_bytes(bytes_of(shard))
            made(held.folder, shard)
            return {"rows": 7}

        put(held.folder, shard, slow)
        assert held.missing() == list(PLAN.shards[1:])


def test_a_shard_can_be_read_by_all_and_written_by_none(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, PLAN) as held:
        made(held.folder, PLAN.shards[0])
        assert (held.folder / PLAN.shards[0]).stat().st_mode & 0o777 == 0o444
