"""Batches made ahead, in a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any, cast

import pytest
import torch

from recsys.towers import feed
from recsys.towers.feed import Feed, Place, ahead


class Made:
    """Numbers in place of batches; knows how many are made and by whom, and may fail at one."""

    def __init__(self, number: int, fails_at: int | None = None) -> None:
        """Make so many."""
        self.number, self.fails_at = number, fails_at
        self.count, self.threads = 0, dict[int, int]()
        self.second = threading.Event()

    def __iter__(self) -> Generator[Any]:
        """Make them."""
        for n in range(self.number):
            if n == self.fails_at:
                raise ValueError(f"batch {n} cannot be made")
            self.count += 1
            self.threads[threading.get_ident()] = torch.get_num_threads()
            if n == 1:
                self.second.set()
            yield n


def going_through(made: Made) -> Generator[Any]:
    """As `ahead` does."""
    return cast("Generator[Any]", ahead(iter(made)))


def feeding() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("feed")]


def test_all_come_in_order_from_another_thread_that_ends_with_them() -> None:
    made, threads = Made(5), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert [*going_through(made)] == [0, 1, 2, 3, 4]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    # of one thread, whatever learning has
    assert [*made.threads.values()] == [1]
    assert threading.get_ident() not in made.threads
    assert not feeding()


def test_the_next_is_made_while_one_is_used_and_no_more() -> None:
    made = Made(5)
    batches = going_through(made)
    assert next(batches) == 0
    assert made.second.wait(timeout=60)
    for used in range(2, 4):
        next(batches)
        assert made.count <= used + 1
    batches.close()
    assert made.count <= 4
    assert not feeding()


def test_what_goes_wrong_there_is_raised_here_in_its_turn() -> None:
    batches = going_through(Made(5, fails_at=2))
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ValueError, match="batch 2 cannot be made"):
        next(batches)
    assert not feeding()


@pytest.mark.parametrize("kind", ["cpu", "meta"])
def test_only_a_cpu_is_fed_from_another_thread(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Feed, "in_turn", lambda _: iter(("made in turn",)))
    monkeypatch.setattr(feed, "ahead", lambda batches: (f"{one}, ahead" for one in batches))
    assembler: Any = type("Fed", (), {"resident": torch.empty(0, device=kind)})
    said: Any
    (said,) = Feed(cast("Any", None), assembler, Place())
    assert said == ("made in turn, ahead" if kind == "cpu" else "made in turn")
