"""Shards as tasks of a Ray cluster: one that runs, or one of our own on this machine.

Import it after `environment`: Ray reads its environment once. Then no cluster is without a token
or with a dashboard, nothing is sent to anybody, and our own listens on loopback alone.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import ray
from ray import exceptions

from recsys.domain.errors import RecsysError, SettingError
from recsys.domain.stop import StopFlag
from recsys.runs.deaths import ONE_THREAD, Deaths
from recsys.runs.on_processes import cores
from recsys.runs.ray_environment import LOOPBACK

T = TypeVar("T")
R = TypeVar("R")

STORE = 100 << 20
"""Bytes of shared memory of our own cluster: what is large goes through files."""
CONNECT_SECONDS = 10.0
PATIENCE = 0.5
"""Seconds between two looks at the stop flag while tasks run."""
DIED = (
    exceptions.WorkerCrashedError,
    exceptions.OutOfMemoryError,
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
)


def each(
    work: Callable[[T], R],
    shards: Sequence[T],
    *,
    address: str | None,
    tasks: int,
    stop: StopFlag,
) -> Iterator[tuple[int, R]]:
    """Yield the place of each shard and its result, as they come; 0 tasks = one a core.

    When told to stop, what is in flight is finished and the rest is left.

    Raises:
        RecsysError: `work` raised it, or a shard was the death of too many workers.
        SettingError: the cluster cannot be reached.
    """
    waiting, deaths = deque(range(len(shards))), Deaths(shards)
    with cluster(address, tasks) as room:
        for number, reference in _ended(work, shards, waiting, room=room, stop=stop):
            try:
                result = _result(reference)
            except DIED as died:
                deaths.note(number, type(died).__name__, killed=True)
                waiting.appendleft(number)
            else:
                yield number, result


def _ended(
    work: Callable[[Any], Any],
    shards: Sequence[Any],
    waiting: deque[int],
    *,
    room: int,
    stop: StopFlag,
) -> Iterator[tuple[int, Any]]:
    """Keep as many tasks in flight as there is room; yield those that ended, well or not."""
    # here deaths are counted; Ray would begin a task again in silence
    task = ray.remote(max_retries=0, num_cpus=1, runtime_env={"env_vars": ONE_THREAD})(_done)
    held = ray.put(work)
    flying: dict[Any, int] = {}
    while flying or (waiting and not stop.raised):
        while waiting and not stop.raised and len(flying) < room:
            number = waiting.popleft()
            flying[task.remote(held, shards[number])] = number
        ended, _ = ray.wait(list(flying), num_returns=1, timeout=PATIENCE)
        for reference in ended:
            yield flying.pop(reference), reference


def _done(work: Callable[[Any], Any], shard: Any) -> Any:
    return work(shard)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except exceptions.RayTaskError as failed:
        if isinstance(failed.cause, RecsysError):
            raise failed.cause from None
        raise RuntimeError(str(failed)) from None


@contextmanager
def cluster(address: str | None, tasks: int) -> Generator[int]:
    """Join a cluster, or start one of our own that ends with the block; give how many tasks fit.

    Raises:
        SettingError: there is none at that address, or it does not take our token.
    """
    with TemporaryDirectory(prefix="recsys-", ignore_cleanup_errors=True) as aside:
        ours = {
            "address": "local",
            "num_cpus": tasks or cores(),
            "object_store_memory": STORE,
            "include_dashboard": False,
            "_node_ip_address": LOOPBACK,
            # its logs and sockets go with it, and none but this user sees them
            "_temp_dir": aside,
        }
        _join(ours if address is None else {"address": address})
        try:
            yield _room(address, tasks)
        finally:
            ray.shutdown()


def _join(how: Mapping[str, Any]) -> None:
    _answers(str(how["address"]))
    before = signal.getsignal(signal.SIGTERM)
    quiet = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
    try:
        ray.init(**how, **quiet)
    except (OSError, ValueError, RuntimeError, exceptions.RayError) as refused:
        raise SettingError(
            f"no Ray cluster at {how['address']}: {str(refused).splitlines()[0][:200]}",
            "its token stands in RAY_AUTH_TOKEN or in the file that RAY_AUTH_TOKEN_PATH names",
        ) from refused
    finally:
        # Ray puts a handler of its own in place of ours
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _answers(address: str) -> None:
    """Refuse an address at which nobody listens: Ray would try for minutes.

    Raises:
        SettingError: nobody does.
    """
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as refused:
        raise SettingError(
            f"nobody listens at {address}: {refused.strerror or refused}",
            "start a cluster there: ray start --head        or leave the address out",
        ) from refused


def _room(address: str | None, tasks: int) -> int:
    """Return how many tasks run at a time; refuse a cluster of our own that others can reach."""
    at = ray.util.get_node_ip_address()
    if address is None and at != LOOPBACK:
        raise SettingError(
            f"our own Ray cluster would listen on {at}, and only {LOOPBACK} is ours",
            "ray was imported before: start this in a process of its own",
        )
    return tasks or max(1, int(ray.cluster_resources().get("CPU", 1)))
