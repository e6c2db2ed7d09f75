from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.campaign.mailing import COLUMNS, NEWEST, mail_rows, write_csv
from recsys.domain.arrays import NONE
from recsys.domain.slates import PARTS, Reason, Slates
from recsys.rerank.reasons import sentence

INFO = pl.DataFrame({
    "sale": ["s0", "s1", "s2"],
    "title": ["Coats", None, "Boots"],
    "brand": ["Acme", None, "Acme"],
})
MEMBERS = pl.Series(["m0", "m1", "m2"])


def slates(sales: list[list[int]], reason: list[list[int]], evidence: list[list[int]]) -> Slates:
    shape = np.array(sales).shape
    return Slates(
        members=np.arange(len(sales)),
        sales=np.array(sales),
        parts=np.zeros((*shape, len(PARTS)), dtype=np.float32),
        margin=np.zeros(shape, dtype=np.float32),
        log_propensity=np.zeros(shape, dtype=np.float32),
        reason=np.array(reason, dtype=np.uint8),
        evidence=np.array(evidence),
        flags=np.zeros(shape, dtype=np.uint8),
    )


def test_a_row_a_slot_in_the_order_of_the_slates_with_the_reason_as_a_sentence() -> None:
    made = slates(
        [[0, 1], [2, NONE], [NONE, NONE]],
        [[Reason.BECAUSE_YOU_BOUGHT, Reason.SIMILAR_TO], [Reason.NOTHING, 0], [0, 0]],
        [[2, 0], [NONE, NONE], [NONE, NONE]],
    )
    rows = mail_rows(made, np.array([True, False, True]), members=MEMBERS, info=INFO)
    assert tuple(rows.columns) == COLUMNS
    assert rows.rows() == [
        ("m0", 1, "s0", "Coats", "Acme", "you bought Acme"),
        ("m0", 2, "s1", None, None, "like Coats, which you looked at"),
        ("m1", 1, "s2", "Boots", "Acme", NEWEST),
    ]


def test_sentences_are_those_of_each_slot_alone() -> None:
    rng = np.random.default_rng(1)
    shape = (200, 4)
    made = slates(
        rng.integers(-1, 3, shape).tolist(),
        rng.choice([int(one) for one in Reason], shape).tolist(),
        rng.integers(-1, 3, shape).tolist(),
    )
    members = pl.Series([f"m{row}" for row in range(200)])
    rows = mail_rows(made, np.ones(200, dtype=np.bool_), members=members, info=INFO)
    brand, name = ("Acme", "", "Acme"), ("Coats", "s1", "Boots")
    cells = zip(*np.nonzero(made.sales != NONE), strict=True)
    wanted = [
        sentence(
            Reason(made.reason[cell]),
            brand=brand[made.sales[cell]],
            sale="" if made.evidence[cell] == NONE else name[made.evidence[cell]],
        )
        for cell in cells
    ]
    assert rows["reason"].to_list() == wanted


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_that_a_spreadsheet_would_run_is_text(evil: str, tmp_path: Path) -> None:
    rows = pl.DataFrame({"member": ["m0", evil], "slot": [-1, 2], "title": [evil, 'a, "b"']})
    write_csv(rows, tmp_path / "mail.csv")
    with (tmp_path / "mail.csv").open(newline="", encoding="utf-8") as file:
        head, *read = csv.reader(file)
    assert head == ["member", "slot", "title"]
    assert read == [["m0", "-1", f"'{evil}"], [f"'{evil}", "2", 'a, "b"']]
