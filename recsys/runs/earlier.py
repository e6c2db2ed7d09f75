"""Which earlier run is meant: by folder, by name, by a bundle it published, by what is served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recsys.domain.artefact import current, read_manifest
from recsys.domain.errors import ArtefactError, MissingArtefactError, SettingError
from recsys.domain.manifest import MANIFEST
from recsys.runs.folder import RunFolder, find, published
from recsys.runs.spec import Train


@dataclass(frozen=True)
class Earlier:
    """Towers to start from."""

    run: str
    """The run's folder as a person would type it."""
    checkpoint: Path
    encoders: Path


def earlier(spec: Train) -> Earlier | None:
    """Return what `warm_start` names, or None.

    Raises:
        MissingArtefactError: there is no such run or bundle, or the run made no towers.
        SettingError: the towers are to be refitted, too.
    """
    if spec.warm_start is None:
        return None
    if spec.towers.refit:
        raise SettingError(
            "towers.refit=true trains twice from nothing, warm_start goes on from earlier towers",
            "do one of them: leave out warm_start, or set towers.refit=false",
        )
    folder = named(spec.warm_start, spec)
    facts = folder.facts()
    if "checkpoint" not in facts:
        raise MissingArtefactError(
            f"{folder.shown} has no trained towers (status {facts['status']})",
            f"finish it: python train.py resume={folder.shown}",
        )
    return Earlier(
        folder.shown,
        folder.path / "checkpoints" / facts["checkpoint"],
        folder.path / "encoders" / facts["encoders"],
    )


def named(name: str, spec: Train) -> RunFolder:
    """Return the run of a folder, of a name, of a bundle's name, or of what is served.

    Raises:
        MissingArtefactError: there is none.
    """
    bundle = Path(spec.bundles_dir) / name
    if not (bundle / MANIFEST).is_file():
        return wanted(name, spec.runs_dir)
    made = read_manifest(bundle).parents.get("checkpoint")
    for run in published(Path(spec.runs_dir)):
        if towers_of(run) == made:
            return run
    raise MissingArtefactError(
        f"no run in {spec.runs_dir} has the towers of the bundle {name}",
        "name another folder of runs: runs_dir=PATH",
    )


def wanted(run: str, runs_dir: str) -> RunFolder:
    """Return the run whose model is used: the one named, or the one behind what is served.

    Where nothing is served, that is the newest run which published a bundle.

    Raises:
        MissingArtefactError: no such run, or none that published.
    """
    root = Path(runs_dir)
    if run != "CURRENT":
        return find(run, root)
    done = published(root)
    if not done:
        raise MissingArtefactError(
            f"no run in {root} has published a bundle", "make one: python train.py"
        )
    return next((folder for folder in done if is_served(folder)), done[0])


def is_served(folder: RunFolder) -> bool:
    """Tell whether the bundle that CURRENT names was made of a run's model."""
    try:
        bundle = read_manifest(current(Path(folder.config()["bundles_dir"])))
    except ArtefactError:
        return False
    return bundle.parents.get("checkpoint") == towers_of(folder)


def towers_of(folder: RunFolder) -> str | None:
    """Return the fingerprint of the towers that a run published, None where they are gone."""
    checkpoint = folder.path / "checkpoints" / folder.facts()["checkpoint"]
    try:
        return read_manifest(checkpoint).fingerprint
    except ArtefactError:
        return None
