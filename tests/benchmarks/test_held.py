from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from benchmarks.held import Watch, family, family_mb, held_mb

HOLDS = """
import sys, threading
held = bytearray(80_000_000)
def start():
    import subprocess
    child = subprocess.Popen(
        [sys.executable, "-c", "held = bytearray(60_000_000); print(flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    print(child.pid, flush=True)
    input()
    child.communicate(b"\\n")
threading.Thread(target=start).start()
"""


def test_what_is_held_is_told_and_nothing_of_who_has_ended() -> None:
    before = held_mb(os.getpid())
    more = np.ones(10_000_000)
    assert held_mb(os.getpid()) > before + more.nbytes / 2**20 - 20
    assert held_mb(os.getpid(), "RssFile") > 1
    assert held_mb(2**22 + 1) == family_mb(2**22 + 1) == 0


def test_descendants_count_whichever_thread_started_them() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        with Watch(child.pid) as watch:
            assert set(family(child.pid)) >= {child.pid, grandchild}
        assert watch.peak > 130
        child.communicate("\n")
