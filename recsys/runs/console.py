"""What people see: plain lines of at most 80 columns, alike on a terminal and in log.txt."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import TextIO

WIDTH = 80
"""Columns of a line at most: what a terminal shows without wrapping."""


class Console:
    """Prints lines and keeps them in a log; `quiet` keeps them in the log alone."""

    def __init__(self, log: Path | None = None, *, quiet: bool = False) -> None:
        """Append to `log` where one is given."""
        self.log = log
        self.quiet = quiet

    def line(self, text: str = "") -> None:
        """Print one line, or several parted by newlines."""
        if not self.quiet:
            show(text)
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as log:
                log.write(text + "\n")

    def fact(self, name: str, text: str, *more: str) -> None:
        """Print a named fact, and its further lines below it."""
        first, *rest = [part for line in (text, *more) for part in folded(line, WIDTH - 11)]
        self.line(f"  {name:<9}{first}")
        for extra in rest:
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
        show(text)


def show(text: str, stream: TextIO | None = None) -> None:
    """Print to standard output, or another stream; where nobody reads any more, say nothing.

    So a run goes on to its end when it was piped into `head`.
    """
    stream = sys.stdout if stream is None else stream
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # what is still held back goes nowhere too, or Python complains of it as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def folded(line: str, width: int = WIDTH) -> list[str]:
    """Break a line at spaces where it is too wide; words stay whole, so that paths can be copied.

    Further lines stand two columns deeper than the first.
    """
    deeper = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(
        line, width, subsequent_indent=deeper, break_long_words=False, break_on_hyphens=False
    ) or [""]


def complain(text: str) -> None:
    """Print an error to standard error."""
    first, *more = text.splitlines()
    head, *rest = folded(first, WIDTH - len("error: "))
    more = [part for line in more for part in folded(line)]
    show("\n".join([f"error: {head}", *rest, *more]), sys.stderr)


def say(text: str) -> None:
    """Print a text to standard error."""
    lines = [part for line in text.splitlines() for part in folded(line)]
    show("\n".join(lines), sys.stderr)


def clock(seconds: float) -> str:
    """Write a duration as m:ss or h:mm:ss."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
