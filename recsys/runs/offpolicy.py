"""What another policy would have brought, by a log of this one; or why the log cannot say."""

from __future__ import annotations

import polars as pl

from recsys.domain.errors import GateError
from recsys.domain.report import Estimate
from recsys.domain.spec import Spec
from recsys.evaluate.estimators import Dr, DrOs, Estimator
from recsys.evaluate.offpolicy import PolicyValue, difference, estimate
from recsys.evaluate.rewards import cross_fitted
from recsys.evaluate.support import Refused
from recsys.runs.console import Console
from recsys.runs.log_spec import OffPolicy
from recsys.runs.logs import LoggedSource, chances, logged


def offpolicy(spec: OffPolicy) -> None:
    """Say what the log is, then what the target would have brought and how well the log covers it.

    Raises:
        SettingError: a file is not there, or the method needs what the log lacks.
        DataRefusedError: the log holds what no log can.
        GateError: the log cannot answer: each reason, and no estimate.
    """
    console = Console()
    frame, notes = logged(spec.data)
    console.fact("log", described(spec.data), f"{frame.height:,} rows", *notes)
    console.fact("method", described(spec.method))
    frame = modelled(spec.data, frame, method=spec.method)
    value = answered(estimate(frame, spec.method, num_draws=spec.draws, seed=spec.seed))
    more = answered(difference(frame, spec.method, num_draws=spec.draws, seed=spec.seed))
    told(console, value, more=more, counted="unsupported" in frame.columns)


def described(setting: Spec) -> str:
    """Write a kind and its settings: dr_os, weights=prefix, shrink=100."""
    plain = setting.model_dump()
    values = (
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in plain.items()
        if name != "kind"
    )
    return ", ".join([str(plain["kind"]), *values])


def modelled(source: LoggedSource, frame: pl.DataFrame, *, method: Estimator) -> pl.DataFrame:
    """Add a cross-fitted model of rewards where the method needs one and all chances are known."""
    if not isinstance(method, Dr | DrOs):
        return frame
    known = chances(source, frame)
    return frame if known is None else cross_fitted(*known)


def answered(found: PolicyValue | Refused) -> PolicyValue:
    """Return the answer.

    Raises:
        GateError: there is none.
    """
    if isinstance(found, Refused):
        raise GateError(
            "the log cannot answer for this policy",
            *found.why,
            "what each reason asks for: docs/off-policy.md; no setting lifts it",
        )
    return found


def told(console: Console, value: PolicyValue, *, more: Estimate, counted: bool) -> None:
    """Print an answer and what it stands on; `counted` = what the log could not show is known."""
    each = "slate" if value.method.weights == "prefix" else "row"
    console.fact("value", f"{interval(value)} a {each}")
    console.fact("more", f"{interval(more)} than the log's own policy, paired")
    console.fact("", "intervals hold 95 %, members drawn anew")
    console.fact(
        "weights",
        f"worth {value.ess:,.0f} of {value.n:,} {each}s ({value.ess / value.n:.1%}); "
        f"mean {value.weight_mean:.4f}, largest {value.weight_max:,.1f}",
    )
    lost = f"{value.missing_support:.2%} of the target is what the log could not show"
    console.fact("support", lost if counted else "not counted: the log has no column `unsupported`")
    console.fact("left out", f"{value.left_out_share:.2%} of the log, without a propensity")


def interval(found: Estimate) -> str:
    """Write a figure with both ends of its interval."""
    return f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g})"
