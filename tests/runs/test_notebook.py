from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import recsys
from recsys.domain.errors import SettingError
from recsys.domain.report import Estimate, Report
from recsys.runs import notebook
from recsys.world.spec import FlashSales
from tests.builders import tiny_tables
from tests.runs.starting import ROOT, environment

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


def example() -> str:
    """Return the code that docs/notebook.md shows."""
    found = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "notebook.md").read_text(), re.DOTALL
    )
    assert len(found) == 1
    return str(found[0])


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
def test_the_example_of_the_docs_runs_and_gives_frames_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = example()
    assert len([line for line in code.splitlines() if line]) <= 10
    known: dict[str, Any] = {}
    exec(code, known)  # ruff: ignore[exec-builtin] the code stands in our own docs
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
    assert (tmp_path / "bundles" / "CURRENT").read_text().strip() == known["bundle"].name
    facts = json.loads((known["page"].parent / "run.json").read_text())
    assert (facts["status"], facts["bundle"]) == ("done", known["bundle"].name)
    assert known["model"].curve["epoch"].to_list() == [1, 2]


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
