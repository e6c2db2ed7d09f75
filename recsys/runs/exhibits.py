"""What a report shows besides figures: data facts, reach, reliability, a map, six members."""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.campaign.audience import reach, slates_for_all
from recsys.domain.arrays import I32, I64, NONE
from recsys.domain.clock import utc_of
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY
from recsys.evaluate.material import DataFacts, Reach, SaleMap
from recsys.evaluate.reliability import Stratum, by_stratum, foretold
from recsys.rerank.fit import thinned
from recsys.rerank.spec import plan_of
from recsys.runs.house import SAMPLED, audience_of
from recsys.runs.learn import Learned
from recsys.runs.prepare import Prepared

MAPPED = 3_000
"""Sales on the map, the newest."""


def data_facts(prepared: Prepared) -> DataFacts:
    """Return rows kept and set aside, and the time they span."""
    dataset, checked = prepared.dataset, prepared.checked
    at = dataset.events.at
    first, last = (int(at.min()), int(at.max())) if len(at) else (dataset.watermark,) * 2
    return DataFacts(
        name=dataset.name,
        first=f"{utc_of(first):%d %b %Y %H:%M} UTC",
        last=f"{utc_of(last):%d %b %Y %H:%M} UTC",
        rows=checked.rows_kept,
        set_aside={
            f"{table}: {reason}": rows
            for table, reasons in checked.counts.items()
            for reason, rows in reasons.items()
            if rows
        },
        notes=prepared.notes,
    )


def reach_of(learned: Learned, *, chunk: int) -> Reach:
    """Make slates for the newest shelf and count who has each sale on it."""
    dataset = learned.task.dataset
    audience = audience_of(learned.embedder)
    shown = np.zeros(dataset.num_sales, dtype=np.int64)
    for slates in slates_for_all(learned.ranker, audience, chunk=chunk):
        shown += reach(slates, dataset.num_sales)
    shelf = dataset.shelf(audience.at)
    known = dataset.opens_at < audience.at - DAY
    seen_before = np.isin(dataset.brand, dataset.brand[known]) | (dataset.brand == NONE)
    consenting = int(dataset.members["consent_personalise"].sum())
    part = f" (a sample of {consenting:,} members)" if consenting > SAMPLED else ""
    return Reach(
        at=f"{utc_of(audience.at):%d %b %Y %H:%M} UTC{part}",
        members=len(audience.members),
        shown=shown[shelf.sales],
        titles=texts(dataset, "title", shelf.sales),
        brands=texts(dataset, "brand", shelf.sales),
        curated=shelf.curated,
        new=~seen_before[shelf.sales],
    )


def texts(dataset: Dataset, column: str, rows: I32 | I64) -> list[str]:
    """Return a text column of some sales; the sale's id stands in for a missing title."""
    if column not in dataset.sales.columns:
        column = "sale" if column == "title" else "brand"
    wanted = pl.coalesce(pl.col(column).cast(pl.String), pl.col("sale"))
    known = dataset.sales.select(wanted if column != "brand" else pl.col("brand").fill_null(""))
    found: list[str] = known.to_series().gather(rows).to_list()
    return found


def strata_of(learned: Learned) -> tuple[Stratum, ...]:
    """Set calibrated values of test requests against what happened: whole shelves, then slates.

    The first is of all rows; none where nothing happened.
    """
    test, most = learned.task.blocks.test, plan_of(learned.ranker.spec).candidates
    pairs = foretold(
        learned.ranker,
        learned.task.dataset.shop,
        thinned(test, most=most),
        taste=learned.embedder.scorer(),
        unit_of=learned.unit,
    )
    return by_stratum(pairs)


def sale_map(learned: Learned) -> SaleMap:
    """Return the newest sales in two dimensions, those on the shelf marked."""
    dataset, embedder = learned.task.dataset, learned.embedder
    rows = np.arange(max(0, dataset.num_sales - MAPPED), dataset.num_sales)
    unit = embedder.sales(rows, dataset.watermark)[:, : embedder.unit_dims]
    on_shelf = np.isin(rows, dataset.shelf(dataset.watermark).sales)
    column = dataset.schema.category
    groups = texts(dataset, column, rows) if column else [""] * len(rows)
    return SaleMap.of(unit, groups, titles=texts(dataset, "title", rows), on_shelf=on_shelf)
