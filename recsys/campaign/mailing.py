"""Slates in, what a mailer sends out: a row a slot, the reason as a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from recsys.domain.arrays import I64, NONE, Bool
from recsys.domain.slates import Reason, Slates
from recsys.rerank.reasons import sentence

COLUMNS = ("member", "slot", "sale", "title", "brand", "reason")
"""Of the file: slot counts from 1, and reason is a sentence for the member to read."""
NEWEST = "among the newest sales"
"""Reason of a sale on the slate that is for all, where no editor picked it."""
_FORMULA = r"^[=+\-@\t\r]"
"""What a spreadsheet would run."""


def mail_rows(
    slates: Slates, personal: Bool, *, members: pl.Series, info: pl.DataFrame
) -> pl.DataFrame:
    """Return the rows of m slates; a member who gets nothing has none.

    `personal` Bool[m] are slates of the members' own, `members` text[m] the members' ids, `info`
    has sale, title and brand of each sale of the shop.
    """
    row, slot = np.nonzero(slates.sales != NONE)
    sale = slates.sales[row, slot]
    said = _said(slates, (row, slot), personal[row], info=info)
    about = info[pl.Series(sale)].select("sale", "title", "brand")
    return about.with_columns(
        member=members.gather(row), slot=pl.Series(slot + 1, dtype=pl.Int16), reason=said
    ).select(COLUMNS)


def write_csv(rows: pl.DataFrame, path: Path) -> None:
    """Write the rows as CSV: a cell that a spreadsheet would run begins with ' and is text."""
    text = pl.col(pl.String)
    safe = pl.when(text.str.contains(_FORMULA)).then(pl.lit("'") + text).otherwise(text)
    rows.with_columns(safe.name.keep()).write_csv(path)


def _said(
    slates: Slates, cells: tuple[I64, I64], personal: Bool, *, info: pl.DataFrame
) -> pl.Series:
    """Return the sentence of each of k slots, text[k]; those that are alike are written once."""
    reason, sale = slates.reason[cells].astype(np.int64), slates.sales[cells]
    evidence, brand = slates.evidence[cells], info["brand"].fill_null("")
    # its brand is all that a sentence says of the sale itself
    make = brand.rank("dense").cast(pl.Int64).to_numpy()[sale]
    key = ((reason * (len(info) + 1) + make) * (len(info) + 1) + evidence - NONE) * 2 + personal
    _, first, alike = np.unique(key, return_index=True, return_inverse=True)
    names = info.select(pl.coalesce("title", "sale")).to_series().to_list()
    brands = brand.to_list()
    sentences = [
        NEWEST
        if code == Reason.NOTHING and not own
        else sentence(Reason(code), brand=brands[row], sale="" if points == NONE else names[points])
        for code, row, points, own in zip(
            *(one[first].tolist() for one in (reason, sale, evidence, personal)), strict=True
        )
    ]
    return pl.Series(sentences, dtype=pl.String).gather(alike)
