"""The ids of a bundle's members at rest: a table to look them up in, and a file others can read."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recsys.domain.arrays import Bool
from recsys.domain.idtable import IdTable, Order
from recsys.serve.mapped import mapped, save

FILE = "ids.parquet"
"""member, personalise: a row a member, for programs that know nothing of us."""
TABLE = "ids"
"""Folder of the table: its arrays, see `IdTable`."""


def write(ids: IdTable, personalise: Bool, folder: Path) -> None:
    """Write the ids of members, and who consents to personal slates, Bool[m]."""
    frame = pl.DataFrame({"member": ids.series(), "personalise": personalise})
    frame.write_parquet(folder / FILE)
    save(
        folder / TABLE,
        text=ids.text,
        start=ids.start,
        key=ids.order.key,
        row=ids.order.row,
        personalise=personalise,
    )


def read(folder: Path) -> tuple[IdTable, Bool]:
    """Return the ids of members, and who consents to personal slates, Bool[m].

    Raises:
        ValueError: an id stands there twice, or the table is not in order.
    """
    table = folder / TABLE
    if not table.is_dir():  # published before there were tables
        frame = pl.read_parquet(folder / FILE)
        return IdTable.of(frame["member"], "member"), frame["personalise"].to_numpy()
    text, start, key, row = (mapped(table, name) for name in ("text", "start", "key", "row"))
    ids = IdTable(text, start, Order(key, row)).checked("member")
    return ids, mapped(table, "personalise")
