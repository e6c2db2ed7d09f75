from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from recsys.data.contract import check
from recsys.data.sources import read
from recsys.data.spec import EventTable, Table, TablesSource
from recsys.domain.errors import DataRefusedError, SettingError
from recsys.domain.schema import Bag, Categorical, Instant, Numeric, Text
from recsys.domain.source import Source
from recsys.domain.tables import Tables
from tests.builders import ZONE, tiny_tables

NAMES = {"member": "who", "sale": "sku", "kind": "did", "at": "ts"}


def log(*rows: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=["who", "sku", "did", "ts"], orient="row")


def source(folder: Path, **settings: Any) -> TablesSource:
    given = {"zone": ZONE, "events": EventTable(path=f"{folder}/log*.csv", columns=NAMES)}
    return TablesSource(**(given | settings))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log(
        ("m1", "a", "view", "2026-05-01 12:00:00"),
        ("m2", "b", "buy", "2026-05-02 12:00:00"),
        ("m1", "b", "buy", "2026-05-03 12:00:00"),
    ).write_csv(tmp_path / "log1.csv")
    log(("m3", "a", "view", "2026-05-04 12:00:00")).write_csv(tmp_path / "log2.csv")
    return tmp_path


def written(tables: Tables, folder: Path, ending: str) -> TablesSource:
    """Write tables as files, lists as text in CSV, and return the source that reads them."""
    settings: dict[str, Any] = {}
    for name in ("sales", "members", "events", "exposures", "curation", "stock"):
        frame: pl.DataFrame = getattr(tables, name)
        path = folder / f"{name}.{ending}"
        if ending == "csv":
            lists = [
                column for column in frame.columns if frame[column].dtype == pl.List(pl.String)
            ]
            frame.with_columns(pl.col(*lists).list.join("|") if lists else []).write_csv(path)
        else:
            frame.write_parquet(path)
        spec = EventTable if name == "events" else Table
        features = getattr(tables.schema, name, ())
        settings[name] = spec(path=str(path), features=features)
    return TablesSource(name=tables.name, zone=tables.zone, **settings)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_files_make_the_same_dataset_as_the_tables_they_were_written_from(
    tmp_path: Path, ending: str
) -> None:
    tables = tiny_tables()
    known = tables.watermark
    read_back = read(written(tables, tmp_path, ending))
    made = check(Tables(**{**vars(read_back), "watermark": known}), Source()).dataset
    assert made.fingerprint == check(tables, Source()).dataset.fingerprint


def test_columns_and_kinds_are_mapped_to_ours(folder: Path) -> None:
    events = EventTable(path=f"{folder}/log*.csv", columns=NAMES, kinds={"buy": "purchase"})
    tables = read(source(folder, events=events))
    assert tables.events["kind"].to_list() == ["view", "purchase", "purchase", "view"]
    assert tables.task == "endless"
    assert tables.sales["sale"].to_list() == ["a", "b"]
    made = check(tables, Source()).dataset
    assert made.members["member"].to_list() == ["m1", "m2", "m3"]
    noon = int(datetime(2026, 5, 1, 10, tzinfo=UTC).timestamp()) * 1_000_000
    assert made.events.at[0] == noon


def test_times_can_be_declared_utc_and_written_in_any_format(folder: Path) -> None:
    at_noon = int(datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000
    events = EventTable(path=f"{folder}/log*.csv", columns=NAMES, kinds={"buy": "purchase"})
    made = check(read(source(folder, events=events, times="utc")), Source()).dataset
    assert made.events.at[0] == at_noon
    log(("m1", "a", "view", "5/1/2026 14:00"), ("m1", "a", "view", "later")).write_csv(
        folder / "us.csv"
    )
    form = EventTable(path=f"{folder}/us.csv", columns=NAMES, time_format="%m/%d/%Y %H:%M")
    odd = check(read(source(folder, events=form)), Source(max_quarantined_share=0.5))
    assert odd.dataset.events.at.tolist() == [at_noon]
    assert odd.quarantine["value"].to_list() == ["later"]


def test_every_row_knows_its_file_and_its_row_there(folder: Path) -> None:
    events = read(source(folder)).events
    assert events["source_row"].to_list() == [1, 2, 3, 1]
    assert [Path(file).name for file in events["source_file"]] == ["log1.csv"] * 3 + ["log2.csv"]


@pytest.mark.parametrize("path", ["", "/log*.csv", "/**/log*.csv"])
def test_a_folder_and_globs_name_the_same_files(folder: Path, path: str) -> None:
    events = EventTable(path=f"{folder}{path}", columns=NAMES)
    assert read(source(folder, events=events)).events.height == 4


def test_no_file_is_refused_with_what_is_there(folder: Path) -> None:
    events = EventTable(path=f"{folder}/lgo.parquet", columns=NAMES)
    with pytest.raises(DataRefusedError, match=r"no file at(.|\n)*log1\.csv, log2\.csv"):
        read(source(folder, events=events))


@pytest.mark.parametrize(
    ("name", "content"),
    [("log0.csv", b"who,sku,did,ts\nm,a,view,x,surplus\n"), ("log0.csv", b"who,sku\n\xff\xfe,\n")],
)
def test_a_file_that_cannot_be_read_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataRefusedError, match=name):
        read(source(folder))


def test_a_cut_parquet_file_is_named(folder: Path) -> None:
    log(("m1", "a", "view", "2026-05-01")).write_parquet(folder / "one.parquet")
    whole = (folder / "one.parquet").read_bytes()
    (folder / "two.parquet").write_bytes(whole[: len(whole) // 2])
    events = EventTable(path=f"{folder}/*.parquet", columns=NAMES)
    with pytest.raises(DataRefusedError, match=r"two\.parquet"):
        read(source(folder, events=events))


def test_a_mapped_column_that_is_not_there_is_refused_with_the_nearest(folder: Path) -> None:
    wrong = EventTable(path=f"{folder}/log*.csv", columns=NAMES | {"at": "tss"})
    with pytest.raises(DataRefusedError, match=r"no column 'tss'(.|\n)*did you mean 'ts'"):
        read(source(folder, events=wrong))
    unknown = EventTable(path=f"{folder}/log*.csv", columns=NAMES | {"vlaue": "ts"})
    with pytest.raises(SettingError, match=r"'vlaue'(.|\n)*did you mean 'value'"):
        read(source(folder, events=unknown))


def test_a_log_without_kinds_needs_one_for_all_rows(folder: Path) -> None:
    bare = {ours: theirs for ours, theirs in NAMES.items() if ours != "kind"}
    events = EventTable(path=f"{folder}/log*.csv", columns=bare)
    with pytest.raises(DataRefusedError, match=r"data\.events\.kind=purchase"):
        read(source(folder, events=events))
    told = events.model_copy(update={"kind": "purchase"})
    assert read(source(folder, events=told)).events["kind"].unique().to_list() == ["purchase"]


def test_unmapped_columns_of_sales_and_members_are_features_of_a_guessed_kind(
    folder: Path,
) -> None:
    rows = 30
    pl.DataFrame({
        "sku": [f"s{row}" for row in range(rows)],
        "begins": ["2026-05-01"] * rows,
        "colour": ["red", "blue"] * (rows // 2),
        "weight": [str(row / 7) for row in range(rows)],
        "story": [f"a long tale of number {row}" for row in range(rows)],
        "made": ["2026-01-01"] * rows,
        "tags": ["x|y"] * rows,
        "secret": ["1"] * rows,
    }).write_csv(folder / "sales.csv")
    columns = {"sale": "sku", "opens_at": "begins"}
    sales = Table(
        path=f"{folder}/sales.csv",
        columns=columns,
        ignore=("secret",),
        features=(Bag(column="tags"),),
    )
    pl.DataFrame({"member": ["m1"], "household_income": ["12.5"]}).write_csv(folder / "people.csv")
    tables = read(source(folder, sales=sales, members=Table(path=f"{folder}/people.csv")))
    kinds = {feature.column: type(feature) for feature in tables.schema.sales}
    assert kinds == {
        "tags": Bag,
        "colour": Categorical,
        "weight": Numeric,
        "story": Text,
        "made": Instant,
    }
    assert tables.sales["tags"][0].to_list() == ["x", "y"]
    assert [feature.sensitive for feature in tables.schema.members] == [True]
    assert tables.task == "shelf"


def test_sales_out_of_a_log_keep_the_first_known_value_of_each_id(tmp_path: Path) -> None:
    pl.DataFrame({
        "who": ["m1", "m2", "m3", "m4"],
        "sku": ["a", "a", "b", None],
        "name": [None, "Silk scarf", "Oak lamp", "nobody's"],
        "ts": ["2026-05-01", "2026-05-02", "2026-05-03", "2026-05-04"],
        "group": ["x", "y", "y", "z"],
    }).write_csv(tmp_path / "log.csv")
    file = f"{tmp_path}/log.csv"
    events = EventTable(
        path=file, columns={"member": "who", "sale": "sku", "at": "ts"}, kind="purchase"
    )
    sales = Table(
        path=file,
        columns={"sale": "sku", "title": "name"},
        features=(Categorical(column="group"),),
        distinct=True,
    )
    tables = read(source(tmp_path, events=events, sales=sales))
    assert tables.sales.select("sale", "title", "group").rows() == [
        ("a", "Silk scarf", "x"),
        ("b", "Oak lamp", "y"),
    ]
    assert {feature.column for feature in tables.schema.sales} == {"title", "group"}
    assert "2 sales out of 4 rows" in tables.notes[0]


def test_lines_of_an_order_add_up_and_unsound_lines_are_left_to_the_contract(
    tmp_path: Path,
) -> None:
    pl.DataFrame({
        "who": ["m1", "m1", "m1", "m2", None],
        "sku": ["a", "a", "a", "a", "a"],
        "ts": ["2026-05-01"] * 5,
        "each": ["2", "2", "2", "x", "2"],
        "pieces": ["3", "1", "-1", "1", "1"],
    }).write_csv(tmp_path / "log.csv")
    columns = {"member": "who", "sale": "sku", "at": "ts", "value": "each", "quantity": "pieces"}
    events = EventTable(path=f"{tmp_path}/log.csv", columns=columns, kind="purchase", lines=True)
    made = check(read(source(tmp_path, events=events)), Source(max_quarantined_share=1))
    assert made.dataset.events.value.tolist() == [8.0]
    assert made.counts["events"] == {"no_id": 1, "not_a_number": 1, "out_of_range": 1}
    assert sorted(made.quarantine["source_row"].to_list()) == [3, 4, 5]


def test_a_line_without_a_price_takes_no_order_with_it(tmp_path: Path) -> None:
    pl.DataFrame({
        "who": ["m1", "m1", "m2"],
        "sku": ["a", "a", "a"],
        "ts": ["2026-05-01"] * 3,
        "each": ["10", None, None],
        "pieces": [None, "2", "1"],
    }).write_csv(tmp_path / "log.csv")
    columns = {"member": "who", "sale": "sku", "at": "ts", "value": "each", "quantity": "pieces"}
    events = EventTable(path=f"{tmp_path}/log.csv", columns=columns, kind="purchase", lines=True)
    tables = read(source(tmp_path, events=events))
    assert tables.events["value"].to_list() == ["10.0", None]
    made = check(tables, Source(max_quarantined_share=0))
    assert made.dataset.events.value.tolist() == [10.0, 0.0]


def test_orders_of_two_channels_with_one_id_are_two(tmp_path: Path) -> None:
    pl.DataFrame({
        "whose": ["app", "web", "app"],
        "who": ["7", "7", "7"],
        "sku": ["a", "a", "a"],
        "ts": ["2026-05-01"] * 3,
        "each": [10, 20, 5],
    }).write_csv(tmp_path / "log.csv")
    columns = {"id_source": "whose", "member": "who", "sale": "sku", "at": "ts", "value": "each"}
    events = EventTable(path=f"{tmp_path}/log.csv", columns=columns, kind="purchase", lines=True)
    made = read(source(tmp_path, events=events)).events
    assert made.select("id_source", "value").rows() == [("app", "15.0"), ("web", "20.0")]


def test_a_zone_that_nobody_knows_and_a_shelf_without_sales_are_refused() -> None:
    events = EventTable(path="log.csv")
    with pytest.raises(ValidationError, match="no time zone is called 'Paris'"):
        TablesSource(zone="Paris", events=events)
    with pytest.raises(ValidationError, match="task=shelf needs a table of sales"):
        TablesSource(zone=ZONE, events=events, task="shelf")
