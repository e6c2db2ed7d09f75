"""Six members of the test block as examples: who they are, what they get, and why."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import I64, NONE
from recsys.domain.dataset import Dataset
from recsys.domain.requests import Requests
from recsys.domain.slates import PARTS, Reason, Slates
from recsys.domain.ties import keyed
from recsys.evaluate.material import MemberStory, Place
from recsys.rerank.reasons import sentence
from recsys.runs.exhibits import texts

SIX = 6
SHOWN_COLUMNS = 4
"""Member columns that a story mentions, at most."""
TASTE, NEW, CURATED = (
    [PARTS.index(part) for part in group]
    for group in (("appeal", "fatigue"), ("novelty", "diversity"), ("editor", "floor", "cap"))
)


def stories(dataset: Dataset, requests: Requests, slates: Slates) -> list[MemberStory]:
    """Tell of members with long, middling, short and no history, one request each."""
    return [story(dataset, requests, slates, row=row) for row in chosen(dataset, requests).tolist()]


def chosen(dataset: Dataset, requests: Requests) -> I64:
    """Pick six requests of different members along the length of their history, I64[<= 6]."""
    length = requests.history_end - dataset.history.member_ptr[requests.member]
    _, first = np.unique(requests.member, return_index=True)
    shuffled = first[np.argsort(keyed(7, requests.member[first]), kind="stable")]
    order = shuffled[np.argsort(length[shuffled], kind="stable")]
    places = np.linspace(0, len(order) - 1, min(SIX, len(order))).round().astype(np.int64)
    return order[places]


def story(dataset: Dataset, requests: Requests, slates: Slates, *, row: int) -> MemberStory:
    """Tell of one request: who asked, what stood on the slate, what was chosen."""
    member = int(requests.member[row])
    past = int(requests.history_end[row] - dataset.history.member_ptr[member])
    filled = np.flatnonzero(slates.sales[row] != NONE)
    sales, evidence = slates.sales[row, filled], slates.evidence[row, filled]
    took = requests.target_sale[requests.target_ptr[row] : requests.target_ptr[row + 1]]
    titles, brands = texts(dataset, "title", sales), texts(dataset, "brand", sales)
    pointed = evidence_names(dataset, sales, evidence)
    parts = slates.parts[row, filled]
    places = [
        Place(
            title=titles[i],
            brand=brands[i],
            taste=float(parts[i, TASTE].sum()),
            new=float(parts[i, NEW].sum()),
            curated=float(parts[i, CURATED].sum()),
            reason=sentence(Reason(int(slates.reason[row, filled[i]])), **pointed[i]),
            hit=bool(sales[i] in took),
        )
        for i in range(len(filled))
    ]
    return MemberStory(
        member=str(dataset.members["member"][member]),
        about=about(dataset, member, past),
        places=places,
    )


def evidence_names(dataset: Dataset, sales: I64, evidence: I64) -> list[dict[str, str]]:
    """Return what a reason's sentence may name: the brand of the slot, the sale it points at."""
    shown = np.where(evidence == NONE, sales, evidence)
    brands = texts(dataset, "brand", sales)
    alike = texts(dataset, "title", shown)
    return [{"brand": brand, "sale": sale} for brand, sale in zip(brands, alike, strict=True)]


def about(dataset: Dataset, member: int, past: int) -> str:
    """Write what is known of a member in one line; sensitive columns are not in the schema."""
    row = dataset.members.row(member, named=True)
    known = [
        ", ".join(map(str, row[feature.column]))
        if isinstance(row[feature.column], list)
        else f"{row[feature.column]}"
        for feature in dataset.schema.members
        if row.get(feature.column) and feature.kind in {"categorical", "bag"}
    ]
    events = "no history" if past == 0 else f"{past:,} event{'s' * (past != 1)} before"
    return "; ".join([events, *known[:SHOWN_COLUMNS]])
