"""A source of logged slates in, the frame that another policy is judged by out."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from typing import Annotated, Literal, assert_never

import numpy as np
import polars as pl
from pydantic import Field

from recsys.campaign.slate_columns import KEY, NO_SLOT, OUTCOMES, Kinds, kinds_of, refuse_repeats
from recsys.campaign.slate_outcomes import join_outcomes
from recsys.campaign.slate_shards import scan, shards_of
from recsys.domain.arrays import F64
from recsys.domain.errors import DataRefusedError, SettingError
from recsys.domain.spec import Spec
from recsys.evaluate.logged import LOG, MODEL, TARGET
from recsys.public import hillstrom, open_bandit
from recsys.public.files import origin
from recsys.public.hillstrom import Hillstrom
from recsys.public.open_bandit import OpenBandit

MORE = (*MODEL, "unsupported")
"""Columns that the target's frame may have beside its log chances."""


class SlateLog(Spec):
    """Your own slate log, what members did with it, and the chances under other settings.

    Columns of the log and of the outcomes: docs/slate-log.md. Target: send_id, member_id, slot and
    target_log_prob, the log chance of what was shown there, given the slots before it; q, q_target
    and unsupported where they are known (docs/off-policy.md).
    """

    kind: Literal["slate_log"] = "slate_log"
    root: str = "log"
    """Folder of the log's parquet files, or several: 'exports/*_slates/log'."""
    outcomes: str = "outcomes.parquet"
    """Parquet or CSV file of what members did; or the folder in which a service keeps what it was
    told (serve.feedback): its outcomes-*.csv are added up slot by slot."""
    target: str = "target.parquet"
    """Parquet or CSV file of the chances under the settings in question."""
    reward: Literal["bought", "clicked", "visited", "earned"] = "bought"
    """What counts: a purchase, a click, a visit, or what was earned, in money."""


LoggedSource = Annotated[OpenBandit | Hillstrom | SlateLog, Field(discriminator="kind")]
"""Every source of slates whose chances were written down."""


PLACE = pl.col("slot").rank("ordinal").over("send_id", "member_id").cast(pl.Int64) - 1
"""A row's place among those of its slate: a late pin may stand behind slots that nothing filled."""


def logged(source: LoggedSource) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the log with the columns of `recsys.evaluate.logged`, and what there is to know of it.

    Raises:
        SettingError: a file is not there.
        DataRefusedError: the files break their contract, or do not fit together.
    """
    match source:
        case OpenBandit():
            few = "clicks are few: this proves a formula right or wrong, never a policy better"
            return open_bandit.logged(source), (*open_bandit.notes(source), few)
        case Hillstrom():
            return hillstrom.logged(source), hillstrom.notes(source)
        case SlateLog():
            return _joined(source)
        case _:
            assert_never(source)


def chances(source: LoggedSource, frame: pl.DataFrame) -> tuple[pl.DataFrame, F64] | None:
    """Return the log with `sale` as a number, and the target's chance of each, F64[n, sales].

    None where only the chance of what was shown is known: then the target's frame brings `q` and
    `q_target`.
    """
    match source:
        case OpenBandit():
            return frame, open_bandit.target_chances(source)[frame["slot"].to_numpy()]
        case Hillstrom():
            arms = list(hillstrom.ARMS)
            sale = frame["arm"].replace_strict(arms, range(len(arms)), return_dtype=pl.Int64)
            always = np.eye(len(arms))[arms.index(source.arm)]
            return frame.with_columns(sale=sale), np.tile(always, (frame.height, 1))
        case SlateLog():
            return None
        case _:
            assert_never(source)


def _joined(source: SlateLog) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Join log, outcomes and target; rows of members who were sent nothing are left out."""
    log = scan(source.root).select(*KEY, "delivered_for", LOG)
    outcomes, in_bits = outcomes_of(source.outcomes, key="data.outcomes")
    found = join_outcomes(log, outcomes, in_bits=in_bits)
    shown = found.rows.filter(pl.col("slot") != NO_SLOT)
    aimed = _target(source.target)
    rows = shown.join(aimed, on=KEY, how="left", maintain_order="left")
    lacking = rows.filter(pl.col(LOG).is_not_null() & pl.col(TARGET).is_null())
    if lacking.height:
        first = ", ".join(f"{name} {lacking[name][0]}" for name in KEY)
        raise DataRefusedError(
            f"{source.target} has no {TARGET} for {lacking.height:,} rows of the log",
            f"first: {first}",
            "wanted: a row for each row of the log that has a propensity",
        )
    frame = rows.select(
        pl.col(source.reward).cast(pl.Float64).alias("reward"),
        *(pl.col(name) for name in aimed.columns if name not in KEY),
        LOG,
        PLACE,
        member="member_id",
        send="send_id",
    )
    counts = {
        "of members who were sent nothing, left out": found.rows.height - shown.height,
        "of outcomes whose slot is not in the log, left out": found.unknown,
        "of outcomes from before the send was delivered, left out": found.too_early,
        "of the target that are not in the log, left out": aimed.join(
            shown, on=KEY, how="anti"
        ).height,
    }
    said = tuple(f"{rows:,} rows {what}" for what, rows in counts.items() if rows)
    return frame, (origins(source.root), *map(origin, _files(source)), *said)


def _files(source: SlateLog) -> tuple[Path, ...]:
    return (*_told(source.outcomes), Path(source.target))


def _told(path: str) -> list[Path]:
    """Return the files of outcomes: those that a service kept, if a folder is named."""
    return sorted(Path(path).glob("outcomes-*.csv")) if Path(path).is_dir() else [Path(path)]


def outcomes_of(path: str, *, key: str) -> tuple[pl.DataFrame, bool]:
    """Read outcomes; tell whether they are a service's, told bit by bit.

    Raises:
        SettingError: nothing is there; `key` is the setting that names it.
        DataRefusedError: they cannot be read.
    """
    kinds = kinds_of(OUTCOMES)
    if not Path(path).is_dir():
        return _table(path, kinds, key=key), False
    files = _told(path)
    if not files:
        raise SettingError(
            f"{key}={path}: no outcomes-*.csv in it", "a service keeps them: serve.feedback"
        )
    told = pl.concat([_table(str(file), kinds, key=key) for file in files])
    with _readable(path):
        return told.select(*kinds), True


def origins(root: str) -> str:
    """Say which bytes the log is: one digest of those of its files, in the order of their names."""
    shards = shards_of(root)
    digest = md5(usedforsecurity=False)
    for path in shards:
        digest.update(origin(path).encode())
    return f"md5 of {len(shards)} files of {root}: {digest.hexdigest()}"


def _target(path: str) -> pl.DataFrame:
    keys = {name: kind for name, kind in kinds_of(OUTCOMES).items() if name in KEY}
    kinds = {**keys, **dict.fromkeys((TARGET, *MORE), pl.Float64())}
    found = _table(path, kinds, key="data.target")
    missing = [name for name in (*KEY, TARGET) if name not in found.columns]
    if missing:
        raise DataRefusedError(
            f"{path} lacks {', '.join(missing)}",
            f"found: {', '.join(found.columns)}",
            f"possible: {', '.join(kinds)}",
        )
    has = {name: kind for name, kind in kinds.items() if name in found.columns}
    with _readable(path):
        known = found.select(pl.col(name).cast(kind) for name, kind in has.items())
    refuse_repeats(known, path)
    return known


def _table(path: str, kinds: Kinds, *, key: str) -> pl.DataFrame:
    """Read a file; of a CSV, whose columns have no types, the named ones get theirs.

    Raises:
        SettingError: there is no such file.
        DataRefusedError: it cannot be read so.
    """
    file = Path(path)
    if not file.is_file():
        raise SettingError(f"{key}={path}: no such file", f"name a parquet or CSV file: {key}=PATH")
    with _readable(path):
        if file.suffix == ".parquet":
            return pl.read_parquet(file)
        return pl.read_csv(file, schema_overrides=kinds)


@contextmanager
def _readable(path: str) -> Generator[None]:
    try:
        yield
    except pl.exceptions.PolarsError as refused:
        raise DataRefusedError(
            f"{path} cannot be read: {str(refused).splitlines()[0]}",
            "its columns and their types stand in docs/slate-log.md and docs/off-policy.md",
        ) from None
