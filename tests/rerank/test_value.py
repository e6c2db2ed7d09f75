from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from recsys.domain.arrays import F32
from recsys.domain.errors import BrokenArtefactError
from recsys.rerank.calibrate import Rows, log_loss, sigmoid
from recsys.rerank.signals import NAMES
from recsys.rerank.value import (
    Boosted,
    FittedValue,
    Logistic,
    fit_boosted,
    fit_logistic,
    fit_value,
    load,
    save,
)
from tests.rerank.hand import PLAIN

TASTE, NEW = NAMES.index("taste"), NAMES.index("new")
Kind = Literal["auto", "logistic", "boosted"]


def rows(num: int, seed: int, *, base: float = -3.0, bent: bool = False) -> Rows:
    """Outcomes by a known law: a line in taste, or (bent) a ditch that no line can follow."""
    rng = np.random.default_rng(seed)
    x: F32 = rng.normal(size=(num, len(NAMES))).astype(np.float32)
    x[:, NEW] = rng.random(num) < 0.4
    slope = 2 * np.abs(x[:, TASTE]) if bent else x[:, TASTE]
    chance = sigmoid(slope + base - x[:, NEW])
    return Rows(x, rng.random(num) < chance, np.arange(num), sale=np.arange(num))


@pytest.fixture(scope="module", name="models")
def _models() -> dict[str, FittedValue]:
    fit, later = rows(20_000, 1), rows(20_000, 2)
    kinds: tuple[Kind, ...] = ("logistic", "boosted")
    return {kind: fit_value(fit, later, kind=kind, label="purchase") for kind in kinds}


def test_logistic_finds_the_weights_outcomes_were_made_with() -> None:
    model = fit_logistic(*_xy(rows(60_000, 3)))
    assert model.weight[TASTE] == pytest.approx(1, abs=0.06)
    assert model.weight[NEW] == pytest.approx(-1, abs=0.12)
    assert np.abs(np.delete(model.weight, [TASTE, NEW])).max() < 0.06


def _xy(made: Rows) -> tuple[F32, np.ndarray]:
    return made.x, made.y


@pytest.mark.parametrize("kind", ["logistic", "boosted"])
def test_each_stratum_is_calibrated_on_its_own_slice(
    kind: str, models: dict[str, FittedValue]
) -> None:
    later = rows(20_000, 2)
    chance, new = models[kind](later.x), later.x[:, NEW] >= 0.5
    for stratum in (new, ~new):
        said = chance[stratum].sum(dtype=np.float64)
        assert 0.95 <= said / later.y[stratum].sum() <= 1.05
    fresh = rows(60_000, 9)
    assert 0.9 <= models[kind](fresh.x).sum(dtype=np.float64) / fresh.y.sum() <= 1.1


@pytest.mark.parametrize("kind", ["logistic", "boosted"])
def test_a_saved_value_model_comes_back_bit_for_bit_and_nothing_of_it_is_code(
    kind: str, models: dict[str, FittedValue], tmp_path: Path
) -> None:
    value = replace(models[kind], crowding=0.3)
    save(value, tmp_path)
    back, x = load(tmp_path), rows(500, 4).x
    np.testing.assert_array_equal(back(x), value(x))
    np.testing.assert_array_equal(back.contributions(x), value.contributions(x))
    assert (back.label, back.notes, back.crowding) == (value.label, value.notes, 0.3)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".txt"}
    for path in tmp_path.iterdir():
        path.read_text(encoding="utf-8")


def test_a_value_model_of_other_signals_is_refused(
    models: dict[str, FittedValue], tmp_path: Path
) -> None:
    save(models["logistic"], tmp_path)
    said = (tmp_path / "value.json").read_text(encoding="utf-8")
    (tmp_path / "value.json").write_text(said.replace("taste", "smell"), encoding="utf-8")
    with pytest.raises(BrokenArtefactError, match="other signals"):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["logistic", "boosted"])
@pytest.mark.parametrize("crowding", [0.0, 0.7])
def test_a_chance_depends_on_the_sales_of_its_own_request_alone(
    kind: str, crowding: float, models: dict[str, FittedValue]
) -> None:
    value = replace(models[kind], crowding=crowding)
    cube = rows(63, 5).x.reshape(7, 9, -1)
    whole = value(cube)
    for first, last in ((0, 1), (2, 5), (6, 7)):
        np.testing.assert_array_equal(value(cube[first:last]), whole[first:last])
    np.testing.assert_array_equal(value(cube[::-1].copy())[::-1], whole)
    np.testing.assert_allclose(value(cube[:, ::-1].copy())[:, ::-1], whole, rtol=1e-5)
    each = np.arange(63)
    flat = Rows(cube.reshape(63, -1), np.zeros(63, dtype=np.bool_), each // 9, sale=each)
    np.testing.assert_allclose(value.of_rows(flat), whole.ravel(), rtol=1e-5)
    assert value(cube[:0]).shape == (0, 9)
    assert value(cube[:, :0]).shape == (7, 0)
    if not crowding:
        np.testing.assert_array_equal(value(cube.reshape(63, -1)), whole.ravel())


def test_sales_out_of_question_take_no_share_from_the_others(
    models: dict[str, FittedValue],
) -> None:
    value = replace(models["logistic"], crowding=0.7)
    cube = rows(63, 5).x.reshape(7, 9, -1)
    eligible = np.arange(9) < 6
    found = value(cube, np.broadcast_to(eligible, (7, 9)))
    np.testing.assert_allclose(found[:, eligible], value(cube[:, eligible]), rtol=1e-5)
    assert (value(cube)[:, eligible] < found[:, eligible]).all()


def test_a_request_known_by_its_outcomes_makes_a_crowded_value_and_another_does_not() -> None:
    """The value model is fitted on rows of shelves of nine; those without an outcome are untold."""
    made = {seed: rows(36_000, seed, base=-2.5) for seed in (1, 2, 3)}
    told = {}
    for seed, one in made.items():
        request = np.arange(36_000) // 9
        kept = (np.bincount(request, one.y) > 0)[request]
        each = np.arange(int(kept.sum()))
        told[seed] = Rows(one.x[kept], one.y[kept], each // 9, sale=each)
        made[seed] = replace(one, request=request)
    free = fit_value(made[1], made[2], kind="logistic", label="purchase")
    value = fit_value(told[1], told[2], kind="logistic", label="purchase")
    assert free.crowding < 0.15
    assert value.crowding > 0.25
    said, later = value.of_rows(told[3]), told[3]
    best = said >= np.repeat(said.reshape(-1, 9).max(axis=1), 9)
    assert 0.92 <= said[best].sum(dtype=np.float64) / later.y[best].sum() <= 1.08


@pytest.mark.parametrize("kind", ["logistic", "boosted"])
def test_contributions_add_up_to_log_odds(kind: str, models: dict[str, FittedValue]) -> None:
    model, x = models[kind].model, rows(50, 6).x
    p = model.predict(x).astype(np.float64)
    rest = np.log(p / (1 - p)) - model.contributions(x).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(rest, rest[0], atol=2e-4)


def test_auto_keeps_trees_only_where_they_clearly_win() -> None:
    line = fit_value(
        rows(30_000, 1, base=-1), rows(8_000, 2, base=-1), kind="auto", label="purchase"
    )
    bent = fit_value(
        rows(30_000, 1, base=-3, bent=True),
        rows(8_000, 2, base=-3, bent=True),
        kind="auto",
        label="purchase",
    )
    assert isinstance(line.model, Logistic)
    assert isinstance(bent.model, Boosted)


def test_auto_does_not_try_trees_on_few_purchases() -> None:
    few = fit_value(
        rows(9_000, 1, bent=True), rows(8_000, 2, bent=True), kind="auto", label="purchase"
    )
    assert isinstance(few.model, Logistic)


def test_auto_does_not_try_trees_on_few_sales_however_many_rows_they_have() -> None:
    fit, later = rows(30_000, 1, bent=True), rows(8_000, 2, bent=True)
    for sales, kind in ((999, Logistic), (1_000, Boosted)):
        some = replace(fit, sale=fit.sale % sales)
        assert some.num_sales == sales
        value = fit_value(some, later, kind="auto", label="purchase")
        assert isinstance(value.model, kind)


def test_a_stratum_of_few_purchases_is_calibrated_with_the_other_and_says_so() -> None:
    later = rows(3_000, 2)
    later.x[10:, NEW] = 0
    value = fit_value(rows(3_000, 1), later, kind="auto", label="purchase")
    assert any("new_brand" in note for note in value.notes)
    assert value.calibrators[1](later.x[:, TASTE]).shape == (3_000,)


@pytest.mark.parametrize("kind", ["auto", "logistic", "boosted"])
@pytest.mark.parametrize("num", [0, 50])
def test_where_nothing_can_be_told_apart_all_have_one_chance(kind: Kind, num: int) -> None:
    made = rows(num, 1)
    nobody = replace(made, y=np.zeros(num, dtype=np.bool_))
    value = fit_value(nobody, nobody, kind=kind, label="purchase")
    chance = value(rows(20, 3).x)
    assert np.ptp(chance) == 0
    assert 0 < chance[0] <= 0.5
    assert any("one chance for all" in note for note in value.notes)


def test_trees_are_the_same_each_time() -> None:
    made = rows(4_000, 1)
    x = rows(100, 2).x
    np.testing.assert_array_equal(
        fit_boosted(*_xy(made), trees=10).predict(x), fit_boosted(*_xy(made), trees=10).predict(x)
    )


def test_log_loss_is_minus_the_log_of_what_happened() -> None:
    loss = log_loss(np.array([0.25, 0.25], dtype=np.float32), np.array([True, False]))
    np.testing.assert_allclose(loss, [np.log(4), -np.log(0.75)], rtol=1e-6)


def test_strata_have_calibrators_of_their_own() -> None:
    model = Logistic(mean=np.zeros(len(NAMES)), weight=np.zeros(len(NAMES)), offset=0.0)
    half = type(PLAIN)(PLAIN.x, PLAIN.y, 1.0, -1.0)
    x = np.zeros((2, len(NAMES)), dtype=np.float32)
    x[1, NEW] = 1
    known, new = FittedValue(model, (PLAIN, half), "purchase")(x)
    assert known == pytest.approx(0.5)
    assert new == pytest.approx(1 / (1 + np.e), rel=1e-5)
