"""What the columns of members and sales mean: their kinds and roles."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.domain.spec import Spec


class Feature(Spec):
    """What every kind of column shares."""

    column: str
    """Name of the column in the dataset's table."""
    sensitive: bool = False
    """Income, children, health, credit and the like: unused unless named in data.sensitive."""


class Categorical(Feature):
    """One value out of a vocabulary, hashed into the shared table."""

    kind: Literal["categorical"] = "categorical"
    shares: str | None = None
    """Hash values under this field's name, so that equal values share a row."""


class Numeric(Feature):
    """A number, standardised on the towers' block; `buckets` adds its quantile as a field."""

    kind: Literal["numeric"] = "numeric"
    log: bool = False
    """Use log(1 + value)."""
    buckets: Annotated[int, Field(ge=0, le=256)] = 0
    """Quantile buckets that join the hashed fields; 0 for none."""


class Bag(Feature):
    """Several values of a vocabulary: a list column."""

    kind: Literal["bag"] = "bag"
    shares: str | None = None
    """Hash values under this field's name, so that equal values share a row."""


class Text(Feature):
    """Words and character 3- to 5-grams, hashed like a bag."""

    kind: Literal["text"] = "text"
    ngrams: bool = True
    """Add character n-grams to the words."""


class Vector(Feature):
    """A frozen dense vector (a list column of equal lengths), whitened on the towers' block."""

    kind: Literal["vector"] = "vector"
    dim: Annotated[int, Field(ge=1)] = 128
    """Dimensions kept after whitening."""


class Instant(Feature):
    """A point in time, used as gaps and cycles only: hour, weekday, season."""

    kind: Literal["instant"] = "instant"


FeatureSpec = Annotated[
    Categorical | Numeric | Bag | Text | Vector | Instant, Field(discriminator="kind")
]


class Schema(Spec):
    """The features of members and sales, and the columns with a role of their own.

    Fixed columns of `Dataset.sales`: sale (str id), brand (str or null), opens_at, closes_at
    (Datetime us UTC; closes_at null = never), curated (bool), price (f64 or null).
    Fixed columns of `Dataset.members`: member (str id), joined_at (Datetime us UTC or null),
    consent_personalise, consent_mail (bool).
    """

    members: tuple[FeatureSpec, ...] = ()
    sales: tuple[FeatureSpec, ...] = ()
    category: str | None = None
    """The sale column that groups sales for mixes, affinities and slices."""
