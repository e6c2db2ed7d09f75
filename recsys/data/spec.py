"""Settings of a person's own tables: where they lie and which of their columns is what."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from recsys.domain.schema import FeatureSpec
from recsys.domain.source import Source
from recsys.domain.spec import Positive, Spec

KindName = Literal["visit", "view", "mail_open", "mail_click", "wait_list", "cart", "purchase"]


class Table(Spec):
    """One table: its files and the names of its columns."""

    path: str
    """A parquet or CSV file, a glob, a folder of them, or the URL of an object store."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name of a column -> yours; columns that are called alike need no entry."""
    ignore: tuple[str, ...] = ()
    """Columns of yours that nothing shall see."""
    features: tuple[FeatureSpec, ...] = ()
    """What columns of members and sales mean, where a look at their values misleads."""
    distinct: bool = False
    """Keep the first known value of each column for each id: a table of sales out of a log."""
    time_format: str | None = None
    """How times are written where not as ISO 8601 or seconds since 1970, as in %d/%m/%Y %H:%M."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What parts the columns of a CSV file."""
    list_delimiter: str = "|"
    """What parts the values of a bag that is written as text."""


class EventTable(Table):
    """The table of what members did."""

    kind: KindName | None = None
    """What every row is, where no column says it: a log of purchases, say."""
    kinds: dict[str, KindName] = Field(default_factory=dict)
    """Your word for what a member did -> ours; words that are alike need no entry."""
    lines: bool = False
    """Rows are lines of orders: those of one member, sale, kind and time add up to one event."""


class TablesSource(Source):
    """A person's own tables of members, sales and events."""

    kind: Literal["tables"] = "tables"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")] = "tables"
    """What the shop is called in reports and folders."""
    zone: str
    """Business time zone, as in Europe/Paris: it defines day and noon."""
    times: Literal["local", "utc"] = "local"
    """On which clock times without an offset were written: the zone's, or UTC."""
    events: EventTable
    """member, sale, kind, at | channel, value, quantity, is_machine, ingested_at, id_source."""
    sales: Table | None = None
    """sale, opens_at | brand, closes_at, price, title, curated. None = the sales of the events."""
    members: Table | None = None
    """member | joined_at, consent_personalise, consent_mail. None = the members of the events."""
    exposures: Table | None = None
    """member, sale, at, send, slot, channel | propensity: what was shown."""
    curation: Table | None = None
    """sale, from_at | until_at: what an editor recommended, and when."""
    stock: Table | None = None
    """sale, at, left: changes of stock."""
    identities: Table | None = None
    """source, id, member: whose the ids of events with an id_source are."""
    category: str | None = None
    """The sale column that groups sales in mixes and reports; None = `category`, if it is there."""
    task: Literal["shelf", "endless"] | None = None
    """Sales open and close, or nothing ever closes; None = shelf if sales say when they open."""
    shelf_hours: Positive | None = None
    """On offer is what was engaged with in the last hours; None = by opens_at and closes_at."""

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"no time zone is called '{zone}'; they read like Europe/Paris or UTC")
        return zone

    @model_validator(mode="after")
    def _sales_of_a_shelf(self) -> Self:
        if self.task == "shelf" and self.sales is None:
            raise ValueError("task=shelf needs a table of sales with their openings")
        return self
