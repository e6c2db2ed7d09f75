"""Requests in, the same requests without the outcomes on what their members knew already out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys.domain.arrays import I64, Bool
from recsys.domain.events import Events
from recsys.domain.requests import Requests


def first_contacts(requests: Requests, history: Events) -> Requests:
    """Return requests for which what a member engaged with before is no candidate, no outcome.

    Requests left without an outcome go; the weights of the others sum to 1 again. Outcomes that
    training hides from the past stay.
    """
    if requests.hidden_share:
        return replace(requests, exclude_seen=True)
    row = np.repeat(np.arange(len(requests)), np.diff(requests.target_ptr))
    return replace(requests.keeping(~_known(requests, history, row)), exclude_seen=True)


def _known(requests: Requests, history: Events, row: I64) -> Bool:
    """Return which outcomes lie on a sale of the past of their request `row`, Bool[t]."""
    width = int(max(history.sale.max(initial=0), requests.target_sale.max(initial=0))) + 1
    # the history is sorted by member and time, so what comes first in it is the first contact
    pairs, first = np.unique(
        history.member.astype(np.int64) * width + history.sale, return_index=True
    )
    if not len(pairs):
        return np.zeros(len(row), dtype=np.bool_)
    wanted = requests.member[row].astype(np.int64) * width + requests.target_sale
    at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    known: Bool = (pairs[at] == wanted) & (first[at] < requests.history_end[row])
    return known
