"""A slate log whose dials were drawn and its outcomes in, a file of dials by context out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from recsys.campaign.slate_columns import KEY, NO_SLOT
from recsys.campaign.slate_outcomes import join_outcomes
from recsys.campaign.slate_shards import scan
from recsys.domain.errors import GateError, SettingError
from recsys.evaluate.by_context import AT_DIAL, OWN, Choices, choose, halves, judged, sure
from recsys.evaluate.logged import LOG
from recsys.evaluate.offpolicy import PolicyValue
from recsys.evaluate.support import Refused
from recsys.rerank.dial import CONTEXTS, GRID, DialTable
from recsys.rerank.spec import FIFTHS
from recsys.runs.console import Console
from recsys.runs.log_spec import FindDial
from recsys.runs.logs import PLACE, origins, outcomes_of

_ALIKE = 1e-6
_WRITTEN_NOTHING = "nothing was written; more slates tell smaller differences"


def dial(spec: FindDial) -> None:
    """Let half of the members choose a dial for each context, the others judge, and write them.

    Raises:
        SettingError: a file or the folder of `out` is not there.
        DataRefusedError: log or outcomes break their contract.
        GateError: no dial is better than the one that stands, as far as this log can tell, or it
            can tell nothing.
    """
    console, file = Console(), Path(spec.out)
    if not file.parent.is_dir() or file.is_dir():
        raise SettingError(f"out={spec.out} is no file in a folder that is there", "name another")
    frame, left_out = drawn_slates(spec)
    begin(console, spec, frame, left_out=left_out)
    mine, theirs = halves(frame)
    choices = choose(mine, num_draws=spec.draws, seed=spec.seed)
    told(console, choices)
    found = judged_by(theirs, choices, spec)
    said = f"{found.value:+.4g} a slate ({found.low:+.4g} to {found.high:+.4g})"
    console.fact("judged", f"{said} by the other half, paired")
    if found.low <= 0:
        raise GateError(
            "what one half of the members chose is no better for the other half",
            f"found: {said}",
            _WRITTEN_NOTHING,
        )
    evidence = (origins(spec.root), counted(spec), said)
    table = table_of(choices, standing(frame), channel=spec.channel, evidence=evidence)
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(table.model_dump_json(indent=2) + "\n", encoding="utf-8")
    draft.replace(file)
    console.fact(
        "dials",
        f"{spec.out}: recsys slates dial={spec.out}",
        f"or, for the service, recsys refresh dial={spec.out}",
    )


def drawn_slates(spec: FindDial) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the slates whose dial was drawn, in the columns of `recsys.evaluate.by_context`.

    A slate that was swapped afterwards is among them, without chances: it counts as left out.
    The second part says which outcomes fit no slate of the channel.

    Raises:
        SettingError: a file is not there.
        DataRefusedError: log or outcomes break their contract.
        GateError: no dial was drawn.
    """
    wanted = ("decided_at", "delivered_for", LOG, "new_to_member", "policy_id")
    of_dials = ("context", "dial_own", "by_dial")
    here = (pl.col("channel") == spec.channel) & (pl.col("slot") != NO_SLOT)
    log = scan(spec.root).filter(here).select(*KEY, *wanted, *of_dials)
    outcomes, in_bits = outcomes_of(spec.outcomes, key="outcomes")
    found = join_outcomes(log, outcomes, in_bits=in_bits)
    any_drawn = pl.col("by_dial").is_not_null().any().over("send_id", "policy_id")
    drawn = found.rows.filter(any_drawn & pl.col("context").is_not_null())
    if drawn.is_empty():
        raise GateError(
            f"no slate of channel {spec.channel} in {spec.root} had its dial drawn",
            "draw some: recsys slates dial_drawn=0.5",
        )
    worth = 1 + spec.discovery * pl.col("new_to_member").cast(pl.Float64)
    frame = beside_what_stands(drawn).select(
        (pl.col(spec.reward).cast(pl.Float64) * worth).alias("reward"),
        *(
            pl.col("by_dial").list.get(place).cast(pl.Float64).alias(name)
            for place, name in enumerate(AT_DIAL, start=1)
        ),
        OWN,
        LOG,
        PLACE,
        "context",
        "dial_own",
        "decided_at",
        member="member_id",
        send="send_id",
    )
    counts = {
        "slates beside a dial that stood before and is none of these, left out": len(
            drawn.select("member_id", "send_id").unique()
        )
        - len(frame.select("member", "send").unique()),
        f"outcomes of no slot of channel {spec.channel}, left out": found.unknown,
        "outcomes from before the send was delivered, left out": found.too_early,
    }
    return frame, tuple(f"{rows:,} {what}" for what, rows in counts.items() if rows)


def beside_what_stands(drawn: pl.DataFrame) -> pl.DataFrame:
    """Add what each slate's chances are with the dial that stands now, as OWN.

    That is the last one of its context. A slate from before, when another stood, has its chances
    with that dial if it is one of GRID; else it is left out.
    """
    stood = standing(drawn)
    now = pl.col("context").replace_strict(stood, return_dtype=pl.Float64)
    place = pl.lit(None, dtype=pl.Int64)
    for number, dial in enumerate(GRID, start=1):
        place = pl.when((now - dial).abs() < _ALIKE).then(number).otherwise(place)
    same = (pl.col("dial_own") - now).abs() < _ALIKE
    at = pl.when(same).then(0).otherwise(place)
    kept = drawn.with_columns(_at=at).filter(pl.col("_at").is_not_null())
    return kept.with_columns(
        pl.col("by_dial").list.get(pl.col("_at"), null_on_oob=True).cast(pl.Float64).alias(OWN)
    )


def begin(
    console: Console, spec: FindDial, frame: pl.DataFrame, *, left_out: tuple[str, ...]
) -> None:
    """Print what the log is, and what of the outcomes is left out.

    Raises:
        GateError: nothing came of any slate.
    """
    slates = frame.select("member", "send").n_unique()
    here = f"{slates:,} slates of channel {spec.channel} whose dial was drawn"
    console.fact("log", here, *left_out)
    total = float(frame["reward"].to_numpy().sum())
    if not total:
        raise GateError(
            f"nothing came of these slates: {spec.reward} is 0 in all of them",
            *left_out,
            "do the outcomes belong to this log?",
        )
    console.fact("reward", f"{counted(spec)}: {total / slates:.4g} a slate")


def counted(spec: FindDial) -> str:
    """Say what counts."""
    return spec.reward if not spec.discovery else f"{spec.reward}, new x {1 + spec.discovery:g}"


def told(console: Console, choices: Choices) -> None:
    """Print what each dial brings more for all and in each context, and which is taken."""
    heads = "".join(f"{dial:>10g}" for dial in GRID)
    console.line(f"  {'context':9}{'slates':>9}{heads}  taken")
    dials = ["as it is" if dial is None else f"{dial:g}" for dial in choices.dials]
    rows = (choices.all, *choices.contexts, choices.rest)
    for choice, taken in zip(rows, ("", *dials, ""), strict=True):
        cells = "".join(f"{_cell(one):>10}" for one in choice.more)
        console.line(f"  {choice.context:9}{choice.slates:>9,}{cells}  {taken}".rstrip())
    console.line("  more a slate than the dial that stands; * = for sure, - = the log cannot tell")
    for choice in choices.contexts:
        unknown = next((one for one in choice.more if isinstance(one, Refused)), None)
        if unknown is not None and choice.slates:
            console.fact("", f"such as {choice.context}: {unknown.why[0]}")
            return


def _cell(found: PolicyValue | Refused) -> str:
    if isinstance(found, Refused):
        return "-"
    return f"{found.value:+.2g}" + ("*" if sure(found) else "")


def judged_by(frame: pl.DataFrame, choices: Choices, spec: FindDial) -> PolicyValue:
    """Return what the choices bring the other half more.

    Raises:
        GateError: nothing was chosen, or the log cannot tell.
    """
    refused = [one for one in choices.all.more if isinstance(one, Refused)]
    if len(refused) == len(GRID):
        raise GateError(
            "the log cannot answer for any dial",
            *refused[0].why,
            "what each reason asks for: docs/off-policy.md; nothing was written",
        )
    if not any(place is not None for place in choices.places):
        raise GateError(
            "no dial is better than the one that stands, as far as this log can tell",
            _WRITTEN_NOTHING,
        )
    found = judged(frame, choices, num_draws=spec.draws, seed=spec.seed)
    if isinstance(found, Refused):
        raise GateError("the log cannot judge what it chose", *found.why, "nothing was written")
    return found


def standing(frame: pl.DataFrame) -> Mapping[str, float]:
    """Return where the dial stood last in each context that the log has."""
    last = frame.sort("decided_at").group_by("context").agg(pl.col("dial_own").last())
    # as the settings had it: 0.35, not its nearest float32
    dials = last["dial_own"].cast(pl.Float64).round(6)
    return dict(zip(last["context"].to_list(), dials.to_list(), strict=True))


def table_of(
    choices: Choices, stood: Mapping[str, float], *, channel: str, evidence: tuple[str, ...]
) -> DialTable:
    """Put choices into a file of dials, and where none was made the dial that stood."""
    nobody, *pasts = (
        stood.get(context) if dial is None else dial
        for context, dial in zip(CONTEXTS, choices.dials, strict=True)
    )
    return DialTable.model_validate({
        "channel": channel,
        "novelty": nobody,
        "novelty_short": pasts[:FIFTHS],
        "novelty_long": pasts[FIFTHS:],
        "evidence": evidence,
    })
