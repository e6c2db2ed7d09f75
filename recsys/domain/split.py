"""Blocks of time that cannot overlap: towers, validation, value, calibration, test."""

from __future__ import annotations

from dataclasses import dataclass

BLOCKS = ("towers", "validation", "value", "calibration", "test")


@dataclass(frozen=True)
class Block:
    """Decision times in [start, last]; their outcomes are settled by `end` (all UTC us)."""

    name: str
    start: int
    last: int
    end: int

    def __post_init__(self) -> None:
        """Refuse a block that ends before it starts."""
        if not self.start <= self.last <= self.end:
            raise ValueError(
                f"block {self.name}: {self.start}, {self.last}, {self.end} not in order"
            )


@dataclass(frozen=True)
class Split:
    """The blocks in time order. A block starts where the one before has settled, or later."""

    towers: Block
    validation: Block
    value: Block | None
    """None where the validation block fits the value model."""
    calibration: Block | None
    """None where some members of the value model's block calibrate it."""
    test: Block

    def __post_init__(self) -> None:
        """Refuse blocks that overlap: no outcome of one may lie behind the start of the next."""
        for earlier, later in zip(self.blocks, self.blocks[1:], strict=False):
            if earlier.end > later.start:
                raise ValueError(
                    f"{earlier.name} settles at {earlier.end}, {later.name} starts {later.start}"
                )

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that there are, in time order."""
        every = (self.towers, self.validation, self.value, self.calibration, self.test)
        return tuple(block for block in every if block is not None)
