from __future__ import annotations

import threading
from pathlib import Path

import pytest

from recsys.domain.artefact import open_artefact, point, publish
from recsys.domain.errors import BrokenArtefactError, MissingArtefactError, NoRoomError
from recsys.serve import live as module
from recsys.serve.live import Live
from recsys.serve.spec import Serve


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def __call__(self, event: str, what: str) -> None:
        self.events.append((event, what))


def load(folder: Path) -> str:
    open_artefact(folder, "toy")
    return (folder / "word.txt").read_text()


def put(root: Path, word: str) -> Path:
    def write(draft: Path) -> None:
        (draft / "word.txt").write_text(word)

    folder = publish(root, "toy", write)
    point(root, folder.name)
    return folder


def spec(root: Path, **more: float) -> Serve:
    return Serve(bundles_dir=str(root)).model_copy(update=more)


def test_the_pointer_moves_and_the_generation_follows(tmp_path: Path) -> None:
    put(tmp_path, "one")
    told = Told()
    live = Live(spec(tmp_path), load, said=told)
    assert live.generation == "one"
    assert not live.look()
    new = put(tmp_path, "two")
    assert live.look()
    assert live.generation == "two"
    assert live.reload_seconds > 0
    assert told.events == [("reloaded", new.name)]


def test_a_damaged_bundle_is_named_and_the_old_one_goes_on(tmp_path: Path) -> None:
    put(tmp_path, "one")
    told, clock = Told(), Clock()
    live = Live(spec(tmp_path, stale_after_minutes=30.0), load, said=told, clock=clock)
    bad = put(tmp_path, "two")
    (bad / "word.txt").chmod(0o644)
    (bad / "word.txt").write_text("TWO")
    assert not live.look()
    assert live.generation == "one"
    assert dict(live.failures) == {"BrokenArtefactError": 1}
    assert told.events[0][0] == "reload_failed"
    assert "word.txt was changed" in told.events[0][1]
    stale = [live.stale]
    clock.seconds = 30 * 60
    stale.append(live.stale)
    assert stale == [False, True]
    put(tmp_path, "three")
    assert live.look()
    assert live.generation == "three"
    assert not live.stale


def test_a_failed_bundle_is_not_hashed_at_every_look(tmp_path: Path) -> None:
    put(tmp_path, "one")
    clock = Clock()
    live = Live(spec(tmp_path, retry_seconds=60.0), load, said=Told(), clock=clock)
    bad = put(tmp_path, "two")
    (bad / "word.txt").unlink()
    for seconds in (0, 1, 59):
        clock.seconds = seconds
        assert not live.look()
    assert live.failures["BrokenArtefactError"] == 1
    clock.seconds = 61
    live.look()
    assert live.failures["BrokenArtefactError"] == 2
    live.wake()
    live.look()
    assert live.failures["BrokenArtefactError"] == 3


def test_a_missing_pointer_changes_nothing_and_is_counted_once(tmp_path: Path) -> None:
    put(tmp_path, "one")
    live = Live(spec(tmp_path), load, said=Told(), clock=Clock())
    (tmp_path / "CURRENT").unlink()
    for _ in range(3):
        assert not live.look()
    assert live.generation == "one"
    assert dict(live.failures) == {"MissingArtefactError": 1}


def test_a_bundle_without_memory_for_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "one")
    live = Live(spec(tmp_path), load, said=Told())
    put(tmp_path, "three")
    monkeypatch.setattr(module, "_free_memory", lambda: 5)
    assert not live.look()
    assert live.generation == "one"
    assert dict(live.failures) == {"NoRoomError": 1}
    with pytest.raises(NoRoomError, match="bytes of memory"):
        Live(spec(tmp_path), load, said=Told())


def test_without_a_whole_bundle_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError, match=r"python train\.py"):
        Live(spec(tmp_path), load, said=Told())
    (put(tmp_path, "one") / "word.txt").unlink()
    with pytest.raises(BrokenArtefactError, match=r"word\.txt is missing"):
        Live(spec(tmp_path), load, said=Told())


def test_a_named_bundle_stays(tmp_path: Path) -> None:
    first = put(tmp_path, "one")
    put(tmp_path, "two")
    live = Live(Serve(bundles_dir=str(tmp_path), bundle=first.name), load, said=Told())
    live.start()
    assert not live.look()
    assert live.generation == "one"
    live.stop()


def test_the_thread_takes_a_new_bundle_when_it_is_woken(tmp_path: Path) -> None:
    put(tmp_path, "one")
    taken = threading.Event()
    live = Live(spec(tmp_path, poll_seconds=600.0), load, said=lambda *_: taken.set())
    live.start()
    try:
        put(tmp_path, "two")
        live.wake()
        assert taken.wait(20)
        assert live.generation == "two"
    finally:
        live.stop()
