"""A dataset kept as a verified folder: raw arrays that are mapped, frames as parquet."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.data.fingerprint import ARRAYS, FRAMES
from recsys.domain.artefact import open_artefact, publish
from recsys.domain.dataset import Dataset
from recsys.domain.events import Events
from recsys.domain.schema import Schema

KIND = "dataset"
FACTS = ("name", "zone", "watermark", "fingerprint", "shelf_hours", "task", "truth")


def folder_name(dataset: Dataset) -> str:
    """Return the folder's name, NAME-FINGERPRINT: equal content has an equal name."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", dataset.name).lstrip("-_")[:64] or KIND
    return f"{name}-{dataset.fingerprint}"


def save(dataset: Dataset, root: Path) -> Path:
    """Publish a dataset below `root` and return its folder; what is there already stays.

    Raises:
        NoRoomError: the disk does not hold it.
        ArtefactError: the system refused a write.
    """

    def write(draft: Path) -> None:
        for name in ARRAYS:
            np.save(draft / _array(name), getattr(dataset.events, name), allow_pickle=False)
        for name in FRAMES:
            getattr(dataset, name).write_parquet(draft / f"{name}.parquet")
        facts = {name: getattr(dataset, name) for name in FACTS}
        (draft / "dataset.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        (draft / "schema.json").write_text(dataset.schema.model_dump_json(indent=1), "utf-8")

    frames: list[pl.DataFrame] = [getattr(dataset, name) for name in FRAMES]
    return publish(
        root,
        KIND,
        write,
        name=folder_name(dataset),
        bytes_needed=sum(getattr(dataset.events, name).nbytes for name in ARRAYS)
        + sum(int(frame.estimated_size()) for frame in frames),
        counts={
            "members": dataset.num_members,
            "sales": dataset.num_sales,
            "events": len(dataset.events),
        },
        watermark=dataset.watermark,
    )


def load(folder: Path) -> Dataset:
    """Verify a folder and return its dataset; arrays of events are mapped, not read.

    Raises:
        MissingArtefactError: no dataset is there.
        BrokenArtefactError: a file was changed, cut, added or removed since it was published.
        OldLayoutError: it was made by a version with another layout.
    """
    folder = Path(folder)
    open_artefact(folder, KIND)
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    arrays = {name: np.load(folder / _array(name), mmap_mode="r") for name in ARRAYS}
    frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in FRAMES}
    schema = Schema.model_validate_json((folder / "schema.json").read_text(encoding="utf-8"))
    known: dict[str, Any] = {"schema": schema, "events": Events(**arrays), **frames, **facts}
    return Dataset(**known)


def _array(name: str) -> str:
    return f"{name}.npy" if name == "member_ptr" else f"event_{name}.npy"
