from __future__ import annotations

from pathlib import Path

import pytest

from recsys.domain.errors import SettingError
from recsys.runs.load import CONFIGS
from recsys.runs.own import check_own


def put(folder: Path, file: str, text: str) -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


def test_options_and_presets_as_ours_are_fine(tmp_path: Path) -> None:
    for file in CONFIGS.glob("*/*.yaml"):
        put(tmp_path, f"{file.parent.name}/{file.name}", file.read_text())
    assert check_own(tmp_path) == tmp_path


def test_a_preset_that_sets_things_is_fine(tmp_path: Path) -> None:
    text = "# @package _global_\ndefaults:\n  - override /rerank: pure\ntowers:\n  dim: 8\n"
    check_own(put(tmp_path, "experiment/mine.yaml", text))
    check_own(put(tmp_path, "experiment/empty.yaml", ""))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("hydra/launcher/basic.yaml", "_target_: os.system\n", "hydra is there"),
        ("data/a.yaml", "# @package hydra.callbacks.x\npath: y\n", "belongs to hydra.callbacks.x"),
        ("data/a.yaml", "#@package  hydra.job_logging\na: 1\n", "belongs to hydra.job_logging"),
        ("experiment/a.yaml", "hydra:\n  run:\n    dir: /tmp\n", "sets hydra"),
        ("experiment/a.yaml", "hydra.callbacks: {}\n", "sets hydra.callbacks"),
        ("experiment/a.yaml", "hydra/launcher: basic\n", "sets hydra/launcher"),
        (
            "experiment/a.yaml",
            "defaults:\n  - /hydra/launcher: x\n",
            "its defaults hold '/hydra/launcher'",
        ),
        ("experiment/a.yaml", "defaults:\n  - data@x: y\n", "its defaults hold 'data@x'"),
        ("experiment/a.yaml", "defaults:\n  - /${a}: y\n", r"its defaults hold '/\$"),
        ("towers/a.yaml", "loss:\n  - _target_: os.system\n", "sets _target_"),
        ("towers/a.yaml", "loss:\n  (): os.system\n", r"sets \(\)"),
        ("towers/a.yaml", "a: !!python/object/apply:os.system [ls]\n", "no plain YAML"),
        ("towers/a.yaml", "a: [1\n", "no plain YAML"),
        ("towers/a.yaml", "- 1\n", "holds no settings"),
        ("towers/a.yaml", "#" * ((1 << 20) + 1), "larger than"),
    ],
)
def test_what_would_run_something_is_refused_by_the_name_of_the_file(
    tmp_path: Path, file: str, text: str, said: str
) -> None:
    with pytest.raises(SettingError, match=said) as refused:
        check_own(put(tmp_path, file, text))
    assert str(tmp_path / file.partition("/")[0]) in str(refused.value)


def test_names_that_stand_for_names_are_looked_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    check_own(put(tmp_path, "towers/laughs.yaml", "\n".join([*lines, "defaults: *a39"])))


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    put(tmp_path, "data/a.yaml", "_target_: x\n")
    with pytest.raises(SettingError, match=r"(?s)a\.yaml.*b\.yaml"):
        check_own(put(tmp_path, "data/b.yaml", "hydra: x\n"))
