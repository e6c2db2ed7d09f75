"""How fast the built-in world is played: python -m benchmarks.world [--quick]."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np

from recsys.world import FlashSales, play


def seconds(act: Callable[[], object], *, times: int) -> tuple[float, float]:
    """Return the least seconds of the clock and of the processor that `act` took."""
    took = []
    for _ in range(times):
        clock, processor = time.perf_counter(), time.process_time()
        act()
        took.append((time.perf_counter() - clock, time.process_time() - processor))
    return min(clock for clock, _ in took), min(processor for _, processor in took)


def main() -> None:
    """Print one table: promise and measure. An event is a row of the log of events."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure once instead of five times")
    times = 1 if parser.parse_args().quick else 5
    small, _ = seconds(lambda: play(FlashSales(size="small")).tables(), times=times)
    played = play(FlashSales())
    clock, processor = seconds(lambda: play(FlashSales()), times=times)
    events, shown = len(played.log), len(played.log.shown_sale)
    members = np.array([f"m{row:06d}" for row in range(20_000)])
    sales = np.array([f"s{row:05d}" for row in range(100)])
    at = played.world.noon(20)
    truth, _ = seconds(lambda: played.truth.scores(members, sales, at), times=times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    print(f"  {'world':34}{'promised':>12}{'measured':>12}")
    print(f"  {'small, played and tabled':34}{'2 s':>12}{small:>10.2f} s")
    print(f"  {'demo, played':34}{'':>12}{clock:>10.2f} s")
    print(f"  {'events a second of one core':34}{'1,000,000':>12}{events / processor:>12,.0f}")
    rows = (events + shown) / processor
    print(f"  {'the same with places shown':34}{'':>12}{rows:>12,.0f}")
    print(f"  {'truth of 20,000 x 100':34}{'5 s':>12}{truth:>10.2f} s")
    print(f"  {'peak memory':34}{'2,000 MB':>12}{peak:>9,.0f} MB")


if __name__ == "__main__":
    main()
