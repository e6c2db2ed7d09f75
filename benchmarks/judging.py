"""What judging costs beside an epoch of training: python -m benchmarks.judging [--quick]."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from recsys.domain.stop import StopFlag
from recsys.evaluate.baselines import baselines
from recsys.evaluate.judge import judge
from recsys.evaluate.learned import learned_baselines
from recsys.runs.judge import oracles, test_slates
from recsys.runs.learn import Learned, Task, learn, pose
from recsys.runs.prepare import prepare
from recsys.runs.spec import Train
from recsys.towers.job import EpochRow
from recsys.towers.spec import TwoTower
from recsys.world import FlashSales

T = TypeVar("T")


def timed(act: Callable[[], T]) -> tuple[T, float]:
    """Return what `act` returns and the seconds of the processor it took, all threads together."""
    start = time.process_time()
    return act(), time.process_time() - start


def learned_of(task: Task, spec: Train, folder: Path) -> tuple[Learned, float]:
    """Train two epochs; return what was learned and the processor's seconds of the second."""
    ends: list[float] = []

    def on_epoch(_: EpochRow) -> None:
        """Note when an epoch, its validation included, is over."""
        ends.append(time.process_time())

    done = learn(task, spec, folder, stop=StopFlag(), on_epoch=on_epoch, tell=lambda _: None)
    return done, ends[-1] - ends[-2]


def main() -> None:
    """Print one table: an epoch, the baselines' fits, and judging all scorers on the test block."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the small world instead of the demo")
    size = "small" if parser.parse_args().quick else "demo"
    spec = Train(data=FlashSales(size=size), towers=TwoTower(epochs=2))
    with tempfile.TemporaryDirectory() as name:
        task = pose(prepare(spec.data), spec, Path(name))
        done, epoch = learned_of(task, spec, Path(name))
        until, towers, test = task.blocks.learned_until, task.blocks.learned, task.blocks.test
        fitted, fits = timed(
            lambda: (
                baselines(task.dataset, towers, until, spec=spec.evaluate)
                | learned_baselines(task.dataset, towers, spec=spec.evaluate)
            )
        )
        taste = done.embedder.scorer()
        scorers = {"taste": taste} | {name: known.scorer for name, known in fitted.items()}
        slates, making = timed(lambda: test_slates(done, taste))
        _, judging = timed(
            lambda: judge(
                task.dataset, test, scorers, spec=spec.evaluate, slates={"slates": slates}
            )
        )
        _, ceilings = timed(
            lambda: judge(
                task.dataset,
                test,
                {name: fitted[name].scorer for name in ("random", "popular")}
                | oracles(task.dataset, task.prepared.truth),
                spec=spec.evaluate,
            )
        )
    print(f"  {f'{size}, seconds of the processor':44}{'promised':>14}{'measured':>10}")
    print(f"  {f'an epoch of {len(towers):,} requests':44}{'':>14}{epoch:>10.1f}")
    print(f"  {'slates of the test block':44}{'':>14}{making:>10.1f}")
    print(f"  {f'judging {len(scorers) + 1} scorers on {len(test):,} requests':44}", end="")
    print(f"{'an epoch':>14}{judging:>10.1f}")
    print(f"  {'the oracles, two baselines beside them':44}{'':>14}{ceilings:>10.1f}")
    print(f"  {'fitting the baselines, counted apart':44}{'':>14}{fits:>10.1f}")


if __name__ == "__main__":
    main()
