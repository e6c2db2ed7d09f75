from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir
from typing import NamedTuple

import polars as pl
import pytest

from recsys.domain.artefact import open_artefact
from recsys.domain.errors import NoRoomError
from recsys.domain.ledger import Ledger
from recsys.runs.export_plan import deal_missing, opened, packing, plan_of
from recsys.runs.export_shards import Writing
from recsys.runs.load import compose
from recsys.runs.spec import Export
from tests.runs.starting import ROOT, begin, ended, environment, only, verb, wait_for
from tests.runs.vectors import bundle_of, made, member_ids, sale_ids

KILLS = 12
MADE = "exports/.work-export-*/members/*.fact.json"
"""What stands beside each file of members that is made, while others are not."""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a bundle of 1,000 members and 90 sales."""
    bundle_of(tmp_path, member_ids(1000), sale_ids(90))
    return tmp_path


def test_the_same_command_goes_on_and_makes_no_file_twice(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = only(shop, "bundles/*").name
    spec = compose("export", Export, [f"bundle={bundle}", "member_files=16"])
    monkeypatch.chdir(shop)
    source = opened(spec)
    plan = plan_of(source, spec)
    half = list(plan.shards[:9])
    with Ledger.open(Path(spec.out), plan) as ledger:
        deal_missing(source, spec, ledger.folder, missing=half)
        writing = Writing(
            ledger.folder.resolve(), (source.members, source.sales), packing(source, spec)
        )
        before = {shard: writing(shard) for shard in half}
        made_at = {shard: (ledger.folder / shard).stat().st_mtime_ns for shard in half}
    said = verb(shop, "export", f"bundle={bundle}", "member_files=16", "dry_run=true")
    assert "  done     9 of 17 files are there already" in said.stdout.splitlines()
    said = verb(shop, "export", f"bundle={bundle}", "member_files=16")
    assert "  found    9 files of an earlier run, whole" in said.stdout.splitlines()
    folder = only(shop, "exports/*_export")
    manifest = open_artefact(folder, "export")
    for shard in half:
        assert manifest.files[shard].sha256 == before[shard].sha256
        assert (folder / shard).stat().st_mtime_ns == made_at[shard]
    assert (
        manifest.fingerprint
        == open_artefact(made(shop, "anew", "member_files=16"), "export").fingerprint
    )


def test_another_that_makes_the_same_export_is_refused(shop: Path) -> None:
    bundle = only(shop, "bundles/*").name
    spec = compose("export", Export, [f"bundle={bundle}", f"bundles_dir={shop}/bundles"])
    with Ledger.open(shop / "out", plan_of(opened(spec), spec)):
        said = verb(shop, "export", f"bundle={bundle}", "out=out")
    assert (said.returncode, said.stdout) == (4, "")
    assert said.stderr.startswith("error: another process works on this export")


def test_a_disk_that_does_not_hold_it_is_refused_before_anything_is_made(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr("recsys.runs.export.shutil.disk_usage", lambda _: Usage(1000))
    said = verb(shop, "export", f"bundle={only(shop, 'bundles/*').name}")
    assert said.returncode == 6
    assert "the export needs" in said.stderr
    assert list(shop.glob("exports/*")) == []


def test_a_disk_that_fills_on_the_way_is_said_and_the_same_command_goes_on(shop: Path) -> None:
    words = ("export", f"bundle={only(shop, 'bundles/*').name}", "member_files=1", "what=[members]")
    # no file may have more than 24 KiB: the vectors have 32
    limited = ("sh", "-c", 'ulimit -f 48; exec "$@"', "sh", sys.executable, "-m", "recsys", *words)
    said = subprocess.run(
        limited, cwd=shop, env=environment(shop), capture_output=True, text=True, check=False
    )
    assert said.returncode == 6, said.stderr
    plainly = " ".join(said.stderr.split())
    assert re.search(r"cannot write \S*members/part-00000.parquet: File too large", plainly)
    assert list(shop.glob("exports/*_export")) == []
    assert ended(begin(shop, "-m", "recsys", *words)).returncode == 0
    assert len(pl.read_parquet(only(shop, "exports/*_export") / "members" / "*.parquet")) == 1000


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_told_to_stop_it_says_how_to_go_on_and_loses_no_file(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    bundle = bundle_of(tmp_path, member_ids(20_000), sale_ids(50))
    words = (f"bundle={bundle}", "member_files=128")
    right = open_artefact(made(tmp_path, "calm", words[1]), "export")
    process = begin(tmp_path, "-m", "recsys", "export", *words)
    wait_for(lambda: len(list(tmp_path.glob(MADE))) >= 3, process)
    process.send_signal(number)
    said = ended(process)
    assert said.returncode == code, said.stderr
    stopped = re.search(r"interrupted: (\d+) of 129 parts are made, and stay", said.stderr)
    assert stopped is not None
    assert f"go on: recsys export {' '.join(words)}" in said.stderr
    there = len(list(tmp_path.glob(MADE)))
    assert 3 <= there <= int(stopped[1]) < 129
    again = ended(begin(tmp_path, "-m", "recsys", "export", *words))
    assert f"  found    {stopped[1]} files of an earlier run, whole" in again.stdout.splitlines()
    folder = only(tmp_path, "exports/*_export")
    assert open_artefact(folder, "export").fingerprint == right.fingerprint


def descendants(session: int, says: str) -> list[int]:
    """Return the processes of a session whose command line holds some words."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            mine = os.getsid(int(process.name)) == session
            if mine and says in (process / "cmdline").read_text():
                found.append(int(process.name))
        except (OSError, ProcessLookupError):
            continue
    return found


def killed_until_done(shop: Path, *words: str, worker: str, drivers: Collection[int]) -> int:
    """Export under fire: whenever three more files are there, kill a worker or the driver.

    `worker` is in the command line of a worker alone; `drivers` says which kills are of the
    driver. Return the number of kills.
    """
    command = [sys.executable, "-m", "recsys", "export", "member_files=200", *words]
    kills, goal, process, pids = 0, 2, None, []
    while process is None or process.poll() != 0:
        if process is None or process.poll() is not None:
            # 6: five of the kills met workers that had the same file
            assert process is None or process.returncode in {-signal.SIGKILL, NoRoomError.code}
            process = subprocess.Popen(
                command,
                cwd=shop,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            pids.append(str(process.pid))
        there = len(list(shop.glob(MADE)))
        if there < goal or kills >= KILLS:
            time.sleep(0.002)
            continue
        targets = [process.pid] if kills in drivers else descendants(process.pid, worker)
        for pid in targets[:1]:
            os.kill(pid, signal.SIGKILL)
            kills, goal = kills + 1, there + 3
        if targets == [process.pid]:
            process.wait(timeout=60)
    # a driver that is killed leaves the logs of its cluster
    for left in Path(gettempdir()).glob("recsys-*/session_*"):
        if left.name.rpartition("_")[2] in pids:
            rmtree(left.parent)
    return kills


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("executor", "worker", "drivers"),
    [
        pytest.param((), "spawn_main", {1, 3, 5, 8}, id="local"),
        pytest.param(("executor=ray", "executor.tasks=2"), "ray::_done", {4}, id="ray"),
    ],
)
def test_twelve_kills_of_workers_and_drivers_change_no_bit(
    tmp_path: Path, executor: tuple[str, ...], worker: str, drivers: Collection[int]
) -> None:
    if executor:
        pytest.importorskip("ray", reason="needs the extra ray")
    bundle = bundle_of(tmp_path, member_ids(20_000), sale_ids(50))
    right = open_artefact(made(tmp_path, "calm", "member_files=200"), "export")
    words = (f"bundle={bundle}", *executor)
    kills = killed_until_done(tmp_path, *words, worker=worker, drivers=drivers)
    assert kills == KILLS
    folder = only(tmp_path, "exports/*_export")
    manifest = open_artefact(folder, "export")
    assert manifest.fingerprint == right.fingerprint
    ids = pl.read_parquet(folder / "members" / "*.parquet")["id"]
    assert sorted(ids) == sorted(member_ids(20_000))
    assert [path.name for path in (tmp_path / "exports").iterdir()] == [folder.name]
