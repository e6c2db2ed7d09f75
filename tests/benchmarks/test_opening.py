"""What is opened is a bundle of the size that is said, and the figures are of its service."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.made_bundle import DIM, ENGAGED, SALES, parts
from benchmarks.opening import FIGURES, Opened, memory, opened, rows_of, served, table
from benchmarks.turns import line
from recsys.domain.artefact import current
from recsys.serve.bundle import publish_bundle

MEMBERS = 300


@pytest.fixture(scope="module", name="root")
def _root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundles")
    publish_bundle(parts(MEMBERS), root)
    return root


def test_a_made_bundle_has_the_members_sales_and_past_that_are_said() -> None:
    made, again = parts(MEMBERS), parts(MEMBERS)
    assert (made.shop.num_members, made.shop.num_sales) == (MEMBERS, SALES)
    assert made.members.vectors.shape == (MEMBERS, DIM + 1)
    assert made.members.ids[7] == "m0000007"
    known = np.diff(made.shop.history.member_ptr)
    assert set(known[made.personalise]) == {ENGAGED}
    assert 10 < len(made.shelves.at(made.decided_at)) < 100
    for first, last in zip(
        made.shop.history.member_ptr, made.shop.history.member_ptr[1:], strict=False
    ):
        assert (np.diff(made.shop.history.at[first:last]) >= 0).all()
    opened_at = made.shop.opens_at[made.shop.history.sale]
    assert (opened_at <= made.shop.history.at).mean() > 0.95
    np.testing.assert_array_equal(made.members.vectors, again.members.vectors)


def test_a_service_is_timed_from_its_start_and_is_ready(root: Path) -> None:
    found = served(root)
    assert 0 < found.before < found.seconds
    assert found.processor > 0
    assert found.anonymous > 20
    assert found.mapped > 20


@pytest.mark.parametrize("by_driver", [False, True])
def test_an_opening_is_of_the_current_bundle(root: Path, by_driver: bool) -> None:
    found = opened(str(root), current(root).name if by_driver else None)
    assert found.seconds > 0
    assert found.many > 0
    assert found.one > 0


def test_memory_is_that_of_the_process_asked_about() -> None:
    before = memory(os.getpid())[0]
    # not of the heap, which may have kept as much from an earlier test
    with mmap.mmap(-1, 40 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        for first in range(0, len(held), mmap.PAGESIZE):
            held[first] = 1
        assert memory(os.getpid())[0] - before == pytest.approx(40, abs=8)


def test_a_figure_stands_beside_its_bar_up_to_a_million_members() -> None:
    two = [Opened(2.0, 90.0, 500.0, before=1.5), Opened(2.5, 310.0, 500.0, before=1.5)]
    found = {"served": two, "opened": two[:1], "trusted": two[:1]}
    rows = rows_of(1_000_000, found)
    verdicts = {row.name: row.verdict for row in rows if row.verdict}
    assert verdicts == {"start to /readyz 200": "met", "service, anonymous": "undecided"}
    assert all(row.bar is None for row in rows_of(5_000_000, found))
    assert len(table(rows).splitlines()) == 1 + len(FIGURES)
    assert json.loads(line("opening", rows))["rows"][0]["value"] == pytest.approx(2.25)
