from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from recsys.data.spec import TablesSource
from recsys.domain.errors import SettingError
from recsys.public.spec import Globo
from recsys.retrieval.spec import Ivf
from recsys.runs.load import (
    compose,
    from_plain,
    ordered,
    readable,
    rewritten,
    values_of,
    vocabulary,
)
from recsys.runs.settings import nested_unions
from recsys.runs.spec import Check, Train
from recsys.towers.spec import Full, LiveShelf


def test_words_become_a_spec() -> None:
    words = ["towers.dim=16", "retrieval=ivf", "data=globo", "seed=3", "quiet=true"]
    spec = compose("train", Train, words)
    assert (spec.towers.dim, spec.seed, spec.quiet) == (16, 3, True)
    assert isinstance(spec.retrieval, Ivf)
    assert isinstance(spec.data, Globo)
    assert spec.data.judged_requests == 20_000


def test_settings_of_what_an_experiment_chooses_may_be_set() -> None:
    data = compose("train", Train, ["data.shelf_hours=12", "experiment=globo"]).data
    assert isinstance(data, Globo)
    assert data.shelf_hours == 12
    with pytest.raises(SettingError, match=r"no setting called 'data.shelf_hours'"):
        compose("train", Train, ["experiment=globo", "data=flash_sales", "data.shelf_hours=12"])


def test_a_nested_kind_replaces_the_fields_of_the_default_kind() -> None:
    assert compose("train", Train, ["towers.loss.kind=full"]).towers.loss == Full()
    words = ["towers.loss.archive_draws=7", "towers.loss.kind=live_shelf"]
    assert compose("train", Train, words).towers.loss == LiveShelf(archive_draws=7)


def test_a_nested_kind_in_a_file_replaces_the_fields_of_the_default_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "configs" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    head = "# @package _global_\ntowers:\n  loss:\n    kind: live_shelf\n"
    file.write_text(f"{head}    archive_draws: 7\n")
    assert compose("train", Train, ["experiment=mine"]).towers.loss == LiveShelf(archive_draws=7)
    file.write_text(f"{head}    full_up_to: 9\n")
    with pytest.raises(SettingError, match=r"another kind has it: set towers.loss.kind=auto"):
        compose("train", Train, ["experiment=mine"])


def test_nested_unions_are_found_below_the_groups() -> None:
    assert "towers.loss" in nested_unions(Train)
    assert not {"data", "retrieval", "rerank"} & set(nested_unions(Train))


def test_a_sweep_over_nested_kinds_is_one_replacement_each() -> None:
    known = vocabulary("train", Train)
    words = ["towers.loss.kind=full,sampled", "towers.dim=8,16"]
    assert rewritten(words, known) == [
        "++towers.dim=8,16",
        "~towers.loss",
        "+towers.loss={kind:full},{kind:sampled}",
    ]


def test_groups_flags_and_hydras_own_keys_stay_as_they_are() -> None:
    known = vocabulary("train", Train)
    words = ["data=globo", "-m", "hydra.sweep.dir=x", "seed=1"]
    assert rewritten(words, known) == ["data=globo", "-m", "hydra.sweep.dir=x", "++seed=1"]


def test_flags_go_last_with_their_values() -> None:
    assert ordered(["a=1", "--cfg", "job", "b=2"]) == ["a=1", "b=2", "--cfg", "job"]


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("a=1", ["1"]),
        ("a=[1,2]", ["[1,2]"]),
        ("a=1,2", ["1", "2"]),
        ("a=range(0,3)", ["0", "1", "2"]),
        ("a='x y'", ["'x y'"]),
        ("a=", [""]),
    ],
)
def test_values_of_a_word(word: str, values: list[str]) -> None:
    assert values_of(word) == values


@pytest.mark.parametrize(
    "require", ["ndcg_at_10>0.2", "slates:day0/ndcg_at_6>editor", " mrr > popular_7d"]
)
def test_text_that_hydra_cannot_read_needs_no_quotes(require: str) -> None:
    spec = compose("train", Train, [f"evaluate.require={require}", "data.zone=Europe/Paris"])
    assert spec.evaluate.require.strip() == require.strip()
    assert readable("a=it's>b") == r"a='it\'s>b'"
    assert readable("a=[1,2]") == "a=[1,2]"


def test_own_configs_below_the_folder_join_the_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "configs" / "data"
    own.mkdir(parents=True)
    mine = {"kind": "tables", "zone": "UTC", "events": {"path": "e.csv", "columns": {"at": "ts"}}}
    (own / "mine.yaml").write_text(yaml.safe_dump(mine))
    monkeypatch.chdir(tmp_path)
    words = [
        "data=mine",
        "data.events.columns.sale=sku",  # a column name, free to choose
        "data.sales.path=s.csv",  # inside a table that is null by default
        "data.events.kind=view",  # a kind that selects no class
    ]
    data = compose("check", Check, words).data
    assert isinstance(data, TablesSource)
    assert data.events.columns == {"at": "ts", "sale": "sku"}
    assert data.events.kind == "view"
    assert data.sales is not None
    assert data.sales.path == "s.csv"
    with pytest.raises(SettingError, match=r"globo, gowalla, mine, ml_100k, ml_1m"):
        compose("check", Check, ["data=yours"])


def test_plain_data_says_what_is_missing() -> None:
    with pytest.raises(SettingError, match=r"data\.zone is needed"):
        from_plain({"data": {"kind": "tables", "events": {"path": "x"}}}, Check)
