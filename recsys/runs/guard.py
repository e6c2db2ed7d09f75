"""One way out of every command: errors become exit codes and short texts, traces go to a file."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Callable
from pathlib import Path

from recsys.domain.errors import InterruptedRunError, NoRoomError, RecsysError
from recsys.runs.console import complain, say

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def code_of(error: BaseException) -> int:
    """Return the exit code of an error (UX 7): 1 is a bug of ours, 6 is the machine's refusal."""
    match error:
        case InterruptedRunError():
            return error.signal_code
        case RecsysError():
            return error.code
        case KeyboardInterrupt():
            return 130
        case OSError() if error.filename is not None or error.errno in NO_ROOM:
            return NoRoomError.code
        case _:
            return 1


def guarded(task: Callable[[], None], *, trace: Path = Path("error.txt")) -> int:
    """Run a task and return its exit code (UX 7); a bug leaves its trace in a file."""
    try:
        task()
    except InterruptedRunError as stopped:
        say(str(stopped))
        return code_of(stopped)
    except KeyboardInterrupt as stopped:
        say("interrupted; nothing was being written")
        return code_of(stopped)
    except RecsysError as refused:
        complain(str(refused))
        return code_of(refused)
    except OSError as broken:
        return disk(broken, trace)
    except Exception as bug:  # ruff: ignore[blind-except] the last stop before the shell; nothing is hidden
        return unexpected(bug, trace)
    return 0


def disk(broken: OSError, trace: Path) -> int:
    """Say what the machine refused: a full disk, a place that cannot be read or written."""
    code = code_of(broken)
    if code == 1:
        return unexpected(broken, trace)
    if broken.errno in NO_ROOM:
        complain(
            f"no room left on the disk ({broken.filename or 'while writing'})\n"
            "  free some, then go on with resume=auto"
        )
    else:
        said = broken.strerror or type(broken).__name__
        complain(
            f"cannot use {os.fsdecode(broken.filename)}: {said}\n"
            "  name another place, or see to its rights"
        )
    return code


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
