"""A flag that signals raise and long loops poll: finish the step, save, say how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class StopFlag:
    """Remembers the first stop signal; a second one ends the process at once.

    Or, in a notebook whose other results should stay, it ends the call with KeyboardInterrupt.
    """

    def __init__(self, *, kills: bool = True) -> None:
        """Start lowered; `kills` says whether a second signal ends the process."""
        self.signal: int | None = None
        self.second: Any = signal.SIG_DFL if kills else signal.default_int_handler

    @property
    def raised(self) -> bool:
        """Whether a signal has asked the run to stop."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 0 while lowered."""
        return 0 if self.signal is None else EXIT_CODES[signal.Signals(self.signal)]

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Remember a signal; do not wait for anything at a second one."""
        if self.raised:
            signal.signal(number, self.second)
            signal.raise_signal(number)
        self.signal = number

    @contextmanager
    def listening(self) -> Generator[StopFlag]:
        """Own SIGINT and SIGTERM inside the block, and put the earlier handlers back after it.

        Python hears signals in the main thread alone: in another one this changes nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self.handle) for number in EXIT_CODES}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
