from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.domain.idtable import IdTable
from recsys.serve import ids
from tests.serve.resting import is_mapped

KNOWN = ["m3", "", "Élodie", "m1"]
CONSENT = np.array([True, False, True, True])
MAIL = np.array([False, True, True, False])


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    ids.write(IdTable.of(KNOWN, "member"), ids.Consents(CONSENT, MAIL), tmp_path)
    return tmp_path


def test_a_table_comes_back_mapped_and_finds_its_ids(folder: Path) -> None:
    table, consents = ids.read(folder)
    assert consents.mail is not None
    arrays: list[np.ndarray] = [table.text, table.start, table.order.key, table.order.row]
    arrays += [consents.personalise, consents.mail]
    assert all(is_mapped(array) for array in arrays)
    assert table.tolist() == KNOWN
    assert table.rows(["m1", "m2", ""]).tolist() == [3, -1, 1]
    np.testing.assert_array_equal(consents.personalise, CONSENT)
    np.testing.assert_array_equal(consents.mail, MAIL)


def test_other_programs_read_ids_and_consent_in_the_order_of_rows(folder: Path) -> None:
    frame = pl.read_parquet(folder / ids.FILE)
    said = {"member": KNOWN, "personalise": CONSENT.tolist(), "mail": MAIL.tolist()}
    assert frame.to_dict(as_series=False) == said


def test_nobody_is_a_table_too(tmp_path: Path) -> None:
    nobody = np.zeros(0, dtype=np.bool_)
    ids.write(IdTable.of([], "member"), ids.Consents(nobody), tmp_path)
    table, consents = ids.read(tmp_path)
    assert (len(table), len(consents.personalise), consents.mail) == (0, 0, None)
    assert table.rows(["m1"]).tolist() == [-1]


def test_a_folder_without_a_table_is_read_from_what_others_read(folder: Path) -> None:
    for file in (folder / ids.TABLE).iterdir():
        file.unlink()
    (folder / ids.TABLE).rmdir()
    table, consents = ids.read(folder)
    assert consents.mail is None
    assert table.rows(KNOWN).tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(consents.personalise, CONSENT)
