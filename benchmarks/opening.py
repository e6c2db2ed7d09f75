"""How soon a service answers from a large bundle: python -m benchmarks.opening [--quick].

A bundle is made by chance (`benchmarks.made_bundle`) and published as every bundle is. Then
`python serve_index.py` is started, in turn after turn, until /readyz says 200; its files lie in
the system's cache, as after a publishing on the same machine. Opening alone, and opening what a
driver has verified, are timed in processes of their own. Anonymous memory is what the process
holds for itself; pages of mapped files that it touched are beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess  # ruff: ignore[suspicious-subprocess-import]  # starts our own script
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np

from benchmarks.apart import apart
from benchmarks.cells import Meter, load_now
from benchmarks.held import held_mb
from benchmarks.made_bundle import parts
from benchmarks.turns import Row, line, middle, verdict
from recsys.domain.artefact import current
from recsys.domain.idtable import IdTable
from recsys.serve.bundle import open_bundle, publish_bundle

MEMBERS = 1_000_000
READY, ANONYMOUS = 3.0, 300.0
"""At most so many seconds and MB with a million members (issue 5, RELIABILITY 5.2)."""
SCRIPT = Path(__file__).parents[1] / "serve_index.py"
PATIENCE = 600.0
"""Seconds after which a service that is not ready never will be."""


@dataclass(frozen=True)
class Opened:
    """One opening, in a process of its own."""

    seconds: float
    anonymous: float
    """MB (2^20 bytes) held by the process."""
    mapped: float
    """MB of files in its memory: they are shared, and the system may take them away."""
    processor: float = 0.0
    """Seconds of the processor, all threads together."""
    before: float = 0.0
    """Seconds until it began to open: interpreter, imports, settings."""
    one: float = 0.0
    """us to find one id."""
    many: float = 0.0
    """us to find 1,024 ids."""


def published(members: int, root: str) -> tuple[float, float, float]:
    """Make and publish a bundle; return seconds, MB on the disk, MB it took beside its parts."""
    made = parts(members)
    with Meter() as meter:
        held = memory(os.getpid())[0]
        folder = publish_bundle(made, Path(root))
    size = sum(path.stat().st_size for path in folder.rglob("*.*"))
    return meter.cost.seconds, size / 2**20, (meter.cost.peak_mb or 0.0) - held


def memory(process: int) -> tuple[float, float]:
    """Return MB of a process that are anonymous, and MB of files in its memory."""
    return held_mb(process), held_mb(process, "RssFile")


def processor(process: int) -> float:
    """Return the seconds of the processor that a process has used, all its threads together."""
    said = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(int(ticks) for ticks in said[11:13]) / os.sysconf("SC_CLK_TCK")


def opened(root: str, verified: str | None) -> Opened:
    """Open the bundle here; `verified` is its fingerprint where a driver has checked it."""
    folder, since = current(Path(root)), perf_counter()
    bundle = open_bundle(folder, verified=verified)
    seconds = perf_counter() - since
    held, ids = memory(os.getpid()), bundle.parts.member_ids
    asked = ids[np.random.default_rng(2).integers(0, len(ids), 1024)].tolist()
    one, many = (
        middle(_us(ids, some) for some in each).value
        for each in ([[i] for i in asked], 20 * [asked])
    )
    return Opened(seconds, *held, one=one, many=many)


def _us(ids: IdTable, asked: Sequence[str]) -> float:
    since = perf_counter()
    ids.rows(asked)
    return 1e6 * (perf_counter() - since)


def served(root: Path) -> Opened:
    """Start the service, wait until it is ready, look at its memory, and end it."""
    words = [f"serve.bundles_dir={root}", "serve.port=0", "serve.drain_grace_seconds=0"]
    since = perf_counter()
    with subprocess.Popen(  # ruff: ignore[subprocess-without-shell-equals-true]  # our own script
        [sys.executable, str(SCRIPT), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=root,
        text=True,
    ) as child:
        try:
            said = _listening(child.stderr or ())
            _wait(f"{said['url']}/readyz", until=since + PATIENCE)
            ready = perf_counter() - since
            held, worked = memory(child.pid), processor(child.pid)
        finally:
            child.kill()
    return Opened(ready, *held, processor=worked, before=ready - float(said["seconds"]))


def _listening(log: Iterable[str]) -> dict[str, str]:
    lines = list[str]()
    for text in log:
        lines.append(text)
        if text.startswith("{") and (said := json.loads(text)).get("event") == "listening":
            return dict(said)
    raise RuntimeError(f"the service ended: {''.join(lines[-5:])}")


def _wait(url: str, *, until: float) -> None:
    while perf_counter() < until:
        with suppress(URLError), urlopen(url):  # ruff: ignore[suspicious-url-open-usage]  # our own
            return  # any other status than 200 is an error
        sleep(0.002)
    raise RuntimeError(f"{url} is not ready after {PATIENCE:.0f} s")


def rows_of(members: int, found: Mapping[str, Sequence[Opened]]) -> list[Row]:
    """Return the figures; the two with a bar have it at a million members and below."""
    rows = []
    for name, way, field, unit, bar in FIGURES:
        spread = middle(getattr(one, field) for one in found[way])
        bound = bar if members <= MEMBERS else None
        judged = None if bound is None else verdict(spread, bound, at_most=True)
        rows.append(Row.of(name, spread, unit, bar=bound, verdict=judged))
    return rows


FIGURES: tuple[tuple[str, str, str, str, float | None], ...] = (
    ("start to /readyz 200", "served", "seconds", "s", READY),
    ("of it: before opening", "served", "before", "s", None),
    ("processor until then", "served", "processor", "s", None),
    ("service, anonymous", "served", "anonymous", "MB", ANONYMOUS),
    ("service, mapped", "served", "mapped", "MB", None),
    ("open, every byte verified", "opened", "seconds", "s", None),
    ("open, verified by a driver", "trusted", "seconds", "s", None),
    ("worker, anonymous", "trusted", "anonymous", "MB", None),
    ("find one id", "opened", "one", "us", None),
    ("find 1,024 ids", "opened", "many", "us", None),
)
"""Name, way, field of `Opened`, unit, bar."""


def table(rows: Iterable[Row]) -> str:
    """Return a line a figure: bar, median, range and verdict."""
    head = f"  {'':28}{'at most':>9}{'median':>10}   least to most"
    lines = [
        f"  {row.name:28}{row.bar or '':>9}{row.value:>10.2f} {row.unit:<3}"
        f"{row.low:.2f} to {row.high:.2f}   {row.verdict or ''}".rstrip()
        for row in rows
    ]
    return "\n".join([head, *lines])


def main() -> None:
    """Print one table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100,000 members, once")
    parser.add_argument("--members", type=int, help=f"how many; {MEMBERS:,} unless quick")
    asked = parser.parse_args()
    members = asked.members or (MEMBERS // 10 if asked.quick else MEMBERS)
    found: dict[str, list[Opened]] = {"served": [], "opened": [], "trusted": []}
    # the measured ones come after one of each that is not
    with TemporaryDirectory() as folder, apart("recsys.serve.bundle") as pool:
        root = Path(folder)
        seconds, size, beside = pool.submit(published, members, folder).result()
        print(f"{members:,} members published in {seconds:.1f} s: {size:,.0f} MB on the disk;")
        print(f"it took {beside:,.0f} MB of memory beside its parts", flush=True)
        for turn in range(2 if asked.quick else 6):
            made = {
                "served": served(root),
                "opened": pool.submit(opened, folder, None).result(),
                "trusted": pool.submit(opened, folder, current(root).name).result(),
            }
            for way, one in made.items():
                found[way] += [one] if turn else []
    rows = rows_of(members, found)
    print(table(rows))
    facts = {"members": members, "published_seconds": seconds, "disk_mb": round(size)}
    print(line("opening", rows, **facts, published_mb_beside=round(beside), load=load_now()))


if __name__ == "__main__":
    main()
