"""Batches made ahead, in a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import pytest

from recsys.towers.batches import Batch
from recsys.towers.feed import ahead


class Made:
    """Numbers in place of batches; remembers how many it made, and in which threads."""

    def __init__(self, number: int, fails_at: int | None = None) -> None:
        """Make so many, or fail at one."""
        self.number, self.fails_at = number, fails_at
        self.count, self.threads = 0, set[int]()

    def __iter__(self) -> Iterator[Batch]:
        """Make them."""
        for n in range(self.number):
            if n == self.fails_at:
                raise ValueError(f"batch {n} cannot be made")
            self.count += 1
            self.threads.add(threading.get_ident())
            yield cast("Batch", (n,))


def feeding() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("feed")]


def test_all_come_in_order_from_another_thread_that_ends_with_them() -> None:
    made = Made(5)
    assert list(ahead(iter(made))) == [(n,) for n in range(5)]
    assert len(made.threads) == 1
    assert threading.get_ident() not in made.threads
    assert not feeding()


def test_no_more_than_one_is_made_before_it_is_asked_for() -> None:
    made = Made(5)
    batches = ahead(iter(made))
    for used in range(1, 4):
        next(batches)
        assert made.count <= used + 1
    batches.close()  # type: ignore[attr-defined]  # a generator
    assert made.count <= 4
    assert not feeding()


def test_what_goes_wrong_there_is_raised_here_in_its_turn() -> None:
    batches = ahead(iter(Made(5, fails_at=2)))
    assert [next(batches), next(batches)] == [(0,), (1,)]
    with pytest.raises(ValueError, match="batch 2 cannot be made"):
        next(batches)
    assert not feeding()
