"""Promise 12: whichever call to the disk fails, what stood before stands; the error is clear."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, product
from pathlib import Path

import pytest

from recsys.domain import artefact
from recsys.domain.artefact import CURRENT
from recsys.domain.errors import RecsysError
from recsys.runs.guard import code_of
from recsys.towers import checkpoint
from tests.reliability.conftest import Shown
from tests.reliability.faults import CODES, FaultyDisk
from tests.reliability.figures import RELEASE, drawn, times
from tests.reliability.kept import EVERYTHING, Kept

pytestmark = pytest.mark.timeout(0 if RELEASE else 300)
NO_ROOM = 6
"""The exit code (RELIABILITY 3.5)."""


def place(monkeypatch: pytest.MonkeyPatch, disk: FaultyDisk) -> None:
    monkeypatch.setattr(artefact, "DISK", disk)
    monkeypatch.setattr(checkpoint, "DISK", disk)


def calls_of(kept: Kept, root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Count the calls that putting the second version takes, beside a first one."""
    disk = FaultyDisk()
    kept.put(root, 1)
    with monkeypatch.context() as patch:
        place(patch, disk)
        kept.put(root, 2)
    return len(disk.calls)


def points(calls: int, seed: int) -> Iterator[tuple[int, int, bool]]:
    """Yield (call, errno, whether the disk stays so): each call once, then all over again."""
    codes = cycle(CODES[seed % len(CODES) :] + CODES[: seed % len(CODES)])
    for call in range(calls):
        yield call, next(codes), False
    yield from product(range(calls), CODES, (True, False))


def listing(root: Path) -> dict[str, bytes | None]:
    """Return all that readers see below a root: file -> its bytes, and the names of folders."""
    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    }


def sweep_all(root: Path, before: set[str]) -> None:
    """Remove what a failed attempt may leave: hidden, or whole with only its name not synced."""
    for path in root.iterdir():
        if path.name not in before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def share(kept: Kept, calls: dict[str, int]) -> int:
    """Return how many points one kind gets: each call at least once, the rest by its calls."""
    return max(calls[kept.name], times(12) * calls[kept.name] // sum(calls.values()))


def fail_once(kept: Kept, root: Path, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one attempt fail, and hold all that is promised."""
    before, old = listing(root), kept.found(root)
    with monkeypatch.context() as patch:
        place(patch, disk)
        with pytest.raises(RecsysError) as refused:
            kept.put(root, 2)
    assert code_of(refused.value) == NO_ROOM, refused.value
    said = str(refused.value)
    assert f": {os.strerror(disk.code)}\n" in said
    assert said.startswith("cannot write ")
    assert disk.failed is not None
    after, found = listing(root), kept.found(root)
    if disk.calls[disk.fail_at or 0] != ("sync", root.name):
        assert before.items() <= after.items()
        assert found == old
    # else the name was given before its sync failed; whatever is there is whole
    for name in {path.partition("/")[0] for path in after} - {CURRENT}:
        kept.opens(root / name)


@pytest.fixture(scope="module", name="calls")
def _calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("calls")
    return {kept.name: calls_of(kept, folder / kept.name, patch) for kept in EVERYTHING}


@pytest.mark.parametrize("kept", EVERYTHING, ids=lambda kept: kept.name)
def test_whichever_call_fails_the_old_one_stands_and_the_error_is_clear(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calls: dict[str, int],
    kept: Kept,
    shown: Shown,
) -> None:
    kept.put(tmp_path, 1)
    shutil.copytree(tmp_path, spare := tmp_path.with_name(f"{tmp_path.name}-spare"), symlinks=True)
    names = {path.name for path in tmp_path.iterdir()}
    tried, failed = 0, Counter[str]()
    seed = drawn(f"failing {kept.name}").randrange(len(CODES))
    for (call, code, stays), _ in zip(
        points(calls[kept.name], seed), range(share(kept, calls)), strict=False
    ):
        disk = FaultyDisk(call, code, stays=stays)
        fail_once(kept, tmp_path, disk, monkeypatch)
        failed[disk.calls[call][0]] += 1
        tried += 1
        sweep_all(tmp_path, names)
        if listing(tmp_path) != listing(spare):
            shutil.rmtree(tmp_path)
            shutil.copytree(spare, tmp_path, symlinks=True)
    assert tried >= calls[kept.name] > 0
    right = kept.opens(kept.put(tmp_path, 2))
    assert kept.opens(kept.found(tmp_path)) == right
    shown(tried, f"{kept.name}: {tried} of {tried} ({', '.join(sorted(failed))})")


def test_a_new_root_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kept, code in product(EVERYTHING[:4], CODES):
        disk = FaultyDisk(0, code)
        place(monkeypatch, disk)
        with pytest.raises(RecsysError, match=r"cannot write .*nowhere") as refused:
            kept.put(tmp_path / "nowhere", 2)
        assert code_of(refused.value) == NO_ROOM
        assert disk.calls == [("make_root", "nowhere")]
        assert list(tmp_path.iterdir()) == []
