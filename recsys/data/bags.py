"""One column of many values in, bags of table rows out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.data.hashing import MISSING, Hasher, table_row
from recsys.domain.arrays import F32, I32, I64

GRAM = "\x1e"
"""Before a character n-gram, so that it never equals a word."""
GRAM_LENGTHS = (3, 4, 5)


@dataclass(frozen=True)
class Cells:
    """The values that entities have in one field, sorted by entity."""

    entity: I64
    """I64[c], ascending."""
    row: I32
    """Row of the shared table, I32[c]."""
    weight: F32
    """1 / sqrt(values the entity has in the field) until `Rarity` weighs them, F32[c]."""


NO_CELLS = Cells(
    entity=np.zeros(0, dtype=np.int64),
    row=np.zeros(0, dtype=np.int32),
    weight=np.zeros(0, dtype=np.float32),
)


def value_cells(values: pl.Series, salt: str, *, field: str, hasher: Hasher) -> Cells:
    """Hash single values or lists of them; none, null and blank ones get the field's missing row.

    Values are written as text, so that the number 7 and the text "7" are one value.
    """
    cells = _spread(values.cast(pl.List(pl.String)) if _is_list(values) else values)
    kept = cells.filter(pl.col("value").str.strip_chars().str.len_bytes() > 0)
    distinct = kept["value"].unique().sort()
    table = pl.DataFrame({"value": distinct, "row": hasher.rows(salt, distinct.to_list())})
    rows = kept.join(table, on="value", maintain_order="left").select("entity", "row")
    return _bag(rows, len(values), missing_row=hasher.rows(field, [MISSING])[0])


def text_cells(values: pl.Series, field: str, *, grams: bool, hasher: Hasher) -> Cells:
    """Hash the words of texts and, where asked for, the character 3- to 5-grams of these."""
    words = values.cast(pl.String).str.to_lowercase().str.extract_all(r"\w+")
    cells = _spread(words)
    distinct = cells["value"].unique().sort().to_list()
    own = pl.DataFrame(
        {"value": distinct, "row": hasher.rows(field, distinct)},
        schema={"value": pl.String, "row": pl.Int32},
    )
    table = pl.concat([own, _gram_rows(distinct, field, bits=hasher.bits)]) if grams else own
    rows = cells.join(table, on="value").select("entity", "row")
    return _bag(rows, len(values), missing_row=hasher.rows(field, [MISSING])[0])


def _gram_rows(words: list[str], field: str, *, bits: int) -> pl.DataFrame:
    of_word = [_grams(word) for word in words]
    distinct = sorted(set().union(*of_word))
    # n-grams collide by intent and are not counted as values (RULINGS 6)
    row_of = {gram: table_row(field, GRAM + gram, bits) for gram in distinct}
    return pl.DataFrame(
        {
            "value": [word for word, grams in zip(words, of_word, strict=True) for _ in grams],
            "row": [row_of[gram] for grams in of_word for gram in sorted(grams)],
        },
        schema={"value": pl.String, "row": pl.Int32},
    )


def _grams(word: str) -> set[str]:
    """Cut <word> into pieces; the brackets tell beginnings and ends (Bojanowski et al. 2017)."""
    framed = f"<{word}>"
    return {
        framed[start : start + length]
        for length in GRAM_LENGTHS
        for start in range(len(framed) - length + 1)
    }


def _is_list(values: pl.Series) -> bool:
    return isinstance(values.dtype, pl.List | pl.Array)


def _spread(values: pl.Series) -> pl.DataFrame:
    """Return one line (entity, value as text) for each known value."""
    frame = pl.DataFrame({"entity": np.arange(len(values)), "value": values})
    if _is_list(values):
        frame = frame.explode("value")
    return frame.drop_nulls("value").with_columns(pl.col("value").cast(pl.String))


def _bag(rows: pl.DataFrame, num: int, *, missing_row: int) -> Cells:
    once = rows.unique().sort("entity", "row")
    entity = once["entity"].to_numpy()
    blank = np.flatnonzero(np.bincount(entity, minlength=num) == 0)
    entity = np.concatenate([entity, blank])
    row = np.concatenate([once["row"].to_numpy(), np.full(len(blank), missing_row)])
    order = np.argsort(entity, kind="stable")
    counts = np.bincount(entity, minlength=num)
    return Cells(
        entity=entity[order],
        row=row[order].astype(np.int32),
        weight=(1 / np.sqrt(counts[entity[order]])).astype(np.float32),
    )
