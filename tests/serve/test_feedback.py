"""What members did is kept before it is acknowledged, and is data again tomorrow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys.data.sources import read
from recsys.data.spec import EventTable, TablesSource
from recsys.domain.errors import NoRoomError
from recsys.domain.journal import Journal
from recsys.serve.bundle import Bundle
from tests.serve.asking import Service, refused

NOW = datetime.now(UTC).replace(microsecond=0)
AT = NOW.isoformat()
BOUGHT = {"member": "m1", "sale": "s1", "kind": "purchase", "at": AT, "value": 12.5}
OUTCOME = {"send_id": "noon", "member_id": "m1", "slot": 0, "at": AT, "clicked": True}


@pytest.fixture(name="service")
def _service(bundle: Bundle, tmp_path: Path) -> Service:
    return Service(bundle.folder.parent, feedback=str(tmp_path / "feedback"))


def kept(tmp_path: Path, stem: str) -> pl.DataFrame:
    return pl.read_csv(tmp_path / "feedback" / f"{stem}-*.csv", infer_schema=False)


def test_what_is_acknowledged_is_on_the_disk(service: Service, tmp_path: Path) -> None:
    answer = service.post("/v1/feedback", events=[BOUGHT], outcomes=[OUTCOME])
    assert answer.status_code == 200
    assert (answer.json()["events"], answer.json()["outcomes"]) == (1, 1)
    (event,) = kept(tmp_path, "events").to_dicts()
    assert (event["member"], event["sale"], event["value"]) == ("m1", "s1", "12.5")
    assert datetime.fromisoformat(event["at"]) == NOW
    (outcome,) = kept(tmp_path, "outcomes").to_dicts()
    assert (outcome["clicked"], outcome["bought"], outcome["slot"]) == ("true", "false", "0")
    assert 'recsys_feedback_rows_total{what="events"} 1.0' in service.client.get("/metrics").text


def test_ids_come_back_as_they_were_told(service: Service, tmp_path: Path) -> None:
    ids = ['a,"b"', "é 漢", "=1+1", " x ", "'"]
    events = [BOUGHT | {"member": one, "sale": one} for one in ids]
    assert service.post("/v1/feedback", events=events).status_code == 200
    assert kept(tmp_path, "events")["member"].to_list() == ids


def test_told_events_are_tables_again(service: Service, tmp_path: Path) -> None:
    visit = {"member": "m2", "kind": "visit", "at": AT, "channel": "app"}
    service.post("/v1/feedback", events=[BOUGHT, visit, BOUGHT])
    path = str(tmp_path / "feedback" / "events-*.csv")
    events = read(TablesSource(name="shop", zone="UTC", events=EventTable(path=path))).events
    assert events["member"].to_list() == ["m1", "m2", "m1"]
    # told twice, the row is equal in all columns that are read: the contract keeps one
    assert events.drop("source_row").unique().height == 2


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([BOUGHT | {"kind": "sneeze"}], "Invalid enum value"),
        ([BOUGHT | {"sale": None}], "is about a sale"),
        ([BOUGHT | {"at": "2026-11-27T12:00:00"}], "timezone"),
        ([BOUGHT | {"at": "1999-12-31T12:00:00Z"}], "before the year 2000"),
        ([BOUGHT | {"at": (NOW + timedelta(days=2)).isoformat()}], "a day ahead"),
        ([BOUGHT, BOUGHT | {"member": "a\nb"}], r"events[1]: an id has at most"),
        ([BOUGHT | {"member": "é" * 200}], "at most 256 bytes"),
        ([BOUGHT | {"value": -1.0}], ">= 0"),
        ([BOUGHT | {"colour": "red"}], "unknown field"),
        ([BOUGHT] * 1025, "length <= 1024"),
        ([], "has events or outcomes"),
    ],
)
def test_what_breaks_the_contract_is_refused_whole(
    service: Service, tmp_path: Path, events: list[dict[str, Any]], says: str
) -> None:
    assert says in refused(service.post("/v1/feedback", events=events), 422, "invalid")
    assert not (tmp_path / "feedback").exists()


def test_half_a_character_is_refused(service: Service) -> None:
    body = b'{"events": [{"member": "\\ud800", "kind": "visit", "at": "2026-01-01T00:00:00Z"}]}'
    assert service.client.post("/v1/feedback", content=body).status_code in {400, 422}


def test_a_disk_that_fails_is_said_and_can_be_told_again(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise NoRoomError("cannot write events: no space")

    monkeypatch.setattr(Journal, "_current", full)
    answer = service.post("/v1/feedback", events=[BOUGHT])
    refused(answer, 503, "not_stored")
    assert int(answer.headers["retry-after"]) > 0
    monkeypatch.undo()
    assert service.post("/v1/feedback", events=[BOUGHT]).status_code == 200
    assert kept(tmp_path, "events").height == 1
