from __future__ import annotations

from pathlib import Path

import pytest

from recsys.domain.errors import SettingError
from recsys.runs.key import key
from recsys.runs.spec import MakeKey
from recsys.serve.keys import Keys, read


def test_a_key_is_told_once_and_opens_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.json"
    key(MakeKey(name="mailer", scopes=("recommend", "read"), days=30, file=str(path)))
    told = capsys.readouterr().out
    secret = next(line.split()[1] for line in told.splitlines() if line.split()[:1] == ["key"])
    found = Keys(path, said=lambda _event, _what: None).who(secret)
    assert found is not None
    assert (found.name, found.scopes) == ("mailer", ("recommend", "read"))
    assert "30 days" in told


def test_a_third_key_says_which_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        key(MakeKey(name="mailer", file=str(tmp_path / "keys.json")))
    assert "1 older of mailer" in capsys.readouterr().out
    assert len(read(tmp_path / "keys.json")) == 2


def test_keys_of_a_name_are_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "keys.json")
    key(MakeKey(name="mailer", file=path))
    key(MakeKey(name="mailer", file=path, revoke=True))
    assert "1 of mailer" in capsys.readouterr().out
    assert not read(Path(path))


def test_a_key_needs_a_holder(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="who holds it"):
        key(MakeKey(file=str(tmp_path / "keys.json")))
