"""What people see: plain lines of at most 80 columns, alike on a terminal and in log.txt."""

from __future__ import annotations

import sys
from pathlib import Path


class Console:
    """Prints lines and keeps them in a log; `quiet` keeps them in the log alone."""

    def __init__(self, log: Path | None = None, *, quiet: bool = False) -> None:
        """Append to `log` where one is given."""
        self.log = log
        self.quiet = quiet

    def line(self, text: str = "") -> None:
        """Print one line, or several parted by newlines."""
        if not self.quiet:
            print(text, flush=True)
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as log:
                log.write(text + "\n")

    def fact(self, name: str, text: str, *more: str) -> None:
        """Print a named fact, and its further lines below it."""
        self.line(f"  {name:<9}{text}")
        for extra in more:
            self.line(f"  {'':<9}{extra}")

    def table(self, rows: list[list[str]], *, indent: int = 2) -> None:
        """Print rows with the first column left and all others right aligned."""
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            first = row[0].ljust(widths[0])
            rest = "".join(
                f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)
            )
            self.line(" " * indent + first + rest)

    def result(self, text: str) -> None:
        """Print what scripts wait for, even when quiet."""
        print(text, flush=True)


def complain(text: str) -> None:
    """Print an error to standard error."""
    print(f"error: {text}", file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Print a text that is no error, to standard error."""
    print(text, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Write a duration as m:ss or h:mm:ss."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
