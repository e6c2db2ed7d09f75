"""What this machine offers, a line each: ok, or what to fix. Nothing heavy is imported."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from recsys.domain.errors import GateError
from recsys.domain.spec import kind_of
from recsys.runs.console import Console
from recsys.runs.folder import LIBRARIES, version
from recsys.runs.settings import open_unions, variants_at
from recsys.runs.spec import Doctor, Train

GIB = 1024**3
NEEDED = {"pytorch-lightning": (2, 6, 6), "hydra-core": (1, 3, 8), "torch": (2, 11)}
"""Oldest versions that are safe or known to work (SECURITY.md)."""
MALWARE = {"2.6.2", "2.6.3"}
"""Releases of Lightning that carried a credential stealer (CVE-2026-44484)."""
PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
"""Where Linux tells who gets pages of 2 MB: always, who asks (madvise), never."""


def doctor(spec: Doctor) -> None:
    """Print one line per check.

    Raises:
        GateError: at least one check failed; each says what to fix.
    """
    console = Console()
    checks = [
        ("recsys", True, f"{version()}, python {platform.python_version()}"),
        *(library(name) for name in LIBRARIES),
        lightning(),
        cpu(),
        gpu(),
        memory(),
        pages(),
        disk(),
        rename(),
        port(spec.port),
        *packages(),
    ]
    for name, good, text in checks:
        console.line(f"{'ok ' if good else 'fix'}  {name:<18}{text}")
    failed = [name for name, good, _ in checks if not good]
    if failed:
        raise GateError(f"to fix: {', '.join(failed)}")


def library(name: str) -> tuple[str, bool, str]:
    """Tell the version of a library and whether it is new enough."""
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return name, False, "absent: pip install -c constraints.txt -e ."
    least = NEEDED.get(name, ())
    numbers = tuple(int(part) for part in found.split("+")[0].split(".")[:3] if part.isdigit())
    if numbers < least:
        return name, False, f"{found}: needs {'.'.join(map(str, least))} or newer"
    return name, True, found


def lightning() -> tuple[str, bool, str]:
    """Refuse the distribution `lightning` and the two releases that were malware."""
    for name in ("lightning", "pytorch-lightning"):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if name == "lightning" or found in MALWARE:
            return "supply chain", False, f"{name} {found}: pip uninstall {name} (SECURITY.md)"
    return "supply chain", True, "no known bad release"


def cpu() -> tuple[str, bool, str]:
    """Tell the cores this process may use and whether bf16 is native."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = Path("/proc/cpuinfo")
    text = flags.read_text(encoding="utf-8") if flags.exists() else ""
    native = "avx512_bf16" in text or "amx_bf16" in text
    return (
        "cpu",
        True,
        f"{usable} cores usable; bf16 {'native' if native else 'not native, fp32 is used'}",
    )


def gpu() -> tuple[str, bool, str]:
    """Tell whether an NVIDIA driver is there; training itself asks torch."""
    there = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    return "gpu", True, "NVIDIA driver found" if there else "none seen; everything runs on the CPU"


def memory() -> tuple[str, bool, str]:
    """Compare the free memory with what the demo takes."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return "memory", True, "unknown on this system"
    fields = dict(line.split(":") for line in info.read_text(encoding="utf-8").splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    return "memory", free > 2 * GIB, f"{free / GIB:.1f} GiB free; the demo takes up to 2"


def pages() -> tuple[str, bool, str]:
    """Tell whether large tensors get pages of 2 MB."""
    said = PAGES.read_text(encoding="ascii") if PAGES.exists() else ""
    if "[never]" in said:
        return "large pages", True, "never given here; training on the CPU is slower"
    return "large pages", True, "for large tensors" if said else "unknown on this system"


def disk() -> tuple[str, bool, str]:
    """Compare the free disk below this folder with what a run takes."""
    free = shutil.disk_usage(Path.cwd()).free
    return "disk", free > GIB, f"{free / GIB:.1f} GiB free below this folder; keep 1"


def rename() -> tuple[str, bool, str]:
    """Try the one thing all artefacts rest on: write, rename, remove."""
    draft, final = Path(f".doctor-{os.getpid()}"), Path(f".doctor-{os.getpid()}.done")
    try:
        draft.write_text("ok", encoding="utf-8")
        draft.replace(final)
        final.unlink()
    except OSError as refused:
        return (
            "write rights",
            False,
            f"{refused.strerror} in {Path.cwd().name}/: choose another folder",
        )
    return "write rights", True, "files can be made and renamed here"


def port(number: int) -> tuple[str, bool, str]:
    """Tell whether the service's port is free on loopback."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return "port", False, f"{number} is taken: serve.port=NUMBER names another"
    return "port", True, f"{number} is free on loopback"


def packages() -> Iterator[tuple[str, bool, str]]:
    """Tell what installed packages add to the settings; their code is not imported."""
    for path, joined in open_unions(Train):
        ours = {kind_of(variant) for variant in variants_at(Train, path)}
        for kind, package in joined.names().items():
            choice = f"{path}.kind={kind}"
            if kind in ours:
                yield "package", False, f"{package}: {choice} is ours; its own is never used"
            elif ", " in package:
                yield "package", False, f"{choice} is in several, keep one: {package}"
            elif not joined.is_there(kind):
                yield "package", False, f"{package}: no module for {choice}; install it again"
            else:
                yield "package", True, f"{package}: {choice}"
