from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys.domain import artefact
from recsys.domain.artefact import point, publish, retain, sweep
from recsys.domain.disk import take_lock
from recsys.domain.manifest import Manifest
from recsys.domain.retention import YOUNG, kept

NOON = datetime(2026, 3, 10, 11, tzinfo=UTC)


def writer(content: str) -> Callable[[Path], None]:
    def write(draft: Path) -> None:
        (draft / "a.csv").write_text(content)

    return write


def visible(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if not path.name.startswith(".")}


def made(hours_ago: float, **parents: str) -> Manifest:
    at = NOON - timedelta(hours=hours_ago)
    return Manifest(
        kind="toy",
        files={},
        made_at=at.isoformat(timespec="milliseconds"),
        counts={"minutes": round(60 * hours_ago)},
        parents=parents,
    )


def test_the_newest_the_one_in_use_the_young_and_all_parents_stay() -> None:
    data = made(9)
    run = made(8, dataset=data.fingerprint)
    known = {
        "data": data,
        "run": run,
        "old": made(7),
        "used": made(6),
        "bundle": made(5, run=run.fingerprint),
        "young": made(YOUNG / timedelta(hours=1) - 0.01),
        "newest": made(0.1),
    }
    assert kept(known, 1, in_use="used", now=NOON) == {"used", "young", "newest"}
    assert kept(known, 3, in_use=None, now=NOON) == {"bundle", "run", "data", "young", "newest"}
    later = NOON + timedelta(days=1)
    assert kept(known, 1, in_use="gone", now=later) == {"newest"}
    assert kept(known, 9, in_use="used", now=later) == known.keys()


def test_what_goes_is_renamed_before_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [publish(tmp_path, "toy", writer(f"{n}")) for n in range(5)]
    point(tmp_path, folders[0].name)
    assert retain(tmp_path, keep=1) == []
    later = datetime.now(UTC) + timedelta(hours=2)
    (folders[1] / "manifest.json").chmod(0o644)
    (folders[1] / "manifest.json").write_text("cannot be read")
    with monkeypatch.context() as patch:
        patch.setattr(artefact.DISK, "remove", lambda _: None)
        gone = retain(tmp_path, keep=1, now=later)
    assert gone == sorted(folder.name for folder in folders[2:4])
    assert visible(tmp_path) == {folders[n].name for n in (0, 1, 4)} | {"CURRENT"}
    assert len(list(tmp_path.glob(".gone-*"))) == 2
    assert sweep(tmp_path) == 2
    assert not list(tmp_path.glob(".gone-*"))


def test_nothing_is_removed_where_nothing_is(tmp_path: Path) -> None:
    assert retain(tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()


def test_only_drafts_of_dead_makers_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".draft-1-dead").mkdir()
    (tmp_path / ".draft-1-dead.lock").touch()

    def write(draft: Path) -> None:
        assert sweep(tmp_path) == 0
        writer("one")(draft)

    folder = publish(tmp_path, "toy", write)
    assert visible(tmp_path) == {folder.name}
    assert not list(tmp_path.glob(".draft*"))


def test_a_draft_whose_lock_a_sweeper_took_first_gets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Path] = []
    real = take_lock

    def sweeper_first(path: Path) -> int | None:
        taken.append(path)
        return None if len(taken) == 1 else real(path)

    def write(draft: Path) -> None:
        assert taken[-1].name == f"{draft.name}.lock" != taken[0].name
        assert real(taken[-1]) is None
        writer("one")(draft)

    monkeypatch.setattr(artefact, "take_lock", sweeper_first)
    folder = publish(tmp_path, "toy", write)
    assert visible(tmp_path) == {folder.name}
