"""What is promised about the whole audience; nothing yet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.domain.spec import Count, Spec


class NoCampaign(Spec):
    """Every member gets the slate that is best for them alone."""

    kind: Literal["none"] = "none"
    chunk: Annotated[Count, Field(le=65_536)] = 1024
    """Members whose slates are made at once; larger chunks are slower, not faster (DECISION 4)."""


Campaign = NoCampaign
"""How the audience is served; kinds with promises join this name as a union."""
