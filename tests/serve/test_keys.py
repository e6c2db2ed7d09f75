"""Keys: who may ask for what, for how long, and how often."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys.domain.errors import SettingError
from recsys.serve.keys import Buckets, Keys, add, read, revoke

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def made(path: Path, name: str = "mailer", days: int | None = None) -> str:
    return add(path, name, ["recommend"], days=days, at=NOW)[0]


def keys(path: Path, told: list[str] | None = None, *, at: datetime = NOW) -> Keys:
    heard = [] if told is None else told
    return Keys(path, said=lambda event, _: heard.append(event), clock=at.timestamp)


def test_the_file_holds_no_key_and_is_its_owners_alone(tmp_path: Path) -> None:
    secret = made(tmp_path / "keys.json")
    kept = (tmp_path / "keys.json").read_text(encoding="utf-8")
    assert secret not in kept
    assert len(secret) >= 43
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} <= {"keys.json", ".keys.json.lock"}


def test_a_key_says_who_holds_it_and_what_it_is_for(tmp_path: Path) -> None:
    secret = made(tmp_path / "keys.json")
    made(tmp_path / "keys.json", "page")
    found = keys(tmp_path / "keys.json").who(secret)
    assert found is not None
    assert (found.name, found.scopes) == ("mailer", ("recommend",))


@pytest.mark.parametrize("wrong", ["", "x", "ключ", "\udcff", "a" * 100_000])
def test_what_is_no_key_is_nobodys(tmp_path: Path, wrong: str) -> None:
    made(tmp_path / "keys.json")
    assert keys(tmp_path / "keys.json").who(wrong) is None


def test_two_keys_of_a_name_are_valid_and_a_third_ends_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first, second = made(path), made(path)
    both = keys(path)
    assert both.who(first) is not None
    assert both.who(second) is not None
    third, ended = add(path, "mailer", ["recommend"], days=None, at=NOW)
    assert [key.name for key in ended] == ["mailer"]
    assert both.who(first) is None
    assert both.who(second) is not None
    assert both.who(third) is not None


def test_a_key_ends_at_its_instant(tmp_path: Path) -> None:
    secret = made(tmp_path / "keys.json", days=7)
    last = NOW + timedelta(days=7)
    assert keys(tmp_path / "keys.json", at=last - timedelta(seconds=1)).who(secret) is not None
    assert keys(tmp_path / "keys.json", at=last).who(secret) is None


def test_a_changed_file_is_read_without_a_restart(tmp_path: Path) -> None:
    path, told = tmp_path / "keys.json", list[str]()
    old = made(path)
    held = keys(path, told)
    new = made(path, "page")
    assert held.who(new) is not None
    assert revoke(path, "mailer") == 1
    assert held.who(old) is None
    assert told == ["keys_read", "keys_read"]


def test_a_file_that_breaks_leaves_the_last_keys(tmp_path: Path) -> None:
    path, told = tmp_path / "keys.json", list[str]()
    secret = made(path)
    held = keys(path, told)
    path.write_text("{", encoding="utf-8")
    assert held.who(secret) is not None
    assert told == ["keys_not_read"]


def test_a_file_that_others_read_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "keys.json")
    (tmp_path / "keys.json").chmod(0o640)
    with pytest.raises(SettingError, match="chmod 600"):
        read(tmp_path / "keys.json")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[]",
        '{"keys": [1]}',
        '{"keys": [{"name": "a"}]}',
        json.dumps({"keys": [{"name": "a", "sha256": "00", "scopes": [], "made_at": ""}]}),
        json.dumps({
            "keys": [{"name": "a", "sha256": "00" * 32, "scopes": ["all"], "made_at": ""}]
        }),
        json.dumps({
            "keys": [
                {
                    "name": "a",
                    "sha256": "00" * 32,
                    "scopes": [],
                    "made_at": "",
                    "not_after": "2026-01-01",
                }
            ]
        }),
    ],
)
def test_what_is_no_file_of_keys_is_refused(tmp_path: Path, said: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(said, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(SettingError, match="is not a file of keys"):
        read(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="recsys key"):
        read(tmp_path / "keys.json")


def test_a_bucket_holds_a_burst_and_fills_at_its_rate() -> None:
    now = [0.0]
    buckets = Buckets(rate=10, burst=5, clock=lambda: now[0])
    assert [buckets.wait("mailer") for _ in range(5)] == [0.0] * 5
    assert buckets.wait("mailer") == pytest.approx(0.1)
    assert not buckets.wait("page")
    now[0] = 0.1
    assert not buckets.wait("mailer")
    assert buckets.wait("mailer") > 0.0


def test_what_is_owed_is_waited_for() -> None:
    now = [0.0]
    buckets = Buckets(rate=10, burst=5, clock=lambda: now[0])
    assert not buckets.wait("mailer")
    buckets.owe("mailer", 19)
    assert buckets.wait("mailer") == pytest.approx(1.6)
    now[0] = 1.7
    assert not buckets.wait("mailer")


def test_no_rate_is_no_bound() -> None:
    buckets = Buckets(rate=0, burst=1)
    assert {buckets.wait("mailer") for _ in range(10)} == {0.0}
