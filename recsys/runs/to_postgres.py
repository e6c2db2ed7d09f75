"""An export's vectors as tables of PostgreSQL: a reader sees the old ones or the new ones, whole.

All is one transaction: tables are filled beside those that are read, then take their names, with
the rights that others had on the old ones. `<tables>_export` says which bundle they are of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from adbc_driver_postgresql import dbapi

from recsys.domain.errors import SettingError
from recsys.domain.manifest import Manifest
from recsys.domain.verify import read_manifest

OURS = "made by recsys export"
"""Comment on each table: what has none is another's, and is never replaced."""
ABOUT = (
    "bundle text, model text, dim integer, unit_dims integer, decided_at bigint, "
    "filled_at timestamptz DEFAULT now()"
)
COMMENT = "SELECT coalesce(obj_description(to_regclass($1)), '') WHERE to_regclass($1) IS NOT NULL"
GRANTS = (
    "SELECT grantee, string_agg(privilege_type, ', ') FROM information_schema.role_table_grants "
    "WHERE table_schema = $1 AND table_name = $2 AND grantee <> current_user GROUP BY grantee"
)


def fill(uri: str, tables: str, folder: Path) -> list[str]:
    """Fill the tables of a database with a published export of float32; return what was done.

    Raises:
        SettingError: the database cannot be reached, or refused; its tables are as they were.
    """
    manifest = read_manifest(folder)
    schema, _, stem = tables.rpartition(".")
    try:
        with dbapi.connect(uri) as connection, connection.cursor() as cursor:
            filling = _Filling(cursor, schema or _first(cursor, "SELECT current_schema()"), stem)
            lines = filling.all_of(folder, manifest)
            connection.commit()
    except dbapi.Error as refused:
        raise SettingError(
            f"the database of to={uri} refused: {str(refused).splitlines()[0][:200]}",
            "its tables are as they were",
            f"the same vectors are in {folder}",
        ) from refused
    return lines


@dataclass(frozen=True)
class _Filling:
    """One transaction."""

    cursor: Any
    schema: str
    stem: str

    def all_of(self, folder: Path, manifest: Manifest) -> list[str]:
        """Fill new tables, then let them take the names."""
        names = {what: f"{self.stem}_{what}" for what in manifest.counts}
        about = f"{self.stem}_export"
        self._alone()
        for name in (*names.values(), about):
            self._is_ours(name)
        rows = {what: self._load(folder / what, name) for what, name in names.items()}
        self._say(about, manifest)
        for name in (*names.values(), about):
            self._swap(name)
        return [f"{self.schema}.{name}: {rows[what]:,} rows" for what, name in names.items()]

    def _alone(self) -> None:
        asked = "SELECT pg_try_advisory_xact_lock(hashtext($1))::text"
        if _first(self.cursor, asked, f"{self.schema}.{self.stem}") != "true":
            raise SettingError(
                f"another process fills {self.schema}.{self.stem}_* now",
                "let it finish, or name others: tables=NAME",
            )

    def _is_ours(self, name: str) -> None:
        comment = _first(self.cursor, COMMENT, self._quoted(name))
        if comment not in {None, OURS}:
            raise SettingError(
                f"{self.schema}.{name} is a table of another's, and is not replaced",
                "name others: tables=NAME        or drop it yourself",
            )

    def _load(self, folder: Path, name: str) -> int:
        """Fill a new table from the files of a folder, one at a time; return its rows."""
        rows = 0
        for number, path in enumerate(sorted(folder.glob("*.parquet"))):
            rows += self.cursor.adbc_ingest(
                _new(name),
                pl.read_parquet(path),
                mode="append" if number else "create",
                db_schema_name=self.schema,
            )
        self.cursor.execute(f"ALTER TABLE {self._quoted(_new(name))} ADD PRIMARY KEY (id)")
        return rows

    def _say(self, name: str, manifest: Manifest) -> None:
        said: Any = manifest.extra
        new = self._quoted(_new(name))
        self.cursor.execute(f"CREATE TABLE {new} ({ABOUT})")
        self.cursor.execute(
            f"INSERT INTO {new} VALUES ($1, $2, $3, $4, $5)",  # ruff: ignore[hardcoded-sql-expression] a name, quoted
            (
                manifest.parents["bundle"],
                said["model"],
                said["dim"],
                said["unit_dims"],
                manifest.decided_at,
            ),
        )

    def _swap(self, name: str) -> None:
        """Let a new table take a name, and give others the rights that they had on the old one."""
        new, old = self._quoted(_new(name)), self._quoted(name)
        self.cursor.execute(GRANTS, (self.schema, name))
        for grantee, rights in self.cursor.fetchall():
            to = "PUBLIC" if grantee == "PUBLIC" else _in_quotes(grantee)
            self.cursor.execute(f"GRANT {rights} ON {new} TO {to}")
        self.cursor.execute(f"COMMENT ON TABLE {new} IS '{OURS}'")
        self.cursor.execute(f"DROP TABLE IF EXISTS {old}")
        self.cursor.execute(f"ALTER TABLE {new} RENAME TO {_in_quotes(name)}")
        index = f"{_in_quotes(self.schema)}.{_in_quotes(f'{_new(name)}_pkey')}"
        self.cursor.execute(f"ALTER INDEX IF EXISTS {index} RENAME TO {_in_quotes(f'{name}_pkey')}")

    def _quoted(self, name: str) -> str:
        return f"{_in_quotes(self.schema)}.{_in_quotes(name)}"


def _new(name: str) -> str:
    return f"{name}_new"


def _in_quotes(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first(cursor: Any, asked: str, *values: object) -> Any:
    """Return the first value of the first row of an answer, or None."""
    cursor.execute(asked, values or None)
    row = cursor.fetchone()
    return None if row is None else row[0]
