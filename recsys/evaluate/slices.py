"""Which requests belong together: by how much is known of the member, by channel."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from recsys.domain.arrays import I16, I64, NONE, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.events import Channel
from recsys.domain.requests import Requests

HISTORY = {
    "history_0": (0, 0),
    "history_1_4": (1, 4),
    "history_5_19": (5, 19),
    "history_20_up": (20, np.iinfo(np.int64).max),
}
"""Slices by engagements before the request: first and last count."""


def by_request(dataset: Dataset, requests: Requests, families: Collection[str]) -> dict[str, I64]:
    """Return the rows of each slice of requests that is not empty; "all" is always there."""
    masks: dict[str, Bool] = {"all": np.ones(len(requests), dtype=np.bool_)}
    if "history" in families:
        known = requests.history_end - dataset.history.member_ptr[requests.member]
        masks |= {name: (low <= known) & (known <= high) for name, (low, high) in HISTORY.items()}
    if "channel" in families:
        first = first_channel(dataset, requests)
        masks |= {f"channel_{c.name.lower()}": first == c for c in Channel}
    return {name: np.flatnonzero(mask) for name, mask in masks.items() if mask.any()}


def first_channel(dataset: Dataset, requests: Requests) -> I16:
    """Return the channel of the first engagement after each request, I16[r].

    NONE where nothing follows within the outcome window.
    """
    history = dataset.history
    following = requests.history_end
    inside = following < history.member_ptr[requests.member + 1]
    event = np.where(inside, following, 0)
    if not len(history):
        return np.full(len(requests), NONE, dtype=np.int16)
    soon = inside & (history.at[event] < requests.at + requests.outcome_us)
    return np.where(soon, history.channel[event].astype(np.int16), NONE).astype(np.int16)
