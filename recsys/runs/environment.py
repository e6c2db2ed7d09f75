"""What libraries read from the environment when they are imported or first used."""

from __future__ import annotations

import os

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def before_imports(threads: int | None = None) -> None:
    """Keep BLAS and OpenMP to some threads, and large tensors on large pages.

    What a person has set in the environment stands.

    Args:
        threads: by default as many as there are cores that this process may use.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    cores = str(threads or usable)
    for name in _THREADS:
        os.environ.setdefault(name, cores)
    # two spinning threads on a core that a neighbour took ran 10 to 20 times slower (docs/log.md)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # torch asks for pages of 2 MB for tensors that fill one, in place of 512 faults a page; a
    # third of a training's time was the system's without it (docs/log.md)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
