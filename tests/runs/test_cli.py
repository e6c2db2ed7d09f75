from __future__ import annotations

from pathlib import Path

import pytest

from recsys.domain.errors import SettingError
from recsys.runs import cli
from recsys.runs.cli import VERBS, main, start
from recsys.runs.load import compose
from recsys.runs.spec import Doctor, Train
from tests.runs.starting import recsys


def ending(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_without_a_verb_the_verbs_are_listed(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(words) == 0
    said = capsys.readouterr().err
    assert all(f"\n  {verb} " in said for verb in VERBS)
    assert all(len(line) <= 80 for line in said.splitlines())


def test_a_verb_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(["trian"]) == 2
    assert capsys.readouterr().err.startswith("error: no verb called 'trian'\n")
    with pytest.raises(SettingError):
        start(["trian"])


def test_each_verb_has_a_function_that_takes_its_spec() -> None:
    for verb, (spec, home, text) in VERBS.items():
        module, _, function = home.partition(":")
        assert (Path(cli.__file__).parent / f"{module.rpartition('.')[2]}.py").exists(), verb
        assert (function, bool(text)) == (verb, True)
        assert isinstance(compose(verb, spec, []), spec)


def test_a_task_is_given_the_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Doctor] = []
    monkeypatch.setattr("recsys.runs.doctor.doctor", asked.append)
    cli.run_task(VERBS["doctor"][1], Doctor(port=7))
    assert asked == [Doctor(port=7)]


@pytest.mark.slow
def test_a_sweep_is_one_run_each_and_the_config_can_be_printed(tmp_path: Path) -> None:
    swept = recsys(
        tmp_path, "train", "-m", "dry_run=true", "towers.dim=8,16", "towers.loss.kind=full,sampled"
    )
    assert swept.returncode == 0, swept.stderr
    assert swept.stdout.count("dry run: nothing is written") == 4
    assert swept.stdout.count(" 8 dimensions") == 2
    shown = recsys(tmp_path, "train", "--cfg", "job", "towers.dim=8", "debug=fdr")
    assert shown.returncode == 0, shown.stderr
    assert "  dim: 8\n" in shown.stdout
    assert "size: small" in shown.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"offline"}


@pytest.mark.parametrize("preset", ["fdr", "overfit"])
def test_settings_on_the_line_win_over_a_preset(preset: str) -> None:
    spec = compose("train", Train, [f"debug={preset}", "towers.epochs=3", "data.size=demo"])
    assert spec.towers.epochs == 3
    assert spec.data.model_dump()["size"] == "demo"
