"""How long slates for a whole audience take: python -m benchmarks.audience [--quick] [--members N].

The built-in shop is trained once (one epoch), its members are repeated until there are N, each
with the past and the vector of one of the shop's, and published as a bundle. Then `recsys slates`
runs as anybody runs it: slates of 6 with variety and reasons, the log and the mailer's files on
disk; once with taste alone for value, once with boosted trees. Anonymous memory is that of all
its processes together, looked at five times a second.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess  # ruff: ignore[suspicious-subprocess-import]  # starts our own program
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import polars as pl

from benchmarks.cells import load_now
from benchmarks.held import Watch
from benchmarks.turns import Row, Took, line, middle, verdict
from recsys.domain.artefact import current
from recsys.domain.events import Events
from recsys.domain.idtable import IdTable
from recsys.domain.shown import Shown
from recsys.rerank.ranker import Ranker
from recsys.serve.bundle import open_bundle, publish_bundle
from recsys.serve.parts import BundleParts

ROOT = Path(__file__).parents[1]
MEMBERS, MANY, QUICK = 5_000_000, 1_000_000, 100_000
BARS = {"taste alone": 180.0, "boosted trees": 600.0}
"""Seconds on two cores with five million members and a shelf of 40 sales."""
MEMORY = 2_048.0
"""MB (2^20 bytes) of anonymous memory."""


@dataclass(frozen=True)
class Ran:
    """One run of the command."""

    took: Took
    """Of members."""
    anonymous: float
    """MB of all its processes, the most that was seen."""
    on_disk: float
    """MB of what it wrote."""


def trained(root: Path) -> BundleParts:
    """Train the built-in shop with boosted trees, and return its bundle."""
    words = ["towers.epochs=1", "rerank.value=boosted", "evaluate.baselines=[popular]"]
    words += ["evaluate.bootstrap_draws=100", "quiet=true"]
    subprocess.run(  # ruff: ignore[subprocess-without-shell-equals-true]  # our own script
        [sys.executable, str(ROOT / "train.py"), *words], cwd=root, check=True, capture_output=True
    )
    return open_bundle(current(root / "bundles")).parts


def repeated(parts: BundleParts, members: int) -> BundleParts:
    """Return the same shop with its members over and over, until there are so many."""
    rows = np.arange(members) % parts.shop.num_members
    names = parts.members.ids[rows].series() if isinstance(parts.members.ids, IdTable) else None
    ids = pl.Series(parts.members.ids)[rows] if names is None else names
    ids = ids + "-" + pl.Series(np.arange(members) // parts.shop.num_members).cast(pl.String)
    vectors = parts.members.vectors[rows]
    return replace(
        parts,
        shop=replace(
            parts.shop,
            history=_events(parts.shop.history, rows),
            shown=_shown(parts.shop.shown, rows),
        ),
        members=replace(parts.members, ids=IdTable.of(ids, "member"), vectors=vectors),
        personalise=parts.personalise[rows],
        # everyone is written to: the bar is for all of them
        mail=None,
        company=None,
        indexes=None,
    )


def _events(history: Events, rows: np.ndarray) -> Events:
    places, ptr = _taken(history.member_ptr, rows)
    arrays = {field.name: getattr(history, field.name) for field in fields(Events)}
    del arrays["member_ptr"]
    return Events(**{name: array[places] for name, array in arrays.items()}, member_ptr=ptr)


def _shown(shown: Shown, rows: np.ndarray) -> Shown:
    places, ptr = _taken(shown.member_ptr, rows)
    return Shown(shown.sale[places], shown.at[places], ptr)


def _taken(ptr: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of what some members have, one after another, and where each ends."""
    counts = np.diff(ptr)[rows]
    ends = np.concatenate(([0], np.cumsum(counts)))
    places = np.arange(ends[-1], dtype=np.int64)
    places += np.repeat(ptr[rows] - ends[:-1], counts)
    return places, ends


def ran(root: Path, members: int) -> Ran:
    """Run the command, and look at its memory meanwhile."""
    words = [f"bundles_dir={root / 'bundles'}", f"out={root / 'exports'}"]
    before, since = getrusage(RUSAGE_CHILDREN), perf_counter()
    child = subprocess.Popen(  # ruff: ignore[subprocess-without-shell-equals-true]  # our own program
        [sys.executable, "-m", "recsys", "slates", *words], cwd=root, stdout=subprocess.DEVNULL
    )
    with child, Watch(child.pid) as watch:
        child.wait()
    if child.returncode:
        raise RuntimeError(f"recsys slates ended with {child.returncode}")
    after = getrusage(RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = sum(path.stat().st_size for path in (root / "exports").rglob("*.*"))
    shutil.rmtree(root / "exports")
    return Ran(Took(members, perf_counter() - since, spent), watch.peak, size / 2**20)


def rows_of(found: Mapping[str, Ran], members: int) -> list[Row]:
    """Return the figures; bars of seconds are in proportion to the members, if these are many."""
    rows = []
    for name, run in found.items():
        # with few members the time is that of starting processes
        bar = BARS[name] * members / MEMBERS if members >= MANY else None
        figures = (
            ("seconds", run.took.seconds, "s", bar),
            ("one core, a member", 1e6 / run.took.processor_rate, "us", None),
            ("anonymous", run.anonymous, "MB", MEMORY),
            ("on disk", run.on_disk, "MB", None),
        )
        for what, value, unit, most in figures:
            spread = middle([value])
            judged = None if most is None else verdict(spread, most, at_most=True)
            rows.append(Row.of(f"{name}: {what}", spread, unit, bar=most, verdict=judged))
    return rows


def table(rows: Iterable[Row]) -> str:
    """Return a line a figure: bar, value and verdict."""
    head = f"  {'':36}{'at most':>9}{'found':>10}"
    lines = [
        f"  {row.name:36}{row.bar or '':>9}{row.value:>10,.1f} {row.unit:<3} {row.verdict or ''}"
        for row in rows
    ]
    return "\n".join([head, *(one.rstrip() for one in lines)])


def main() -> None:
    """Print one table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} members")
    parser.add_argument("--members", type=int, default=0, help=f"instead of {MEMBERS:,}")
    parser.add_argument("--folder", default=None, help="where the bundles are made: 6 GB")
    asked = parser.parse_args()
    members, load = asked.members or (QUICK if asked.quick else MEMBERS), load_now()
    found = dict[str, Ran]()
    with TemporaryDirectory(dir=asked.folder) as folder:
        root = Path(folder)
        small = trained(root)
        shelf = len(small.shop.shelf(small.decided_at))
        large = repeated(small, members)
        shutil.rmtree(root / "bundles")
        ways: dict[str, Callable[[Ranker], Ranker | None]] = {
            "taste alone": Ranker.cheaper,
            "boosted trees": lambda ranker: ranker,
        }
        for name, way in ways.items():
            ranker = way(large.ranker)
            if ranker is None:
                raise RuntimeError("the shop was trained without a value by taste")
            publish_bundle(replace(large, ranker=ranker), root / "bundles")
            found[name] = ran(root, members)
            shutil.rmtree(root / "bundles")
    rows = rows_of(found, members)
    print(table(rows))
    facts = {"members": members, "shelf": shelf, "cores": os.cpu_count(), "load": load}
    print(line("audience", rows, **facts))


if __name__ == "__main__":
    main()
