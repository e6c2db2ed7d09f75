from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from recsys.data.spec import TablesSource
from recsys.domain.errors import DataRefusedError, SettingError
from recsys.runs import init as writing
from recsys.runs.check import check
from recsys.runs.init import init
from recsys.runs.load import compose
from recsys.runs.spec import Check, Init, Train
from tests.builders import ZONE, tiny_tables


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a shop's files below the folder that somebody works in."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mydata"
    folder.mkdir()
    tables = tiny_tables(members=60, days=18)
    assert tables.members is not None
    tables.events.select(customer_id="member", sku="sale", event="kind", ts="at").write_parquet(
        folder / "events.parquet"
    )
    tables.sales.select(
        "brand", "title", "category", sku="sale", start="opens_at", end="closes_at"
    ).write_csv(folder / "sales.csv")
    tables.members.select("region", customer_id="member").write_csv(folder / "customers.csv")
    return folder


def test_what_is_written_is_accepted_as_data_and_passes_the_check(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(Init(path="mydata/", zone=ZONE))
    said = capsys.readouterr().out
    data = compose("train", Train, ["data=mydata"]).data
    assert isinstance(data, TablesSource)
    assert (data.name, data.zone) == ("mydata", ZONE)
    assert data.events.columns == {
        "member": "customer_id",
        "sale": "sku",
        "kind": "event",
        "at": "ts",
    }
    assert data.sales is not None
    assert data.sales.columns["opens_at"] == "start"
    assert data.members is not None
    check(Check(data=data))
    again = capsys.readouterr().out
    assert again in said
    assert "0 set aside" in again


def test_the_next_commands_are_said_and_every_line_fits(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(Init(path="mydata/", zone=ZONE))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  wrote    configs/data/mydata.yaml")
    assert [line.split("  ")[1] for line in lines[-2:]] == [
        "recsys check data=mydata",
        "python train.py data=mydata",
    ]
    assert all(len(line) <= 80 for line in lines)


def test_each_mapped_column_has_its_reason(shop: Path) -> None:
    init(Init(path="mydata", name="other", zone=ZONE))
    text = (shop.parent / "configs" / "data" / "other.yaml").read_text()
    mapped = [line for line in text.splitlines() if line.startswith("    ") and "path" not in line]
    assert mapped
    assert all("  # " in line for line in mapped if not line.endswith(":"))
    assert 'zone: "Europe/Paris"  # as named to recsys init' in text
    assert yaml.safe_load(text)["name"] == "other"


def test_a_zone_that_nobody_named_asks_to_be_changed(shop: Path) -> None:
    init(Init(path="mydata"))
    text = (shop.parent / "configs" / "data" / "mydata.yaml").read_text()
    assert 'zone: "UTC"  # CHANGE THIS' in text


def test_a_config_that_is_there_stays_unless_forced(shop: Path) -> None:
    file = shop.parent / "configs" / "data" / "mydata.yaml"
    init(Init(path="mydata", zone=ZONE))
    file.write_text("mine")
    with pytest.raises(SettingError, match=r"configs/data/mydata\.yaml is there"):
        init(Init(path="mydata", zone=ZONE))
    assert file.read_text() == "mine"
    init(Init(path="mydata", zone=ZONE, force=True))
    assert file.read_text().startswith("# configs/data/mydata.yaml, written by: recsys init")
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (Init(), "no folder named"),
        (Init(path="nope"), "path=nope is no folder"),
        (Init(path="mydata", name="a.b"), "'a.b' cannot name a config"),
        (Init(path="mydata", name="flash_sales"), "data=flash_sales is a source that is built in"),
        (Init(path="mydata", name="tables"), "data=tables is a source that is built in"),
    ],
)
def test_what_cannot_be_written_is_refused(shop: Path, spec: Init, text: str) -> None:
    with pytest.raises(SettingError, match=text):
        init(spec)
    assert not (shop.parent / "configs").exists()


def test_in_a_checkout_a_config_of_tables_may_be_written_again_but_no_source_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs" / "data").mkdir(parents=True)
    for name, kind in (("mine", "tables"), ("shop", "flash_sales")):
        (tmp_path / "configs" / "data" / f"{name}.yaml").write_text(f"kind: {kind}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(writing, "CONFIGS", tmp_path / "configs")
    assert writing.name_of(Init(path=".", name="mine")) == "mine"
    with pytest.raises(SettingError, match="data=shop is a source that is built in"):
        writing.name_of(Init(path=".", name="shop"))


def test_a_zone_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingError, match="zone: no time zone is called 'Mars'"):
        compose("init", Init, ["path=mydata", "zone=Mars"])


def test_a_folder_of_nothing_is_refused(shop: Path) -> None:
    (shop.parent / "empty").mkdir()
    with pytest.raises(DataRefusedError):
        init(Init(path="empty"))
    assert not (shop.parent / "configs").exists()


def test_the_mapping_stays_when_the_data_are_refused(shop: Path) -> None:
    events = pl.read_parquet(shop / "events.parquet")
    unknown = pl.when(pl.int_range(pl.len()) % 20 == 0).then(pl.lit("s9999")).otherwise("sku")
    events.with_columns(sku=unknown).write_parquet(shop / "events.parquet")
    with pytest.raises(DataRefusedError, match=r"correct configs/data/mydata\.yaml, then: recsys"):
        init(Init(path="mydata", zone=ZONE))
    assert (shop.parent / "configs" / "data" / "mydata.yaml").exists()


def foreign(folder: Path, columns: list[str], words: list[str]) -> None:
    """Write the shop's events alone, under other names, in words of somebody else's."""
    ours = ["view", "cart", "purchase"]
    events = tiny_tables(members=60, days=18).events.filter(pl.col("kind").is_in(ours))
    said = events.select("member", "sale", pl.col("kind").replace(ours, words), "at")
    amounts = 5.5 + pl.int_range(pl.len()) % 23
    made = said.with_columns(value=amounts, brand=pl.col("sale").str.slice(0, 3))
    made.rename(dict(zip(made.columns, columns, strict=True))).write_parquet(folder / "log.parquet")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["client", "article", "action", "date", "montant", "marque"], ["VUE", "PANIER", "ACHAT"]),
        (
            ["KUNDE", "artikel", "Ereignis", "zeit", "betrag", "marke"],
            ["Ansicht", "Warenkorb", "Kauf"],
        ),
        (
            ["cliente", "producto", "acción", "fecha", "importe", "marca"],
            ["vista", "carrito", "compra"],
        ),
    ],
    ids=["French", "German", "Spanish"],
)
def test_columns_and_kinds_in_other_languages_are_understood(
    columns: list[str], words: list[str], shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shop.parent / "log"
    folder.mkdir()
    foreign(folder, columns, words)
    init(Init(path="log", zone=ZONE))
    data = compose("train", Train, ["data=log"]).data
    assert isinstance(data, TablesSource)
    found = {**data.events.columns, "brand": data.sales.columns["brand"] if data.sales else ""}
    ours = ["member", "sale", "kind", "at", "value", "brand"]
    assert found == dict(zip(ours, columns, strict=True))
    assert data.events.kinds == dict(zip(words, ["view", "cart", "purchase"], strict=True))
    said = " ".join(capsys.readouterr().out.split())
    assert all(f"{our} = {their}" in said for our, their in found.items())
    assert all(f"{word} = {kind}" in said for word, kind in data.events.kinds.items())


def test_words_that_nobody_knows_are_listed_to_be_changed(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shop.parent / "log"
    folder.mkdir()
    foreign(folder, ["client", "article", "action", "date", "x", "y"], ["k1", "k2", "k3"])
    init(Init(path="log", zone=ZONE))
    text = (shop.parent / "configs" / "data" / "log.yaml").read_text()
    said = " ".join(capsys.readouterr().out.split())
    for word in ("k1", "k2", "k3"):
        assert f'    {word}: "view"  # CHANGE THIS' in text
        assert f"CHANGE events.kinds.{word}: " in said
    assert "not used of log/log.parquet: x" in said


def test_a_folder_that_is_not_understood_gets_lines_to_fill_in(shop: Path) -> None:
    folder = shop.parent / "log"
    folder.mkdir()
    foreign(folder, ["aa", "bb", "cc", "dd", "ee", "ff"], ["view", "cart", "purchase"])
    with pytest.raises(DataRefusedError) as refused:
        init(Init(path="log"))
    lines = str(refused.value).split("capitals:\n")[1]
    filled = lines.replace("WHO", "aa").replace("WHAT", "bb")
    own = shop.parent / "configs" / "data" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("\n".join(line.removeprefix("    ") for line in filled.splitlines()))
    data = compose("check", Check, ["data=mine"]).data
    assert isinstance(data, TablesSource)
    assert data.events.columns == {"member": "aa", "sale": "bb", "at": "dd"}
    check(Check(data=data))
