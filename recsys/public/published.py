"""Settings of the public sets whose splits are published as files, most of them without times.

Their loaders date what has no date, say so in the notes of a run, and keep the published test
pair for pair. The cut-offs of the published figures are asked for by `evaluate.ks`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.domain.source import Cadence, Source
from recsys.domain.spec import CountOrNone, Positive


class Given(Source):
    """What the published splits share: a day each for validation and test, seen items left out."""

    cadence: Cadence = "engagement"
    outcome_hours: Positive = 24.0
    value_days: CountOrNone = 0
    calibration_days: CountOrNone = 0
    exclude_seen: bool = True


class Gowalla(Given):
    """Gowalla check-ins, the fixed LightGCN/NGCF split: 29,858 members, 40,981 places, ids only.

    Files: train.txt.gz, test.txt.gz; a line is `user item item ...`. Research use only.
    Times: the set has none and no order, so a member's train pairs are one set and one training
    request: each step hides a share of `hidden_share` of it and asks for that. A share of
    `validation_share` of the train pairs, by a hash of (seed, member, place), is dated a day
    later, the validation; the test pairs come the day after that.
    Protocol: rank all 40,981 places but those of the member's train pairs, for the 29,858 members
    with test pairs; recall@20 divides by all test pairs of a member, nDCG@20's ideal order is cut
    at min(20, test pairs): `evaluate.ks=[20]`. A day before the test chooses the epoch; half of
    its members fit the value model and half calibrate it. Most published figures were chosen on
    the test itself; ours are lower for that reason.
    """

    kind: Literal["gowalla"] = "gowalla"
    root: str = "data/gowalla-lightgcn"
    """Folder of the two files."""
    cadence: Cadence = "set"
    validation_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """Share of the train pairs that are kept for validation."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Another seed keeps others."""


class Movielens1M(Given):
    """MovieLens-1M in SASRec's order: 6,040 members, 3,416 films, 999,611 ratings, last item out.

    Files: ml-1m_sasrec.txt.gz (`user item` a line, in each user's order), movies.dat, users.dat,
    sas_to_original_items.txt, sas_to_original_users.txt; research use only. Another sort of the
    same ratings has other last items for a quarter of the users: its figures stand elsewhere.
    Columns: every rating is one view of a film. Genres, title and decade; age group, gender and
    occupation.
    Times: the order alone is known, so the loader makes them, a day apart: the last film of a
    member stands in the day of the test, the one before in that of validation.
    Protocol: leave one out: rank all 3,416 films but those the member rated before, one test film
    for each of 6,040 members; hit@10 (= recall@10) and nDCG@10. The films before the last two
    train, one request each. Half of the members of validation fit the value model and half
    calibrate it. Tables with sampled candidates never stand beside these.
    """

    kind: Literal["ml_1m"] = "ml_1m"
    root: str = "data/ml-1m"
    """Folder of the five files."""


class Beauty(Given):
    """Amazon Beauty as S3-Rec prepared it: 22,363 members, 12,101 products, last item out.

    Files: Beauty.txt.gz (`user item item ...` a line, in order), Beauty_item2attributes.json.gz;
    research use only. SASRec's own repository has another Beauty.
    Columns: every review is one view of a product; `attributes` are the numbers of its category
    levels and brand, whose names are not given.
    Times: the order alone is known, so the loader makes them, a day apart: the last product of a
    member stands in the day of the test, the one before in that of validation.
    Protocol: leave one out: rank all 12,101 products but those the member reviewed before, one
    test product for each of 22,363 members; hit@10 (= recall@10) and nDCG@10. The products before
    the last two train, one request each. Half of the members of validation fit the value model
    and half calibrate it.
    """

    kind: Literal["beauty"] = "beauty"
    root: str = "data/amazon-beauty"
    """Folder of the two files."""


class CiteULike(Given):
    """CiteULike-a, the cold-start split of ALDI and GAR: 5,551 members, 16,980 articles.

    Files: warm_emb.csv.gz (train), warm_val, warm_test, cold_item_val, cold_item_test (.csv.gz),
    item-tag.dat.gz, citations.dat.gz; academic use only. The articles' texts are not among them.
    Columns: tags of an article and the articles it cites, by number.
    Times: the set has none and no order, so a member's train pairs are one set and one training
    request: each step hides a share of `hidden_share` of it and asks for that. Validation is
    dated a day later, the test the day after that. Warm articles are open all the time, the cold
    ones of validation on its day, the cold ones of the test from the day of the test on.
    Protocol: three rankings without what the member knows, `evaluate.ks=[20]`. Slice day0 is the
    cold ranking: 1,698 cold articles, the 4,846 members with cold test pairs. Slice older is the
    warm one: 13,584 articles, 4,591 members. `all` ranks both together for the 5,352 members who
    have either, with `only_both` for the 4,085 of the published overall ranking, who have both.
    Published codes also rank the 1,698 cold articles of validation (3,396 cold candidates in
    all), test the first 2,000 members alone, and read texts: compare with them loosely.
    """

    kind: Literal["citeulike"] = "citeulike"
    root: str = "data/citeulike-a-cold"
    """Folder of the seven files."""
    cadence: Cadence = "set"
    only_both: bool = False
    """Test only members with cold and warm test pairs."""


class Ebnerd(Source):
    """EB-NeRD demo: what Ekstra Bladet's front page showed in a week of May 2023, and the clicks.

    Files: train_behaviors.parquet, train_history.parquet; under the newspaper's terms.
    Columns: articles have none: no title, no category. One opens when it is first seen, in a view
    or in the clicks of the 21 days before. Gender, age group, postcode and subscription where
    known. next_read_time and next_scroll_percentage look ahead and are not read, nor is what
    is known of the page on which a view was made.
    Protocol: an impression is a request, its shelf the articles in view (11 on average), its
    outcomes the clicks on it; figures are means over impressions: auc, mrr, nDCG@5 and nDCG@10,
    `evaluate.ks=[5,10]`. Global time: the last 2 days are the test, the day before is validation
    (half of its members fit the value model, half calibrate it), the towers learn from the 4
    days before. Beside newest, the click rate so far is to be beaten: ask for click_rate in
    `evaluate.baselines`.
    """

    kind: Literal["ebnerd"] = "ebnerd"
    root: str = "data/ebnerd-demo"
    """Folder of the two files."""
    cadence: Cadence = "shown"
    outcome_hours: Positive = 1 / 3600
    value_days: CountOrNone = 0
    calibration_days: CountOrNone = 0
