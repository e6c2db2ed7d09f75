"""What members did is kept before it is acknowledged, and is data again tomorrow."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from msgspec.structs import fields

from recsys.campaign.slate_columns import OUTCOMES, Column, kinds_of
from recsys.campaign.slate_outcomes import added_up
from recsys.data import rules
from recsys.data.sources import read
from recsys.data.spec import EventTable, TablesSource
from recsys.domain.errors import NoRoomError
from recsys.domain.events import ChannelName
from recsys.domain.journal import Journal
from recsys.serve.bundle import Bundle
from recsys.serve.feedback import EARLIEST, NO_SALE, EventKind, Outcome
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


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (OUTCOME | {"slot": -1}, ">= 0"),
        (OUTCOME | {"slot": 1000}, "<= 999"),
        (OUTCOME | {"margin": 1e10}, "<= 1000000000"),
        (OUTCOME | {"clicked": "yes"}, "Expected `bool`"),
        (OUTCOME | {"send_id": ""}, "length >= 1"),
        (OUTCOME | {"member_id": "a\x7f"}, "outcomes[0]: an id has at most"),
        (OUTCOME | {"at": (NOW + timedelta(days=2)).isoformat()}, "outcomes[0]: at lies"),
        ({"send_id": "noon", "member_id": "m1", "at": AT}, "missing required field `slot`"),
    ],
)
def test_a_wrong_outcome_takes_right_events_with_it(
    service: Service, tmp_path: Path, outcome: dict[str, Any], says: str
) -> None:
    answer = service.post("/v1/feedback", events=[BOUGHT], outcomes=[outcome])
    assert says in refused(answer, 422, "invalid")
    assert not (tmp_path / "feedback").exists()


def test_outcomes_told_bit_by_bit_are_one_of_each_slot(service: Service, tmp_path: Path) -> None:
    later = (NOW + timedelta(minutes=5)).isoformat()
    bits = [
        OUTCOME | {"clicked": False, "opened": True},
        OUTCOME | {"at": later, "bought": True, "margin": 3.5},
        OUTCOME | {"at": later, "bought": True, "margin": 3.5},
        OUTCOME | {"slot": 1},
    ]
    for bit in bits:
        assert service.post("/v1/feedback", outcomes=[bit]).json()["outcomes"] == 1
    frame = pl.read_csv(tmp_path / "feedback" / "outcomes-*.csv").select(
        pl.col(name).str.to_datetime(time_zone="UTC") if name == "at" else pl.col(name).cast(kind)
        for name, kind in kinds_of(OUTCOMES).items()
    )
    first, second = added_up(frame).sort("slot").to_dicts()
    assert (first["opened"], first["clicked"], first["bought"], first["margin"]) == (
        True, True, True, 3.5,
    )  # fmt: skip
    assert first["at"] == NOW
    assert (second["slot"], second["clicked"], second["bought"]) == (1, True, False)


def test_what_two_services_and_the_next_one_were_told_lies_side_by_side(
    service: Service, bundle: Bundle, tmp_path: Path
) -> None:
    beside = Service(bundle.folder.parent, feedback=str(tmp_path / "feedback"))
    for number, one in enumerate([service, beside] * 5):
        event = BOUGHT | {"member": f"m{number}"}
        assert one.post("/v1/feedback", events=[event]).status_code == 200
    for one in (service, beside):
        one.app.state.close()
    after = Service(bundle.folder.parent, feedback=str(tmp_path / "feedback"))
    assert after.post("/v1/feedback", events=[BOUGHT]).status_code == 200
    assert len(list((tmp_path / "feedback").glob("events-*.csv"))) == 3
    assert sorted(kept(tmp_path, "events")["member"]) == sorted([
        "m1",
        *(f"m{number}" for number in range(10)),
    ])


def test_half_a_row_of_a_service_that_died_is_no_row(
    service: Service, bundle: Bundle, tmp_path: Path
) -> None:
    assert service.post("/v1/feedback", events=[BOUGHT]).status_code == 200
    service.app.state.close()
    (file,) = (tmp_path / "feedback").glob("events-*.csv")
    with file.open("ab") as cut:
        cut.write(b"m9,view,2026-")
    again = Service(bundle.folder.parent, feedback=str(tmp_path / "feedback"))
    assert again.post("/v1/feedback", events=[BOUGHT]).status_code == 200
    assert kept(tmp_path, "events")["member"].to_list() == ["m1", "m1"]


def test_the_largest_message_fits(service: Service, tmp_path: Path) -> None:
    events = [BOUGHT | {"member": f"m{number}"} for number in range(1024)]
    assert service.post("/v1/feedback", events=events).json()["events"] == 1024
    assert kept(tmp_path, "events").height == 1024


def test_its_words_and_bounds_are_those_of_the_data_contract() -> None:
    # the service does not import the contract, whose libraries it never needs
    assert get_args(EventKind) == rules.KINDS
    assert get_args(ChannelName) == rules.CHANNELS
    assert frozenset(rules.NO_SALE) == NO_SALE
    assert EARLIEST == rules.EARLIEST
    assert [f.name for f in fields(Outcome)] == [column.name for column in in_order(OUTCOMES)]


def in_order(columns: Sequence[Column]) -> list[Column]:
    """The columns of outcomes in the order of the fields that carry them."""
    places = {field.name: place for place, field in enumerate(fields(Outcome))}
    return sorted(columns, key=lambda column: places[column.name])


def test_a_disk_that_is_slow_is_not_waited_for_beyond_the_deadline(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, store = threading.Event(), Journal._store

    def slow(self: Journal, together: Any) -> None:
        assert go_on.wait(20)
        store(self, together)

    monkeypatch.setattr(Journal, "_store", slow)
    answer = service.client.post(
        "/v1/feedback", json={"events": [BOUGHT]}, headers={"X-Deadline-Ms": "30"}
    )
    refused(answer, 504, "deadline")
    go_on.set()
    service.app.state.close()
    assert kept(tmp_path, "events").height == 1, "what was begun is stored"
    assert 'what="events"' not in service.client.get("/metrics").text, "and not acknowledged"
