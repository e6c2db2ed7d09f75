"""Against a server that is started here, on loopback; skipped where PostgreSQL is not installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.domain.artefact import publish
from recsys.domain.embeddings import Embeddings
from recsys.domain.errors import SettingError
from recsys.domain.packed import Packing
from tests.runs.starting import verb
from tests.runs.vectors import bundle_of, member_ids, sale_ids, vectors_of

dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi", reason="needs the extra postgres")
fill = pytest.importorskip("recsys.runs.to_postgres").fill

UNPRIVILEGED = "postgres"
"""Who runs the server where the tests are root's, as it refuses root."""
DIM = 5


def programs() -> Path | None:
    """Return the folder with initdb and pg_ctl, which Debian keeps off the path."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((one for one in folders if (one / "pg_ctl").exists()), None)


def account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        return None


def as_somebody(*words: str | Path) -> None:
    plain = [str(word) for word in words]
    if os.geteuid() == 0:
        plain = ["runuser", "-u", UNPRIVILEGED, "--", *plain]
    subprocess.run(plain, check=True, capture_output=True, timeout=60, cwd="/")


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("PostgreSQL is not installed")
    if os.geteuid() == 0 and (account() is None or shutil.which("runuser") is None):
        pytest.skip(f"PostgreSQL refuses root, and there is no user {UNPRIVILEGED}")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0 and (other := account()):
        os.chown(folder, other.pw_uid, other.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
    as_somebody(bin_folder / "initdb", "-D", data, "-A", "trust", "-U", "shop", "--no-sync")
    start = ("-o", options, "-l", folder / "log", "-w", "start")
    as_somebody(bin_folder / "pg_ctl", "-D", data, *start)
    try:
        yield f"postgresql://shop@127.0.0.1:{port}/postgres"
    finally:
        as_somebody(bin_folder / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def vectors(seed: int, count: int) -> Embeddings:
    drawn = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    drawn[:, : DIM - 1] /= np.linalg.norm(drawn[:, : DIM - 1], axis=1, keepdims=True)
    ids = np.array([f"{seed}-{row}" for row in range(count)])
    return Embeddings(ids, drawn, DIM - 1, "model")


def exported(root: Path, *, seed: int, counts: tuple[int, int] = (40, 7)) -> Path:
    """Publish an export of two files of members and one of sales."""

    def write(draft: Path) -> None:
        for what, count in zip(("members", "sales"), counts, strict=True):
            (draft / what).mkdir()
            frame = Packing("fp32", DIM - 1).frame(vectors(seed, count))
            half = len(frame) // 2 if what == "members" else len(frame)
            for number, part in enumerate((frame[:half], frame[half:])):
                part.write_parquet(draft / what / f"part-{number:05}.parquet")

    return publish(
        root,
        "export",
        write,
        parents={"bundle": f"bundle-{seed}"},
        counts=dict(zip(("members", "sales"), counts, strict=True)),
        decided_at=seed,
        extra={"dim": DIM, "unit_dims": DIM - 1, "model": "model", "dtype": "fp32"},
    )


def asked(server: str, question: str) -> list[tuple[Any, ...]]:
    with dbapi.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def told(server: str, *statements: str) -> None:
    with dbapi.connect(server) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def held(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[float]]:
    return {row[0]: list(row[1]) for row in rows}


def test_the_tables_hold_every_vector_and_name_the_bundle(server: str, tmp_path: Path) -> None:
    lines = fill(server, "whole", exported(tmp_path, seed=1))
    assert lines == ["public.whole_members: 40 rows", "public.whole_sales: 7 rows"]
    for what, count in (("members", 40), ("sales", 7)):
        right = vectors(1, count)
        found = held(asked(server, f"TABLE whole_{what}"))
        assert found.keys() == set(right.ids.tolist())
        for name, vector in zip(right.ids.tolist(), right.vectors, strict=True):
            assert np.array_equal(np.array(found[name], dtype=np.float32), vector)
    about = asked(server, "SELECT bundle, model, dim, unit_dims, decided_at FROM whole_export")
    assert about == [("bundle-1", "model", DIM, DIM - 1, 1)]
    kinds = asked(
        server, "SELECT udt_name FROM information_schema.columns WHERE column_name = 'vector'"
    )
    assert set(kinds) == {("_float4",)}


def test_a_second_export_takes_the_place_of_the_first_with_the_rights_on_it(
    server: str, tmp_path: Path
) -> None:
    fill(server, "twice", exported(tmp_path, seed=1))
    told(server, "CREATE ROLE mailer", "GRANT SELECT ON twice_members TO mailer")
    fill(server, "twice", exported(tmp_path, seed=2, counts=(50, 3)))
    fill(server, "twice", exported(tmp_path, seed=3, counts=(60, 4)))
    assert asked(server, "SELECT count(*), min(id) FROM twice_members") == [(60, "3-0")]
    assert asked(server, "SELECT bundle FROM twice_export") == [("bundle-3",)]
    rights = "has_table_privilege('mailer', 'twice_members', 'SELECT')::text"
    assert asked(server, f"SELECT {rights}") == [("true",)]
    left = "SELECT relname FROM pg_class WHERE relname LIKE 'twice%new%'"
    assert asked(server, left) == []


def test_a_reader_sees_all_of_one_export_while_the_next_is_filled(
    server: str, tmp_path: Path
) -> None:
    fill(server, "seen", exported(tmp_path, seed=1))
    second = exported(tmp_path, seed=2)
    damaged = second / "sales" / "part-00000.parquet"
    damaged.chmod(0o644)
    # the last file of all cannot be loaded: the same sale stands in it twice
    frame = pl.read_parquet(damaged)
    pl.concat([frame, frame]).write_parquet(damaged)
    with pytest.raises(SettingError, match="its tables are as they were"):
        fill(server, "seen", second)
    assert asked(server, "SELECT count(*), min(id) FROM seen_members") == [(40, "1-0")]
    assert asked(server, "SELECT bundle FROM seen_export") == [("bundle-1",)]


def test_a_table_of_anothers_is_never_replaced(server: str, tmp_path: Path) -> None:
    told(server, "CREATE TABLE theirs_members (id text)", "INSERT INTO theirs_members VALUES ('a')")
    with pytest.raises(SettingError, match=r"public\.theirs_members is a table of another's"):
        fill(server, "theirs", exported(tmp_path, seed=1))
    assert asked(server, "SELECT id FROM theirs_members") == [("a",)]
    assert asked(server, "SELECT 1 FROM pg_class WHERE relname = 'theirs_sales'") == []


def test_a_view_on_the_tables_stops_it_and_stays(server: str, tmp_path: Path) -> None:
    fill(server, "viewed", exported(tmp_path, seed=1))
    told(server, "CREATE VIEW lengths AS SELECT id, cardinality(vector) FROM viewed_members")
    with pytest.raises(SettingError, match="other objects depend on it"):
        fill(server, "viewed", exported(tmp_path, seed=2))
    assert asked(server, "SELECT min(id) FROM lengths") == [("1-0",)]
    assert asked(server, "SELECT bundle FROM viewed_export") == [("bundle-1",)]


def test_two_that_fill_the_same_tables_do_not_meet(server: str, tmp_path: Path) -> None:
    folder = exported(tmp_path, seed=1)
    with dbapi.connect(server) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('public.alone'))::text")
        cursor.fetchall()
        with pytest.raises(SettingError, match="another process fills"):
            fill(server, "alone", folder)
    assert len(fill(server, "alone", folder)) == 2


def test_a_schema_may_be_named(server: str, tmp_path: Path) -> None:
    told(server, "CREATE SCHEMA vectors")
    assert fill(server, "vectors.noon", exported(tmp_path, seed=1))[1] == (
        "vectors.noon_sales: 7 rows"
    )
    assert asked(server, "SELECT count(*) FROM vectors.noon_sales") == [(7,)]


def test_an_export_fills_them_when_asked_to(server: str, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, member_ids(300), sale_ids(20))
    words = (f"bundle={bundle}", "member_files=4", f"to='{server}'", "tables=asked")
    said = verb(tmp_path, "export", *words, "dry_run=true")
    assert f"  tables   asked_* of {server}" in said.stdout.splitlines()
    assert asked(server, "SELECT 1 FROM pg_class WHERE relname LIKE 'asked%'") == []
    said = verb(tmp_path, "export", *words)
    assert said.returncode == 0, said.stderr
    assert "  tables   public.asked_members: 300 rows" in said.stdout.splitlines()
    found = held(asked(server, "TABLE asked_members"))
    for name, vector in zip(member_ids(300), vectors_of(member_ids(300)), strict=True):
        assert np.array_equal(np.array(found[name], dtype=np.float32), vector)
    assert asked(server, "SELECT bundle FROM asked_export") == [(bundle,)]


def test_no_server_is_a_setting_to_mend(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(SettingError, match=f"the database of to=postgresql://a@127.0.0.1:{port}"):
        fill(f"postgresql://a@127.0.0.1:{port}/a", "noon", exported(tmp_path, seed=1))
