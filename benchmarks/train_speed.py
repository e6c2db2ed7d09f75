"""How fast towers are trained beside plain torch: python -m benchmarks.train_speed [--quick].

Ours runs as in `fit`, then as a bare loop over the same net and feed, then the leanest two towers
that torch allows, then the peers that are installed, each in a process of its own, in turn and
over again. Work is counted in positives: (member, time, sale) that happened. Data are Complete
Journey (extra `demo`); with `--quick` a small random shop, which shows that all works and no speed
worth quoting.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.apart import apart
from benchmarks.cells import load_now, machine
from benchmarks.turns import Row, Spread, Took, Verdict, line, middle, ratio, verdict

if TYPE_CHECKING:
    from benchmarks.speed import Found

MB_PROMISED = 954
"""1.0 GB in 2^20 bytes."""
PROMISES: tuple[tuple[str, str, float | None], ...] = (
    ("ids only", "reference", 0.85),
    ("ids only", "tensorflow-recommenders", 2.0),
    ("ids only", "ids only, bare", 0.92),
    ("history and metadata", "torch-rechub", 2.0),
    ("history and metadata", peers.LARGE_PAGES, None),
    ("history and metadata", "history and metadata, bare", 0.92),
    ("attention", "attention, bare", 0.92),
)
"""Whose speed is promised beside whose, at least how many times it; None = for the record."""


def timed(*, quick: bool) -> Found:
    """Train in turn; for a process of its own."""
    from benchmarks import speed

    return speed.timed(quick=quick)


def peak(*, quick: bool) -> dict[str, float]:
    """Weigh one training; for a process of its own."""
    from benchmarks import speed

    return speed.peak(quick=quick)


def speeds(found: Found) -> list[Row]:
    """Print and return how fast each run was."""
    print(f"  {'positives a second':28}{'by the clock':>28}{'of the processor':>28}{'epoch':>10}")
    rows = []
    for name, took in found.took.items():
        clock, processor = middle(t.rate for t in took), middle(t.processor_rate for t in took)
        print(f"  {name:28}{clock!s:>28}{processor!s:>28}{found.epoch / clock.value:>8,.0f} s")
        rows += [
            Row.of(name, clock, "positives/s"),
            Row.of(name, processor, "positives/processor s"),
        ]
    encoded = middle(found.positions * took.rate for took in found.took["attention"])
    print(f"  {'attention, events encoded':28}{encoded!s:>28}")
    return [*rows, Row.of("attention, events encoded", encoded, "events/s")]


def ratios(took: dict[str, list[Took]]) -> list[Row]:
    """Print and return what is promised of the runs that were made."""
    print(f"  {'times as fast':56}{'by the clock':>22}{'processor':>22}{'promised':>10}")
    rows = []
    for ours, theirs, bar in PROMISES:
        if theirs not in took:
            continue
        clock = ratio(took[ours], took[theirs])
        processor = ratio(took[ours], took[theirs], processor=True)
        said: Verdict | None = None
        if bar is not None:
            # one turn says nothing
            said = verdict(clock, bar) if clock.n > 1 else "undecided"
        asked = "" if bar is None else f"{bar:.2f}"
        what = f"{ours} / {theirs}"
        print(f"  {what:56}{clock!s:>22}{processor!s:>22}{asked:>10}  {said or ''}".rstrip())
        rows += [
            Row.of(ours, clock, "times", ratio_to=theirs, bar=bar, verdict=said),
            Row.of(ours, processor, "processor times", ratio_to=theirs),
        ]
    return rows


def parts(shares: dict[str, dict[str, float]]) -> list[Row]:
    """Print and return what our steps are made of."""
    names = next(iter(shares.values()))
    heads = "".join(f"{part:>22}" for part in names)
    print(f"  {'share of processor time':28}{heads}")
    rows = []
    for case, found in shares.items():
        print(f"  {case:28}" + "".join(f"{share:>22.0%}" for share in found.values()))
        rows += [Row(f"{case}, {part}", s, "share", s, s, 1) for part, s in found.items()]
    return rows


def weights(memory: dict[str, float]) -> list[Row]:
    """Print and return the peaks of memory."""
    rows = []
    for part, most in memory.items():
        once = Spread(most, most, most, 1)
        said = verdict(once, MB_PROMISED, at_most=True)
        print(
            f"  {f'peak memory, {part}':28}{most:>25,.0f} MB{MB_PROMISED:>25,} MB promised  {said}"
        )
        rows.append(Row.of(f"peak, {part}", once, "MB", bar=MB_PROMISED, verdict=said))
    return rows


def main() -> None:
    """Print one table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small random shop, one turn")
    quick = parser.parse_args().quick
    before = load_now()
    with apart() as pool:
        found = pool.submit(timed, quick=quick).result()
        memory = pool.submit(peak, quick=quick).result()
    where, load = machine(version("torch")), (before, load_now())
    data = "a small random shop" if quick else "complete_journey"
    print(f"  {data}, {where}, load {load[0]} before and {load[1]} after")
    rows = speeds(found) + ratios(found.took) + parts(found.shares) + weights(memory)
    print(f"  skipped, for they are not installed: {', '.join(peers.skipped()) or 'none'}")
    print(line("train_speed", rows, machine=where, load=load))


if __name__ == "__main__":
    main()
