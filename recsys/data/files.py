"""A path, glob, folder or URL in, one frame with the origin of every row out."""

from __future__ import annotations

from glob import glob
from pathlib import Path

import polars as pl

from recsys.domain.errors import DataRefusedError

PARQUET = (".parquet", ".pq")
CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")


def find(table: str, path: str) -> list[str]:
    """Return the files a path names, sorted; a URL is left to the object store.

    Raises:
        DataRefusedError: There is none.
    """
    if "://" in path:
        return [path]
    place = Path(path)
    if place.is_dir():
        inside = [str(file) for file in sorted(place.rglob("*")) if is_table(file.name)]
        kinds = {is_parquet(file) for file in inside}
        if len(kinds) > 1:
            raise DataRefusedError(
                f"{table}: {path} holds parquet and CSV files",
                f"name those that belong together: {path.rstrip('/')}/*.parquet",
            )
        files = inside
    else:
        files = sorted(glob(path, recursive=True))  # ruff: ignore[glob] - absolute globs too
    if not files:
        near = place if place.is_dir() else place.parent
        there = sorted(file.name for file in near.iterdir())[:8] if near.is_dir() else []
        raise DataRefusedError(
            f"{table}: no file at {path}",
            f"{near} holds: {', '.join(there)}" if there else f"{near} is empty or not there",
            f"name yours: data.{table}.path=PATH",
        )
    return files


def scan(files: list[str], delimiter: str) -> pl.LazyFrame:
    """Return a lazy frame over parquet or CSV files; all CSV columns are text, read later."""
    if is_parquet(files[0]):
        return pl.scan_parquet(files, include_file_paths="source_file")
    tabs = ".tsv" in files[0]
    return pl.scan_csv(
        files,
        separator="\t" if tabs else delimiter,
        infer_schema=False,
        include_file_paths="source_file",
    )


def numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Add source_row: the row in its file, from 1, the header not counted."""
    rows = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    if frame["source_file"].n_unique() > 1:
        rows = rows.over("source_file")
    return frame.with_columns(rows.alias("source_row"))


def unreadable(table: str, files: list[str], delimiter: str) -> DataRefusedError:
    """Make the error that names the first file of a table that cannot be read by itself."""
    for file in files:
        try:
            scan([file], delimiter).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            why = str(error).strip().splitlines()
            return DataRefusedError(
                f"{table} cannot be read ({file})",
                why[0][:200] if why else type(error).__name__,
                "write the file again, as parquet or as CSV in UTF-8",
            )
    return DataRefusedError(
        f"{table}: the {len(files)} files have different columns ({files[0]} and others)",
        "name those that belong together by a glob, or write them with the same columns",
    )


def is_parquet(file: str) -> bool:
    """Say whether a name is that of a parquet file; object stores without an ending hold them."""
    return not file.lower().endswith(CSV)


def is_table(file: str) -> bool:
    """Say whether a name is that of a file we can read."""
    return file.lower().endswith((*PARQUET, *CSV))
