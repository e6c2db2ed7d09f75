"""One function over many shards, in processes of this machine or tasks of a Ray cluster.

What dies is started again and its shard given to another; the results do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal, TypeVar, assert_never

from pydantic import Field

from recsys.domain.errors import InterruptedRunError
from recsys.domain.spec import CountOrNone, Spec
from recsys.domain.stop import StopFlag
from recsys.runs import on_processes
from recsys.runs.extras import extra
from recsys.runs.folder import command_line
from recsys.runs.ray_environment import environment

T = TypeVar("T")
R = TypeVar("R")


class Local(Spec):
    """Processes of this machine."""

    kind: Literal["local"] = "local"
    processes: CountOrNone = 0
    """How many at a time; 0 = the cores this process may use. Each has one thread a library."""


class Ray(Spec):
    """Tasks of a Ray cluster; needs the extra `ray`."""

    kind: Literal["ray"] = "ray"
    address: str | None = None
    """Of a running cluster, which finds this folder under the same path and whose token is in
    RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH; null = a cluster of its own, on this machine alone."""
    tasks: CountOrNone = 0
    """How many at a time; 0 = the cores of the cluster."""


Executor = Annotated[Local | Ray, Field(discriminator="kind")]
"""Where shards are made."""


def run(
    executor: Executor,
    work: Callable[[T], R],
    shards: Sequence[T],
    *,
    stop: StopFlag | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[T, R]]:
    """Yield each shard with its result, as they come.

    `work` is a function of a module, or a frozen dataclass that can be called; it may be killed at
    any moment and called again for the same shard. `told` hears how many are done, and of how many.

    Raises:
        InterruptedRunError: `stop` was raised; the shards in flight were finished and yielded.
        RecsysError: `work` raised it, or one shard was the death of too many workers.
        SettingError: Ray is not installed, or its cluster cannot be used.
    """
    flag = stop or StopFlag()
    done = 0
    for number, result in _each(executor, work, shards, stop=flag):
        done += 1
        if told is not None:
            told(done, len(shards))
        yield shards[number], result
    if done < len(shards):
        raise InterruptedRunError(
            f"interrupted: {done} of {len(shards)} parts are made, and stay",
            f"go on: {command_line()}",
            signal_code=flag.exit_code,
        )


def _each(
    executor: Executor, work: Callable[[T], R], shards: Sequence[T], *, stop: StopFlag
) -> Iterator[tuple[int, R]]:
    """Yield the place of each shard and its result; end early when told to stop."""
    if not shards:
        return iter(())
    match executor:
        case Local(processes=processes):
            return on_processes.each(work, shards, processes=processes, stop=stop)
        case Ray(address=address, tasks=tasks):
            environment(address)
            on_ray = extra("on_ray", "ray", "ray")
            found: Iterator[tuple[int, R]] = on_ray.each(
                work, shards, address=address, tasks=tasks, stop=stop
            )
            return found
        case _:
            assert_never(executor)
