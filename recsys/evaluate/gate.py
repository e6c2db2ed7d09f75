"""A gate on a report: good enough, or an error that says by how much not."""

from __future__ import annotations

import math
import re

from recsys.domain.errors import GateError, SettingError
from recsys.domain.report import Estimate, Report

_GATE = re.compile(r"\s*(?:(\w+):)?((?:[\w-]+/)?\w+)\s*>\s*([\w.+-]+)\s*")


def met(report: Report, require: str) -> None:
    """Compare one figure of a report, of taste where no scorer is named, as `require` asks.

    `require` is [SCORER:][SLICE/]METRIC>RIVAL, where RIVAL is a scorer or a number; "" = no gate.

    Raises:
        GateError: the figure is not above the rival's or the number.
        SettingError: the report holds no such figure.
    """
    if not require:
        return
    parts = _GATE.fullmatch(require)
    if parts is None:
        raise SettingError(
            f"evaluate.require={require!r} is no gate",
            "possible: [SCORER:][SLICE/]METRIC>RIVAL, e.g. day0/ndcg_at_10>popular",
        )
    scorer, metric, rival = parts[1] or "taste", parts[2], parts[3]
    ours = _figure(report, scorer, metric)
    bar = _figure(report, rival, metric) if rival in report.scorers else _number(report, rival)
    value = bar.value if isinstance(bar, Estimate) else bar
    if not ours.value > value:
        against = f"{rival} {_text(bar)}" if isinstance(bar, Estimate) else f"{bar:g}"
        raise GateError(
            f"{scorer} {metric} is not above what evaluate.require asks for",
            f"found: {_text(ours)} against {against}",
            "train longer, look at report.html, or lower the gate",
        )


def _figure(report: Report, scorer: str, metric: str) -> Estimate:
    try:
        return report.get(scorer, metric)
    except KeyError:
        where = metric.rpartition("/")[0] or "all"
        known = report.scorers.get(scorer)
        possible = report.scorers if known is None else known.get(where, known)
        raise SettingError(
            f"evaluate.require: the report holds no {metric} of {scorer}",
            f"possible: {', '.join(sorted(possible))}",
        ) from None


def _number(report: Report, rival: str) -> float:
    try:
        number = float(rival)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise SettingError(
            f"evaluate.require: {rival!r} is neither a scorer of the report nor a number",
            f"possible: {', '.join(sorted(report.scorers))}",
        )
    return number


def _text(figure: Estimate) -> str:
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f}, n = {figure.n})"
