"""One way out of every command: errors become exit codes and short texts, traces go to a file."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

from recsys.domain.errors import InterruptedRunError, NoRoomError, RecsysError
from recsys.runs.console import complain, say

NO_SPACE = 28


def guarded(task: Callable[[], None], *, trace: Path = Path("error.txt")) -> int:
    """Run a task and return its exit code (UX 7); a bug leaves its trace in a file."""
    try:
        task()
    except InterruptedRunError as stopped:
        say(str(stopped))
        return stopped.signal_code
    except KeyboardInterrupt:
        say("interrupted; nothing was being written")
        return 130
    except RecsysError as refused:
        complain(str(refused))
        return refused.code
    except OSError as broken:
        return disk(broken, trace)
    except Exception as bug:  # ruff: ignore[blind-except] the last stop before the shell; nothing is hidden
        return unexpected(bug, trace)
    return 0


def disk(broken: OSError, trace: Path) -> int:
    """Tell a full disk from any other operating system error."""
    if broken.errno == NO_SPACE:
        complain(
            f"no room left on the disk ({broken.filename or 'while writing'})\n"
            "  free some, then go on with resume=auto"
        )
        return NoRoomError.code
    return unexpected(broken, trace)


def unexpected(bug: Exception, trace: Path) -> int:
    """Print three lines about a bug of ours and keep the trace."""
    text = "".join(traceback.format_exception(bug))
    try:
        trace.write_text(text, encoding="utf-8")
        where = os.fspath(trace)
    except OSError:
        where = "nowhere: it could not be written"
    complain(
        f"{type(bug).__name__}: {bug}\n"
        f"  this is a bug of ours; the trace is in {where}\n"
        "  please report it with that file"
    )
    return 1
