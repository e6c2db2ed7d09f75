"""A slate log whose dials were drawn and its outcomes in, a file of dials by context out."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recsys.campaign.slate_columns import KEY, NO_SLOT
from recsys.campaign.slate_outcomes import join_outcomes
from recsys.campaign.slate_shards import scan
from recsys.domain.errors import GateError
from recsys.evaluate.by_context import AT_DIAL, OWN, Choices, choose, halves, judged, sure
from recsys.evaluate.logged import LOG
from recsys.evaluate.offpolicy import PolicyValue
from recsys.evaluate.support import Refused
from recsys.rerank.dial import GRID, DialTable
from recsys.rerank.spec import FIFTHS
from recsys.runs.console import Console
from recsys.runs.log_spec import FindDial
from recsys.runs.logs import origins, outcomes_of


def dial(spec: FindDial) -> None:
    """Let half of the members choose a dial for each context, the others judge, and write them.

    Raises:
        SettingError: a file is not there.
        DataRefusedError: log or outcomes break their contract.
        GateError: no dial is better than the one that stands, as far as this log can tell.
    """
    console = Console()
    frame = drawn_slates(spec)
    slates = frame.select("member", "send").n_unique()
    counted = spec.reward if not spec.discovery else f"{spec.reward}, new x {1 + spec.discovery:g}"
    console.fact("log", f"{slates:,} slates of channel {spec.channel} whose dial was drawn")
    mean = float(frame["reward"].to_numpy().sum()) / max(slates, 1)
    console.fact("reward", f"{counted}: {mean:.4g} a slate")
    mine, theirs = halves(frame)
    choices = choose(mine, num_draws=spec.draws, seed=spec.seed)
    told(console, choices)
    if not any(place is not None for place in choices.places):
        raise GateError(
            "no dial is better than the one that stands, as far as this log can tell",
            "nothing was written; more slates tell smaller differences",
        )
    found = judged(theirs, choices, num_draws=spec.draws, seed=spec.seed)
    if isinstance(found, Refused):
        raise GateError("the log cannot judge what it chose", *found.why, "nothing was written")
    said = f"{found.value:+.4g} a slate ({found.low:+.4g} to {found.high:+.4g})"
    console.fact("judged", f"{said} by the other half, paired")
    if found.low <= 0:
        raise GateError(
            "what one half of the members chose is no better for the other half",
            f"found: {said}",
            "nothing was written; more slates tell smaller differences",
        )
    table = table_of(choices, spec, evidence=(origins(spec.root), counted, said))
    file = Path(spec.out)
    draft = file.with_suffix(".draft")
    draft.write_text(table.model_dump_json(indent=2) + "\n", encoding="utf-8")
    draft.replace(file)
    console.fact("dials", f"{spec.out}: recsys slates dial={spec.out}, or recsys refresh")


def drawn_slates(spec: FindDial) -> pl.DataFrame:
    """Return the slates whose dial was drawn, in the columns of `recsys.evaluate.by_context`.

    Raises:
        SettingError: a file is not there.
        DataRefusedError: log or outcomes break their contract.
        GateError: no dial was drawn.
    """
    wanted = ("delivered_for", LOG, "new_to_member", "context", "by_dial")
    log = scan(Path(spec.root)).filter(pl.col("channel") == spec.channel, pl.col("slot") != NO_SLOT)
    outcomes, in_bits = outcomes_of(spec.outcomes, key="outcomes")
    rows = join_outcomes(log.select(*KEY, *wanted), outcomes, in_bits=in_bits).rows
    # a swapped slot has no chances: its slate is told by the others
    drawn = rows.filter(pl.col("by_dial").is_not_null().any().over("send_id", "member_id"))
    if drawn.is_empty():
        raise GateError(
            f"no slate of channel {spec.channel} in {spec.root} had its dial drawn",
            "draw some: recsys slates dial_drawn=0.5",
        )
    worth = 1 + spec.discovery * pl.col("new_to_member").cast(pl.Float64)
    return drawn.select(
        (pl.col(spec.reward).cast(pl.Float64) * worth).alias("reward"),
        *(
            pl.col("by_dial").list.get(place).cast(pl.Float64).alias(name)
            for place, name in enumerate((OWN, *AT_DIAL))
        ),
        LOG,
        "slot",
        "context",
        member="member_id",
        send="send_id",
    )


def told(console: Console, choices: Choices) -> None:
    """Print what each dial brings more for all and in each context, and which is taken."""
    heads = "".join(f"{dial:>10g}" for dial in GRID)
    console.line(f"  {'context':9}{'slates':>9}{heads}  taken")
    dials = ["as it is" if dial is None else f"{dial:g}" for dial in choices.dials]
    for choice, taken in zip((choices.all, *choices.contexts), ("", *dials), strict=True):
        cells = "".join(f"{_cell(one):>10}" for one in choice.more)
        console.line(f"  {choice.context:9}{choice.slates:>9,}{cells}  {taken}".rstrip())
    console.line("  more a slate than the dial that stands; * = for sure, - = cannot be told")


def _cell(found: PolicyValue | Refused) -> str:
    if isinstance(found, Refused):
        return "-"
    return f"{found.value:+.2g}" + ("*" if sure(found) else "")


def table_of(choices: Choices, spec: FindDial, *, evidence: tuple[str, ...]) -> DialTable:
    """Put choices into a file of dials."""
    dials = choices.dials
    return DialTable(
        channel=spec.channel,
        novelty_short=dials[:FIFTHS],
        novelty_long=dials[FIFTHS:],
        evidence=evidence,
    )
