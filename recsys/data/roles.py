"""The columns of one table in, which of them is what out: by name first, then by values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from recsys.data.look import Look
from recsys.data.rules import CHANNELS, LAYOUTS
from recsys.data.shapes import sample
from recsys.data.spec import KindName
from recsys.data.words import COLUMN_WORDS, KIND_NAMES, fit, kind_of

MOST_KINDS = 50
"""A column of more different words is no vocabulary of events."""
FEW_KINDS = 20
"""So many words may be a vocabulary of which we know not one."""
SURE = 0.3
"""A column says what members do if we know the words of so many of its rows."""


def roles_of(table: str, look: Look, given: Mapping[str, str]) -> dict[str, str]:
    """Return our column -> theirs; `given` holds what is known by other means."""
    found = dict(given)
    if table == "events":
        said = kind_column(look)
        if said is not None and said not in found.values():
            found["kind"] = said
    ours = [column for column in LAYOUTS[table].columns if column.name in COLUMN_WORDS]
    scored = [
        (fit(their, COLUMN_WORDS[our.name]), our.name, their)
        for our in ours
        if our.name not in {"kind", "member", "sale"}
        for their in _able(look, our.name, our.role)
    ]
    for score, our, their in sorted(scored, key=lambda entry: -entry[0]):
        if score and our not in found and their not in found.values():
            found[our] = their
    return found | _times_by_order(table, look, found)


def kind_column(look: Look) -> str | None:
    """Return the column that says what members do: by its words, else by its name and few words."""
    shares = {name: known_kinds(look.head[name]) for name in look.names}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] > SURE:
        return best
    called = {name: fit(name, KIND_NAMES) for name in look.names if _is_vocabulary(look.head[name])}
    best = max(called, key=lambda name: called[name], default="")
    return best if called.get(best) else None


def kinds_of(values: pl.Series) -> tuple[dict[str, KindName], list[str]]:
    """Return their word -> our kind where the words differ, and the words nobody knows."""
    words = sorted(sample(values).cast(pl.String).unique().to_list())
    known = {word: kind for word in words if (kind := kind_of(word)) is not None}
    return (
        {word: kind for word, kind in known.items() if word != kind},
        [word for word in words if word not in known],
    )


def is_constant(look: Look, name: str, key: str) -> bool:
    """Say whether a column of a log has one value for nearly every id in `key`, and not for all."""
    if look.head[name].dtype.is_nested() or look.head[name].n_unique() < 2:
        return False
    pairs = pl.DataFrame([look.column(key), look.column(name)]).drop_nulls()
    per_id = pairs.group_by(key).agg(pl.col(name).n_unique().alias("values"), rows=pl.len())
    often = per_id.filter(pl.col("rows") > 1)
    return often.height > 0 and (often["values"] == 1).sum() > 0.9 * often.height


def _able(look: Look, our: str, role: str) -> list[str]:
    """Return the columns whose values could play a role."""
    if role == "time":
        return list(look.times)
    plain = [name for name in look.names if name not in look.times]
    if role == "number":
        return [name for name in plain if _is_numeric(look.head[name])]
    if our == "channel":
        return [name for name in plain if _known_channels(look.head[name])]
    if role == "flag":
        return [name for name in plain if look.head[name].n_unique() <= 3]
    return [name for name in plain if not look.head[name].dtype.is_nested()]


def _times_by_order(table: str, look: Look, found: Mapping[str, str]) -> dict[str, str]:
    """Take instants by their order where names say nothing: the first opens, the second closes."""
    free = [name for name in look.times if name not in found.values()]
    if table == "events" and "at" not in found and free:
        return {"at": free[0]}
    if table == "sales" and "opens_at" not in found and len(free) in {1, 2}:
        return dict(zip(("opens_at", "closes_at"), sorted(free, key=_first(look)), strict=False))
    return {}


def _first(look: Look) -> Callable[[str], str]:
    return lambda name: str(look.head[name].cast(pl.String).min())


def _is_numeric(values: pl.Series) -> bool:
    known = sample(values)
    if known.dtype == pl.String:
        known = known.str.strip_chars().cast(pl.Float64, strict=False)
    return known.dtype.is_numeric() and known.len() > 0 and known.null_count() == 0


def known_kinds(values: pl.Series) -> float:
    """Return the share of the rows whose word we know for something that members do."""
    known = sample(values)
    if known.dtype not in {pl.String, pl.Categorical} or not known.len():
        return 0.0
    words = known.cast(pl.String).value_counts()
    if words.height > MOST_KINDS:
        return 0.0
    ours = [kind_of(word) is not None for word in words[values.name]]
    return float(words["count"].filter(pl.Series(ours)).sum() / known.len())


def _known_channels(values: pl.Series) -> bool:
    known = sample(values)
    return known.dtype == pl.String and bool(known.str.to_lowercase().is_in(CHANNELS).any())


def _is_vocabulary(values: pl.Series) -> bool:
    """Say whether a column holds a few words, each of them often."""
    known = sample(values)
    words = known.dtype in {pl.String, pl.Categorical} and known.n_unique() <= FEW_KINDS
    return words and 2 * known.n_unique() <= known.len()
