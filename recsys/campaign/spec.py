"""What is promised about the whole audience, and what editors ask of all slates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.campaign.bounds import Bound
from recsys.domain.spec import Count, NonNegative, Share, Spec


class Standing(Spec):
    """What every kind of campaign shares."""

    chunk: Annotated[Count, Field(le=65_536)] = 1024
    """Members whose slates are made at once; larger chunks are slower, not faster (DECISION 4)."""
    rules: str = ""
    """Editors' pins, bans and boosts: a parquet or CSV file (docs/promises.md); empty = none."""


class NoCampaign(Standing):
    """Every member gets the slate that is best for them alone."""

    kind: Literal["none"] = "none"


class Promised(Standing):
    """Slates are the best ones that keep bounds on who sees what, over all members."""

    kind: Literal["promises"] = "promises"
    each_pick: Share = 0.2
    """Least share of members who see each sale that an editor picked; 0 = no such promise."""
    each_sale: Share = 0.35
    """Largest share of members who see any one sale; 1 = no such promise."""
    bounds: tuple[Bound, ...] = ()
    """Promises by name: [{group: brand=Acme, lower: 0.1, segment: tier=gold}]; a bound on one sale
    stands in for each_pick and each_sale there."""
    segments: tuple[str, ...] = ()
    """Segments of members that bounds may name, by a column of theirs: [tier=gold]. A member
    belongs to the first that holds."""
    sample: Count = 20_000
    """Members among whom the prices of the promises are found."""
    steps: Count = 80
    """Steps that the search for prices may take."""
    tighten: NonNegative = 2.0
    """Standard errors by which bounds are tightened for members who are not in the sample."""


Campaign = Annotated[NoCampaign | Promised, Field(discriminator="kind")]
"""How the audience is served, chosen by `kind`."""
