"""The chance of a purchase if shown: fitted on one block of time, calibrated on the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from recsys.domain.arrays import F32, F64, Bool
from recsys.domain.errors import BrokenArtefactError
from recsys.rerank.calibrate import (
    LEAST_FOR_A_STRATUM,
    LEAST_FOR_STEPS,
    Calibrator,
    Rows,
    clearly_above_zero,
    crowded,
    crowding_of,
    log_loss,
    log_odds,
    platt,
    sigmoid,
)
from recsys.rerank.signals import NAMES

Label = Literal["purchase", "engagement"]
STRATA = ("known_brand", "new_brand")
"""Calibrated apart: before, chances were up to 1.24 times too high on new brands (DECISION 2)."""
NEW, TASTE = NAMES.index("new"), NAMES.index("taste")
LEAST_FOR_TREES, LEAST_SALES_FOR_TREES = 5_000, 1_000
"""Positives above which auto tries trees (DECISION 2), and sales they must be fitted on: popularity
and age name each of few sales, and trees would learn the luck of those that happened to be open."""
TREES = {
    "objective": "binary",
    "num_leaves": 31,
    "learning_rate": 0.05,
    "min_data_in_leaf": 100,
    "num_threads": 1,
    "verbosity": -1,
    "deterministic": True,
    "seed": 1,
}


class Model(Protocol):
    """A chance for each row of signals."""

    def predict(self, x: F32) -> F32:
        """Return chances F32[...] of signals F32[..., F]."""

    def contributions(self, x: F32) -> F32:
        """Return what each signal adds to the log-odds against an average row, F32[..., F]."""


@dataclass(frozen=True)
class Logistic:
    """Log-odds linear in the signals; numpy alone."""

    mean: F64
    weight: F64
    """Per unit of the raw signal, F64[F]."""
    offset: float
    """Log-odds of the average row."""

    def predict(self, x: F32) -> F32:
        """Return chances F32[...] of signals F32[..., F]."""
        shift = self.offset - float(self.mean @ self.weight)
        # einsum, so that equal signals get equal chances wherever they stand
        return sigmoid(np.einsum("...f,f->...", x, self.weight.astype(np.float32)) + shift)

    def contributions(self, x: F32) -> F32:
        """Return weight * (x - mean), F32[..., F]."""
        added: F32 = ((x - self.mean) * self.weight).astype(np.float32)
        return added


@dataclass(frozen=True)
class Boosted:
    """LightGBM trees, kept as LightGBM's own text."""

    booster: Any

    def predict(self, x: F32) -> F32:
        """Return chances F32[...] of signals F32[..., F]."""
        if not x.size:
            return np.zeros(x.shape[:-1], dtype=np.float32)
        flat = self.booster.predict(x.reshape(-1, x.shape[-1]), num_threads=1)
        chances: F32 = np.asarray(flat, dtype=np.float32).reshape(x.shape[:-1])
        return chances

    def contributions(self, x: F32) -> F32:
        """Return LightGBM's own contributions (Lundberg's tree SHAP), F32[..., F]."""
        if not x.size:
            return np.zeros(x.shape, dtype=np.float32)
        flat = self.booster.predict(x.reshape(-1, x.shape[-1]), pred_contrib=True, num_threads=1)
        added: F32 = np.asarray(flat, dtype=np.float32)[:, :-1].reshape(x.shape)
        return added


def fit_logistic(x: F32, y: Bool) -> Logistic:
    """Fit log-odds to signals F32[R, F], outcomes Bool[R]; a ridge of 1 on scaled signals.

    Where all outcomes are alike there is nothing to tell apart: the chance of every row is
    (positives + 1) / (rows + 2), Laplace's.
    """
    positives = int(y.sum())
    if positives in {0, len(y)}:
        level = (positives + 1) / (len(y) + 2)
        nothing = np.zeros(x.shape[1])
        return Logistic(mean=nothing, weight=nothing, offset=float(np.log(level / (1 - level))))
    from sklearn.linear_model import LogisticRegression

    mean, spread = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1.0)
    fitted = LogisticRegression(C=1.0, max_iter=500).fit((x - mean) / scale, y)
    weight = np.where(spread > 0, fitted.coef_[0] / scale, 0.0)
    return Logistic(mean=mean, weight=weight, offset=float(fitted.intercept_[0]))


def fit_boosted(x: F32, y: Bool, *, trees: int = 120) -> Boosted:
    """Fit LightGBM trees to signals F32[R, F] and outcomes Bool[R]."""
    import lightgbm

    data = lightgbm.Dataset(x, label=y.astype(np.float32), free_raw_data=True)
    return Boosted(lightgbm.train(TREES, data, num_boost_round=trees))


def fit_calibrator(chance: F32, outcome: Bool) -> Calibrator:
    """Fit isotonic steps where there are enough positives, else Platt's line."""
    if int(outcome.sum()) < LEAST_FOR_STEPS:
        return platt(chance, outcome)
    from sklearn.isotonic import IsotonicRegression

    # by log-odds: chances closer than 1e-6 count as one to scikit-learn, and rare purchases are
    steps = IsotonicRegression(out_of_bounds="clip").fit(log_odds(chance), outcome)
    return Calibrator(
        x=np.asarray(steps.X_thresholds_, dtype=np.float64),
        y=np.asarray(steps.y_thresholds_, dtype=np.float64),
    )


@dataclass(frozen=True)
class FittedValue:
    """A model and its calibrators, one a stratum."""

    model: Model
    calibrators: tuple[Calibrator, Calibrator]
    """In the order of STRATA."""
    label: Label
    """What it foretells: engagement where purchases are too few to learn from."""
    notes: tuple[str, ...] = ()
    crowding: float = 0.0
    """Odds are divided by the request's total chance to this power, before calibration."""

    def __call__(self, x: F32, eligible: Bool | None = None) -> F32:
        """Return calibrated chances F32[..., c] of signals F32[..., c, F], c sales of a request.

        A sale's chance depends on the others of its request, those not in `eligible` Bool[..., c]
        left out; their order never does.
        """
        raw = self.model.predict(x)
        asked = raw if eligible is None else np.where(eligible, raw, np.float32(0))
        total = asked.sum(axis=-1, keepdims=True, dtype=np.float64)
        return self._meant(raw, total, new=_new(x))

    def of_rows(self, rows: Rows) -> F32:
        """Return calibrated chances F32[R] of pairs of requests and sales."""
        raw = self.model.predict(rows.x)
        return self._meant(raw, rows.total(raw), new=_new(rows.x))

    def _meant(self, raw: F32, total: F64, *, new: Bool) -> F32:
        shared = crowded(raw, total, self.crowding)
        return np.where(new, self.calibrators[1](shared), self.calibrators[0](shared))

    def contributions(self, x: F32) -> F32:
        """Return what each signal adds to the uncalibrated log-odds, F32[..., F]."""
        return self.model.contributions(x)


def _new(x: F32) -> Bool:
    """Return the stratum of each row of signals F32[..., F], Bool[...]."""
    found: Bool = x[..., NEW] >= 0.5
    return found


def fit_value(
    fit: Rows, calibration: Rows, *, kind: Literal["auto", "logistic", "boosted"], label: Label
) -> FittedValue:
    """Fit on one block, calibrate on the next; auto keeps trees only where they clearly win.

    Trees must beat the logistic model in calibrated log-loss by two standard errors, by sale.
    """
    positives = int(fit.y.sum())
    if positives in {0, len(fit.y)}:
        one = _calibrated(fit_logistic(fit.x, fit.y), calibration, label)
        note = f"value: {positives} {label}s in {len(fit.y)} pairs, one chance for all"
        return replace(one, notes=(note, *one.notes))
    few = positives <= LEAST_FOR_TREES or fit.num_sales < LEAST_SALES_FOR_TREES
    if kind == "logistic" or (kind == "auto" and few):
        return _calibrated(fit_logistic(fit.x, fit.y), calibration, label)
    boosted = _calibrated(fit_boosted(fit.x, fit.y), calibration, label)
    if kind == "boosted":
        return boosted
    logistic = _calibrated(fit_logistic(fit.x, fit.y), calibration, label)
    gain = log_loss(logistic.of_rows(calibration), calibration.y) - log_loss(
        boosted.of_rows(calibration), calibration.y
    )
    return boosted if clearly_above_zero(gain, calibration.sale) else logistic


def fit_taste(fit: Rows, calibration: Rows, *, label: Label) -> FittedValue:
    """Fit the chance on taste alone, calibrated as any other: what is left where time is short.

    The strata are those of `fit_value`, so a new brand has its own calibration here too.
    """
    alone = np.zeros_like(fit.x)
    alone[:, TASTE] = fit.x[:, TASTE]
    return _calibrated(fit_logistic(alone, fit.y), calibration, label)


def _calibrated(model: Model, rows: Rows, label: Label) -> FittedValue:
    raw, new = model.predict(rows.x), _new(rows.x)
    total = rows.total(raw)
    crowding = crowding_of(raw, total, outcome=rows.y, new=new)
    shared = crowded(raw, total, crowding)
    fitted, notes = [], []
    for name, stratum in zip(STRATA, (~new, new), strict=True):
        positives = int(rows.y[stratum].sum())
        if positives < LEAST_FOR_A_STRATUM:
            notes.append(f"value: {name} has {positives} {label}s, calibrated with the other")
            stratum = np.ones_like(new)  # ruff: ignore[redefined-loop-name] the fallback of this turn
        fitted.append(fit_calibrator(shared[stratum], rows.y[stratum]))
    return FittedValue(model, (fitted[0], fitted[1]), label, tuple(notes), crowding)


def save(value: FittedValue, folder: Path) -> None:
    """Write arrays as JSON, trees as LightGBM's text; nothing that runs code when read."""
    match value.model:
        case Logistic(mean=mean, weight=weight, offset=offset):
            model = {"mean": mean.tolist(), "weight": weight.tolist(), "offset": offset}
        case Boosted(booster=booster):
            model = {}
            (folder / "trees.txt").write_text(booster.model_to_string(), encoding="utf-8")
        case _:
            raise TypeError(f"no way to keep a {type(value.model).__name__}")
    plain = {
        "signals": NAMES,
        "label": value.label,
        "notes": value.notes,
        "crowding": value.crowding,
        "logistic": model or None,
        "calibrators": [one.plain() for one in value.calibrators],
    }
    (folder / "value.json").write_text(json.dumps(plain), encoding="utf-8")


def load(folder: Path) -> FittedValue:
    """Read what `save` wrote.

    Raises:
        BrokenArtefactError: it speaks of other signals than this version knows.
    """
    plain: Mapping[str, Any] = json.loads((folder / "value.json").read_text(encoding="utf-8"))
    if tuple(plain["signals"]) != NAMES:
        raise BrokenArtefactError(
            f"{folder / 'value.json'} was fitted on other signals than this version makes",
            "train again with this version",
        )
    first, second = (Calibrator.kept(one) for one in plain["calibrators"])
    return FittedValue(
        _model(plain, folder),
        (first, second),
        label=plain["label"],
        notes=tuple(plain["notes"]),
        crowding=plain["crowding"],
    )


def _model(plain: Mapping[str, Any], folder: Path) -> Model:
    said = plain["logistic"]
    if said is not None:
        return Logistic(np.array(said["mean"]), np.array(said["weight"]), said["offset"])
    import lightgbm

    text = (folder / "trees.txt").read_text(encoding="utf-8")
    return Boosted(lightgbm.Booster(model_str=text))
