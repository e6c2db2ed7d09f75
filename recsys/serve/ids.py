"""The ids of a bundle's members at rest: a table to look them up in, and a file others can read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.domain.arrays import Bool
from recsys.domain.idtable import IdTable, Order
from recsys.serve.mapped import mapped, save

FILE = "ids.parquet"
"""member, personalise, mail: a row a member, for programs that know nothing of us."""
TABLE = "ids"
"""Folder of the table: its arrays, see `IdTable`."""


@dataclass(frozen=True)
class Consents:
    """What each of m members has agreed to."""

    personalise: Bool
    """Slates of their own, Bool[m]."""
    mail: Bool | None = None
    """Being written to, Bool[m]; None = the bundle does not say."""


def write(ids: IdTable, consents: Consents, folder: Path) -> None:
    """Write the ids of members and what they agreed to."""
    agreed = {
        name: one
        for name, one in (("personalise", consents.personalise), ("mail", consents.mail))
        if one is not None
    }
    pl.DataFrame({"member": ids.series(), **agreed}).write_parquet(folder / FILE)
    save(
        folder / TABLE,
        text=ids.text,
        start=ids.start,
        key=ids.order.key,
        row=ids.order.row,
        **agreed,
    )


def read(folder: Path) -> tuple[IdTable, Consents]:
    """Return the ids of members and what they agreed to.

    Raises:
        ValueError: an id stands there twice, or the table is not in order.
    """
    table = folder / TABLE
    if not table.is_dir():  # published before there were tables
        frame = pl.read_parquet(folder / FILE)
        return IdTable.of(frame["member"], "member"), Consents(frame["personalise"].to_numpy())
    text, start, key, row = (mapped(table, name) for name in ("text", "start", "key", "row"))
    ids = IdTable(text, start, Order(key, row)).checked("member")
    mail = mapped(table, "mail") if (table / "mail.npy").exists() else None
    return ids, Consents(mapped(table, "personalise"), mail)
