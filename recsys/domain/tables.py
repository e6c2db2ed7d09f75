"""Raw tables in the shop's own words, before the data contract has looked at them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import polars as pl

from recsys.domain.schema import Schema


@dataclass(frozen=True)
class Tables:
    """What a source hands to the contract. Ids are text; instants are Datetime("us", "UTC").

    Columns in the order (required | optional), besides the features that `schema` names:
    members    member | joined_at, consent_personalise, consent_mail
    sales      sale, opens_at | brand, closes_at, price, title, curated
    events     member, sale (null allowed for visit and mail_open), kind, at
               | channel, value, quantity, is_machine, ingested_at, id_source
    exposures  member, sale, at, send, slot, channel | propensity
    curation   sale, from_at, until_at
    stock      sale, at, left
    identities source, id, member: where an event has an id_source, its member is an id of that
               source and is looked up here

    An event's value is per piece where it has a quantity. opens_at may be missing where nothing
    ever closes (task endless): a sale then opens with its first event. `curated` (true, false)
    stands in for a missing curation table: an editor picks those sales as long as they are open.

    `kind` holds names of domain.events.Kind in lower case, `channel` those of Channel. A frame may
    carry `source_file` (str) and `source_row` (i64): where the row came from, for quarantine.
    """

    name: str
    zone: str
    schema: Schema
    sales: pl.DataFrame
    events: pl.DataFrame
    members: pl.DataFrame | None = None
    """None: the members are those of the events."""
    exposures: pl.DataFrame | None = None
    curation: pl.DataFrame | None = None
    stock: pl.DataFrame | None = None
    identities: pl.DataFrame | None = None
    watermark: datetime | None = None
    """Last settled instant; None = the last event's."""
    task: Literal["shelf", "endless"] = "shelf"
    shelf_hours: float | None = None
    notes: tuple[str, ...] = field(default=())
    """Facts about the source that belong into the report."""
