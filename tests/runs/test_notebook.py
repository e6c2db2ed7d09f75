from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import recsys
from recsys.domain.errors import InterruptedRunError, SettingError
from recsys.domain.report import Estimate, Report
from recsys.runs import learn, notebook
from recsys.towers.lightning import Training
from recsys.world.spec import FlashSales
from tests.builders import tiny_tables
from tests.extending.installed import install_example, on_path
from tests.runs.starting import ROOT, environment, only

LIGHT = """
import sys
import recsys
import recsys.domain.spec
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
ORDER = """
import sys
import recsys.evaluate.judge
from recsys import evaluate, fit
import recsys.evaluate.report
from recsys.evaluate import spec
import recsys.evaluate.metrics as metrics
assert callable(evaluate) and recsys.evaluate is evaluate
assert metrics.__name__ == "recsys.evaluate.metrics"
assert recsys.evaluate.report is sys.modules["recsys.evaluate.report"]
"""


def shown() -> list[str]:
    """Return the blocks of code that docs/notebook.md shows."""
    return re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "notebook.md").read_text(), re.DOTALL
    )


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """All names of the page, once its blocks have run in order in a folder of their own."""
    folder, site = tmp_path_factory.mktemp("page"), tmp_path_factory.mktemp("site")
    names: dict[str, Any] = {"here": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        install_example(site)
        on_path(site, patch)
        for block in shown():
            exec(block, names)  # ruff: ignore[exec-builtin] the code stands in our own docs
        yield names


def python(folder: Path, code: str) -> str:
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, ""), said.stderr
    return said.stdout


def test_import_recsys_is_light(tmp_path: Path) -> None:
    loaded = set(python(tmp_path, LIGHT).split())
    assert "recsys" in loaded
    assert {"torch", "polars", "numpy", "hydra", "pytorch_lightning"} & loaded == set()


def test_the_function_evaluate_and_the_package_below_do_not_hide_each_other(
    tmp_path: Path,
) -> None:
    assert not python(tmp_path, ORDER)


def test_names_that_are_not_there_are_told() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'tarin'"):
        _ = recsys.tarin
    assert set(recsys.__all__) == {"prepare", "fit", "embed", "evaluate", "recommend"}
    assert all(callable(getattr(recsys, name)) for name in recsys.__all__)


@pytest.mark.slow
def test_ten_lines_train_and_give_frames_back(known: dict[str, Any]) -> None:
    assert len([line for line in shown()[0].splitlines() if line]) <= 10
    vectors, figures, slates = known["vectors"], known["figures"], known["slates"]
    assert {name: frame.columns for name, frame in vectors.items()} == {
        "members": ["id", "vector"],
        "sales": ["id", "vector"],
    }
    assert vectors["members"].height == known["shop"].dataset.num_members
    assert figures.columns == ["scorer", "slice", "metric", "value", "low", "high", "n"]
    assert {"taste", "slates", "random", "popular", "oracle"} <= set(figures["scorer"])
    assert figures.filter(pl.col("low") > pl.col("high")).is_empty()
    assert slates["member"].to_list() == ["m000042"] * 6 + ["m000007"] * 6
    parts = slates.select(pl.sum_horizontal("taste", "new", "curated") - pl.col("gain"))
    assert parts.to_series().abs().max() == pytest.approx(0, abs=1e-9)
    assert known["page"].exists()
    current = (known["here"] / "bundles" / "CURRENT").read_text()
    assert current.strip() == known["bundle"].name
    facts = json.loads((known["page"].parent / "run.json").read_text())
    assert (facts["status"], facts["bundle"]) == ("done", known["bundle"].name)
    assert known["model"].curve["epoch"].to_list() == [1, 2]


@pytest.mark.slow
def test_the_page_shows_curves_sweeps_and_strategies_of_ones_own(known: dict[str, Any]) -> None:
    assert known["epochs"]["epoch"].to_list() == [1, 2]
    assert known["epochs"]["val/ndcg_at_10"].to_list() == pytest.approx(
        known["logged"].curve["val_ndcg_at_10"].to_list(), rel=1e-6
    )
    assert known["losses"]["step"].to_list() == [1]
    assert known["by_dim"].shape == (2, 3)
    assert known["mine"].spec.towers.loss.kind == "stride"
    assert known["mine"].spec.rerank.diversity.kind == "max_sum"


@pytest.mark.slow
def test_the_page_shows_vectors_and_compares_runs(known: dict[str, Any]) -> None:
    assert np.linalg.norm(known["unit"], axis=1) == pytest.approx(1, abs=1e-4)
    first = known["like_the_first"]["sale"].to_list()
    assert first[0] == known["vectors"]["sales"]["id"][0]
    assert known["flat"].columns == ["sale", "title", "brand", "x", "y"]
    assert known["runs"]["status"].to_list() == ["done"] * 7
    assert known["runs"].columns[-3:] == ["metric", "value", "epoch"]
    ours = known["pair"].filter(scorer="taste", metric="ndcg_at_10")
    assert ours.select("value", "value_mine").null_count().row(0) == (0, 0)


def interrupted_in(
    monkeypatch: pytest.MonkeyPatch, home: Any, name: str, *, number: signal.Signals
) -> None:
    """Let a signal come in the middle of a function."""
    plain = getattr(home, name)

    def disturbed(*args: Any, **more: Any) -> Any:
        signal.raise_signal(number)
        return plain(*args, **more)

    monkeypatch.setattr(home, name, disturbed)


@pytest.mark.parametrize(
    ("home", "name", "number"),
    [
        (learn, "blocks", signal.SIGINT),
        (Training, "training_step", signal.SIGTERM),
        (learn, "fit_ranker", signal.SIGINT),
    ],
    ids=["before", "training", "after"],
)
def test_an_interrupt_at_any_time_saves_raises_and_leaves_the_handlers_as_they_were(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    home: Any,
    name: str,
    number: signal.Signals,
) -> None:
    monkeypatch.chdir(tmp_path)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    shop = recsys.prepare(tiny_tables(members=60, days=20), outcome_hours=48.0)
    with monkeypatch.context() as patch:
        interrupted_in(patch, home, name, number=number)
        with pytest.raises(InterruptedRunError, match=r'fit.* with resume="auto"') as caught:
            recsys.fit(shop, epochs=2, dim=8, quiet=True)
    assert caught.value.signal_code == (130 if number == signal.SIGINT else 143)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    run = only(tmp_path, "runs/2*")
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    assert list((run / "checkpoints").glob("step-*"))
    model = recsys.fit(shop, epochs=2, dim=8, quiet=True, resume="auto")
    assert model.folder.path == run.relative_to(tmp_path)
    assert json.loads((run / "run.json").read_text())["status"] == "done"


@pytest.mark.slow
def test_frames_of_ones_own_are_a_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shop = recsys.prepare(tiny_tables(members=60, days=20), outcome_hours=48.0)
    assert shop.source.outcome_hours == pytest.approx(48)
    model = recsys.fit(shop, epochs=1, dim=8, quiet=True)
    assert model.spec.towers.dim == 8
    end = recsys.recommend(model, "m0003", slots=3)
    assert end.select("member", "slot").rows() == [("m0003", 1), ("m0003", 2), ("m0003", 3)]
    stranger = recsys.recommend(model, ["m9999"], slots=2)
    assert set(stranger["fallback"]) <= {"curated", "newest"}
    noon = shop.dataset.sales["opens_at"].sort()[60]
    earlier = recsys.recommend(model, "m0003", slots=3, at=noon)
    assert set(earlier["sale"]) & set(end["sale"]) == set()
    vectors = recsys.embed(model, at=noon)
    assert (
        vectors["members"]["vector"].to_list() != recsys.embed(model)["members"]["vector"].to_list()
    )


def test_sources_are_named_as_on_the_command_line() -> None:
    assert notebook.named("flash_sales")["size"] == "demo"
    with pytest.raises(SettingError, match="data=nope is not there"):
        recsys.prepare("nope")
    with pytest.raises(SettingError, match=r"no setting called 'data\.sise'"):
        recsys.prepare("flash_sales", sise="small")
    with pytest.raises(SettingError, match=r"data\.max_quarantined_share=2"):
        recsys.prepare(FlashSales(size="small"), max_quarantined_share=2)


def test_figures_are_rows() -> None:
    one = Estimate(value=0.5, low=0.4, high=0.6, n=7)
    scorers = {name: {"all": {"mrr": one}} for name in ("random", "popular")}
    frame = notebook.figures(Report(scorers=scorers, headline="all/mrr"))
    assert frame.rows() == [
        ("random", "all", "mrr", 0.5, 0.4, 0.6, 7),
        ("popular", "all", "mrr", 0.5, 0.4, 0.6, 7),
    ]
    assert notebook.slates([]).columns[:3] == ["member", "fallback", "slot"]


def test_a_second_interrupt_ends_the_call_and_not_the_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    shop = recsys.prepare(tiny_tables(members=60, days=20), outcome_hours=48.0)
    for _ in range(2):
        interrupted_in(monkeypatch, Training, "training_step", number=signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        recsys.fit(shop, epochs=2, dim=8, quiet=True)
    assert signal.getsignal(signal.SIGTERM) is before
