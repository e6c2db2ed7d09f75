"""Where training stands, and the batches from there on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from recsys.towers.batches import Assembler, Batch, Sampler, pieces


@dataclass
class Place:
    """Where training stands; with the weights it is all that resuming needs."""

    epoch: int = 0
    step: int = 0
    """Steps of this epoch that are done."""
    total: int = 0
    """Steps done in all."""
    loss: float = 0.0
    """Sum of the losses of this epoch's steps so far."""
    best: float = float("-inf")
    best_name: str = ""
    stale: int = 0
    """Epochs since the best."""
    seconds: float = 0.0
    """Spent in this epoch so far."""
    forgotten: float = 0.0
    """Log of the averages' decay over all steps."""
    bad: list[tuple[int, int]] = field(default_factory=list)
    """(epoch, step) of steps without a finite gradient."""


@dataclass(frozen=True)
class Feed:
    """Whole batches on the device; each a pure function of (seed, epoch, step, piece)."""

    sampler: Sampler
    assembler: Assembler
    place: Place
    accumulate: int = 1
    """Pieces of a step."""

    def __iter__(self) -> Iterator[Batch]:
        """Go through the rest of the epoch in which training stands.

        On a CPU the next batch is made while one is learned from; work for a GPU goes through one
        queue, whoever hands it in.
        """
        cpu = self.assembler.resident.device.type == "cpu"
        yield from ahead(self.in_turn()) if cpu else self.in_turn()

    def in_turn(self) -> Iterator[Batch]:
        """Go through the rest of the epoch, each batch made when it is asked for."""
        epoch, first = self.place.epoch, self.place.step
        for step, chunks in enumerate(self.sampler.epoch(epoch)):
            if step < first:
                continue
            rows = sum(len(chunk.rows) for chunk in chunks)
            for piece in pieces(chunks, self.accumulate, whole=self.sampler.cut is not None):
                yield self.assembler(piece, (self.sampler.seed, epoch, step), rows=rows)


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Make each batch in a thread of its own while the one before it is used."""
    with ThreadPoolExecutor(1, "feed", torch.set_num_threads, (1,)) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
