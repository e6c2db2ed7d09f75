"""The Spec of each verb: what may stand in its config and on its command line."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from recsys.campaign.spec import Campaign, NoCampaign
from recsys.data.spec import TablesSource
from recsys.domain.packed import Dtype
from recsys.domain.spec import Count, CountOrNone, Share, Spec
from recsys.evaluate.spec import Evaluate
from recsys.public.published import Beauty, CiteULike, Ebnerd, Gowalla, Movielens1M
from recsys.public.spec import CompleteJourney, Globo, Movielens, OnlineRetail
from recsys.rerank import laws
from recsys.rerank.calibrated import Calibrated
from recsys.rerank.diversity import Mmr, TopK
from recsys.rerank.dpp import Dpp
from recsys.rerank.spec import Blend, Rerank, plan_of
from recsys.rerank.ssd import Ssd
from recsys.retrieval.spec import Exact, Retrieval
from recsys.runs.executor import Executor, Local
from recsys.runs.promise import fault
from recsys.serve.keys import Scope
from recsys.serve.spec import Serve, instant
from recsys.towers.spec import Auto, Towers, Trainer, TwoTower
from recsys.world.spec import FlashSales

Data = Annotated[
    FlashSales
    | CompleteJourney
    | Globo
    | OnlineRetail
    | Movielens
    | Gowalla
    | Movielens1M
    | Beauty
    | CiteULike
    | Ebnerd
    | TablesSource,
    Field(discriminator="kind"),
]
"""Every source of data: the built-in world, public sets, a user's own tables."""


class Train(Spec):
    """One whole run: data, towers, judging, bundle."""

    data: Data = FlashSales()
    towers: Towers = TwoTower()
    trainer: Trainer = Auto()
    retrieval: Retrieval = Exact()
    rerank: Rerank = Blend()
    campaign: Campaign = NoCampaign()
    evaluate: Evaluate = Evaluate()
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of everything random; the same seed gives the same bits on a CPU."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")] = "noon"
    """Ends the name of the run's folder: letters, digits and . _ - are possible, up to 61."""
    resume: str | None = None
    """Go on with a run: `auto` = the newest unfinished one with equal settings, or a run's folder,
    whose settings then need not be typed again."""
    warm_start: str | None = None
    """Start from the towers of an earlier run and learn the days since: a run's folder or name, a
    bundle's name, or CURRENT = what is served. Its encoders are kept. null = start anew."""
    quiet: bool = False
    """Print only the folder made."""
    dry_run: bool = False
    """Check settings, data, room and device, print the plan, write nothing."""
    runs_dir: str = "runs"
    """Where run folders are made."""
    bundles_dir: str = "bundles"
    """Where bundles are published."""

    @model_validator(mode="after")
    def _asks_for_what_is_judged(self) -> Self:
        wrong = fault(
            self.evaluate,
            slots=self.rerank.slots,
            known_truth=isinstance(self.data, FlashSales),
            outcome_hours=self.data.outcome_hours,
            spectral=self.towers.spectral.rank > 0,
        )
        if wrong:
            raise ValueError(f"evaluate.require={self.evaluate.require}: {wrong}")
        return self

    @model_validator(mode="after")
    def _of_others_keeps_the_laws(self) -> Self:
        variety = plan_of(self.rerank).diversity
        # ours are under the same laws in our tests
        ours = isinstance(variety, TopK | Mmr | Dpp | Ssd | Calibrated)
        broken = "" if ours else laws.broken(variety)
        if broken:
            raise ValueError(f"{variety.kind!r} breaks a law of recsys.rerank.laws: {broken}")
        if isinstance(variety, Dpp) and self.rerank.slots > self.towers.dim:
            raise ValueError(
                f"rerank.diversity.kind=dpp fills at most towers.dim={self.towers.dim} slots, "
                f"not {self.rerank.slots}"
            )
        return self


class Serving(Spec):
    """Serve a bundle."""

    serve: Serve = Serve()
    dry_run: bool = False
    """Open and verify the bundle, print what would be served, do not listen."""


class Recommend(Spec):
    """One or several slates, here."""

    member: tuple[str, ...] | str = ""
    """A member's id, or [a,b,c]; recsys recommend ID says the same."""
    slots: Annotated[int, Field(ge=1, le=1000)] = 6
    """Places on the slate."""
    format: Literal["text", "json"] = "text"
    """How to print it."""
    bundle: str = "CURRENT"
    """The bundle that answers: CURRENT or a bundle's name."""
    bundles_dir: str = "bundles"
    """Where bundles are."""
    at: str | None = None
    """The instant to answer for (ISO 8601, UTC); null = the one the bundle was made for."""

    @field_validator("member", mode="before")
    @classmethod
    def _ids_are_text(cls, member: object) -> object:
        # 12346 is an id too; true and 1.5 have lost what was typed
        if isinstance(member, list | tuple):
            return [str(one) if type(one) is int else one for one in member]
        return str(member) if type(member) is int else member

    @field_validator("at")
    @classmethod
    def _an_instant(cls, at: str | None) -> str | None:
        if at is not None:
            instant(at)
        return at


class Export(Spec):
    """Vectors of members and sales as parquet."""

    what: tuple[Literal["members", "sales"], ...] = ("members", "sales")
    """Which vectors."""
    out: str = "exports"
    """Folder below which a new folder is made."""
    bundle: str = "CURRENT"
    """The bundle whose vectors are written: CURRENT or a bundle's name."""
    bundles_dir: str = "bundles"
    """Where bundles are."""
    dtype: Dtype = "fp32"
    """How numbers are written: int8 takes two fifths of the bytes and has scales beside it."""
    max_loss: Share = 0.02
    """Share of the exact 10 and of the exact 50 best sales that fp16 or int8 may lose, measured
    before anything is written."""
    rows_per_file: Count = 250_000
    """Vectors per parquet file: of sales at most, of members on average at most."""
    member_files: CountOrNone = 0
    """Files that members are dealt into by the hash of their id; 0 = as many as rows_per_file asks
    for, rounded up to a power of two. A number keeps each member in the same file for good."""
    to: Annotated[str, Field(pattern=r"^postgres(ql)?://")] | None = None
    """Also fill tables of this PostgreSQL database (postgresql://user@host/name), all or nothing;
    the password stands in PGPASSWORD or ~/.pgpass. Needs the extra `postgres`."""
    tables: Annotated[str, Field(pattern=r"^([a-z_][a-z0-9_]{0,40}\.)?[a-z_][a-z0-9_]{0,40}$")] = (
        "recsys"
    )
    """Names the tables: recsys_members, recsys_sales; or SCHEMA.NAME."""
    executor: Executor = Local()
    dry_run: bool = False
    """Print what would be written, how much of it is there already, and write nothing."""

    @field_validator("to")
    @classmethod
    def _without_a_password(cls, to: str | None) -> str | None:
        parts = urlsplit(to or "")
        if parts.password is not None or "password" in parts.query:
            # other users see the command line, and it is kept in logs
            raise ValueError("a password stands in PGPASSWORD or ~/.pgpass, not in the address")
        return to

    @model_validator(mode="after")
    def _numbers_that_the_database_has(self) -> Self:
        if self.to is not None and self.dtype != "fp32":
            raise ValueError(f"to=... fills columns of real[], which hold fp32, not {self.dtype}")
        if self.to is not None and set(self.what) != {"members", "sales"}:
            raise ValueError("to=... fills both tables, so that they are of one model")
        return self


class Refresh(Spec):
    """Noon: the same model, today's shelf, new vectors, new index, new bundle; no training."""

    run: str = "CURRENT"
    """The run whose model is used: a folder, a name below runs_dir, or CURRENT = the one whose
    model is served, else the newest that published a bundle."""
    runs_dir: str = "runs"
    """Where run folders are."""
    dial: str | None = None
    """A JSON file of the novelty dial by context, as `recsys dial` makes it, for all that the
    bundle serves, whatever the channel; null = as it is."""
    quiet: bool = False
    """Print only the bundle made."""


class Check(Spec):
    """The data contract alone."""

    data: Data = FlashSales()
    out: str = "."
    """Where quarantine.parquet is written."""


class Init(Spec):
    """Look at a folder of tables and propose how its columns map to ours."""

    path: str = ""
    """Folder that holds parquet or CSV files; recsys init FOLDER says the same."""
    name: str | None = None
    """Name of the config to write; null = the folder's name."""
    zone: str = "UTC"
    """IANA name of the business time zone: it defines day and noon."""
    force: bool = False
    """Replace a config of that name."""

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"no time zone is called {zone!r}; they read like Europe/Paris or UTC")
        return zone


class Doctor(Spec):
    """What this machine offers, and what to fix."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port the service would listen on."""


class MakeKey(Spec):
    """A key that opens the service to a caller."""

    name: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")] = ""
    """Who holds it: a service, not a person."""
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = ("recommend",)
    """What it opens: recommend = slates, likeness, feedback and the page; read = shelf, bundle,
    metrics; admin = reload."""
    days: Count | None = None
    """How long it is valid; null = for good."""
    file: str = "keys.json"
    """Where the hashes of keys are kept, readable by its owner alone."""
    revoke: bool = False
    """End all keys of the name instead."""


class Simulate(Spec):
    """Play a policy forward in the built-in world, whose truth is known, or write its past down."""

    data: FlashSales = FlashSales()
    policy: Literal["random", "editors", "popular", "taste", "value", "slots", "stack"] = "editors"
    """Which policy fills the mail and the page. The last three are ours, fitted on the past first:
    the most valuable sales, these with two places kept for what is new, all of `rerank: blend`."""
    days: Count = 7
    """Days to play."""
    out: str | None = None
    """Play no policy: write the past to this folder, as tables for data=tables and as arrays. A
    past of any size takes 1 GB of memory; one that was cut short there goes on."""
    processes: CountOrNone = 0
    """How many play the past for `out`; 0 = the cores this process may use, at most 6."""


class Pareto(Spec):
    """The price of novelty, variety and editors' picks: a run's test block again, each way."""

    run: str = "latest"
    """The run: a folder, a name below runs_dir, the name of a bundle, latest, or CURRENT = what is
    served."""
    runs_dir: str = "runs"
    """Where run folders are."""
    bundles_dir: str = "bundles"
    """Where bundles are."""
