from __future__ import annotations

import os

# before any library that brings OpenMP: a spinning thread starves its neighbours on shared cores
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# a busy machine is no fault of the code: tests assert what comes out, never how long it took
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
