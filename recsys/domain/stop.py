"""A flag that signals raise and long loops poll: finish the step, save, say how to go on."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class StopFlag:
    """Remembers the first stop signal; a second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        """Start lowered."""
        self.signal: int | None = None

    @property
    def raised(self) -> bool:
        """Whether a signal has asked the run to stop."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 0 while lowered."""
        return 0 if self.signal is None else EXIT_CODES[signal.Signals(self.signal)]

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Remember a signal; hand a second one back to Python's default."""
        if self.raised:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = number

    @contextmanager
    def listening(self) -> Generator[StopFlag]:
        """Own SIGINT and SIGTERM inside the block, and put the earlier handlers back after it."""
        before = {number: signal.signal(number, self.handle) for number in EXIT_CODES}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
