"""A past read once, beside what would have been read after each of its events."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.test_causal import DIM, added, attention, random_past, spec_of


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), blocks=st.integers(1, 3))
def test_one_reading_gives_what_each_moment_would_have_read(seed: int, blocks: int) -> None:
    net = attention(spec_of(blocks))
    x, window, _ = random_past(seed)
    keep, key = window.valid, torch.arange(len(x))
    states = net.after_each(x, window, keep, key=key, noise=None)
    for later in range(x.shape[1]):
        # what came after the moment is not there yet
        older = replace(
            window,
            sale=window.sale[:, later:],
            what=window.what[:, later:],
            days=window.days[:, later:],
            valid=window.valid[:, later:],
        )
        then = added(net, x[:, later:], older, keep[:, later:])
        rows = keep[:, later].nonzero()[:, 0]
        place = keep.sum(dim=1)[rows] - 1 - later
        torch.testing.assert_close(states[rows, place], then[rows], rtol=1e-4, atol=1e-5)


def test_an_event_hidden_from_a_reading_changes_nothing() -> None:
    net = attention(spec_of())
    x, window, keep = random_past(9)
    key = torch.arange(len(x))
    before = net.after_each(x, window, keep, key=key, noise=None)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)) * 9
    hidden = window.valid & ~keep
    after = net.after_each(x.where(~hidden[..., None], noise), window, keep, key=key, noise=None)
    torch.testing.assert_close(after, before)
    assert hidden.any()
    for row, valid in enumerate(window.valid):
        shown = keep[row, valid].flip(0)
        last = torch.zeros(DIM)
        for place, here in enumerate(shown.tolist()):
            if not here:
                torch.testing.assert_close(after[row, place], last)
            last = after[row, place]
