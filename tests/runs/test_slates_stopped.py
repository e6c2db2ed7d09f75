from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.builders import tiny_dataset
from tests.runs.slates_shop import Shop, hashes, log_of, shop_of
from tests.runs.starting import begin, ended, only, wait_for


@pytest.fixture(scope="module", name="shop")
def _shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    dataset = tiny_dataset(members=60, days=10, sales_a_day=20)
    return shop_of(tmp_path_factory.mktemp("shop"), dataset)


def stopped(shop: Shop, folder: Path, *, number: signal.Signals) -> list[str]:
    """Start a run, stop it after its first shard, and return the words that started it."""
    words = [
        "-m", "recsys", "slates", f"bundles_dir={shop.root / 'bundles'}", f"out={folder / 'out'}",
        "members_per_shard=4", "executor.processes=1",
    ]  # fmt: skip
    process = begin(folder, *words)
    wait_for(lambda: any((folder / "out").glob(".work-*/log/*.fact.json")), process)
    process.send_signal(number)
    said = ended(process)
    wanted = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
    assert said.returncode == wanted[number], said.stderr
    return words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_a_run_that_is_stopped_is_gone_on_with_by_the_same_command(
    shop: Shop, number: signal.Signals, *, tmp_path: Path
) -> None:
    words = stopped(shop, tmp_path, number=number)
    said = ended(begin(tmp_path, *words))
    assert said.returncode == 0, said.stderr
    assert "shards of an earlier run" in said.stdout
    straight = shop.made(members_per_shard=4, out=str(tmp_path / "straight"))
    assert hashes(only(tmp_path / "out", "*_slates")) == hashes(straight)


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_nothing_half_made(shop: Shop, tmp_path: Path) -> None:
    words = stopped(shop, tmp_path, number=signal.SIGKILL)
    assert not list((tmp_path / "out").glob("*_slates"))
    said = ended(begin(tmp_path, *words))
    assert said.returncode == 0, said.stderr
    log = log_of(only(tmp_path / "out", "*_slates"))
    assert len(log) == 60 * 6
    assert log["member_id"].n_unique() == 60
