"""One folder a run: its config, what was printed, what was measured, how it ended."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from recsys.domain.disk import take_lock
from recsys.domain.errors import ArtefactError, MissingArtefactError, SettingError
from recsys.domain.spec import Spec

JSON = dict[str, Any]
LIBRARIES = ("torch", "pytorch-lightning", "faiss-cpu", "polars", "numpy", "hydra-core", "pydantic")
LOCK = ".lock"
"""File that is locked while a process makes the run."""
NOT_COMPARED = {"resume", "quiet", "dry_run", "name", "trainer.logger", "trainer.tracking"}
"""Settings that may differ between a run and the one that goes on with it."""


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and what it writes into run.json."""

    path: Path

    @property
    def shown(self) -> str:
        """The path as a person would type it."""
        return os.path.relpath(self.path)

    def record(self, **facts: Any) -> None:
        """Add facts to run.json; the file is replaced whole, so a reader never sees half of it."""
        file = self.path / "run.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps({**known, **facts}, indent=2, default=str) + "\n")
        draft.replace(file)

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep others from going on with the run inside the block.

        Raises:
            SettingError: another process does.
        """
        handle = take_lock(self.path / LOCK)
        if handle is None:
            raise SettingError(
                f"{self.shown} is being made by another process",
                "wait for it or stop it, or train anew without resume",
            )
        try:
            yield
        finally:
            os.close(handle)

    @property
    def busy(self) -> bool:
        """Whether a process is making the run now."""
        try:
            with self.held():
                return False
        except SettingError:
            return True

    def facts(self) -> JSON:
        """Return what run.json says."""
        known: JSON = json.loads((self.path / "run.json").read_text())
        return known

    def config(self) -> JSON:
        """Return the resolved config as plain data.

        Raises:
            ArtefactError: it is not plain YAML.
        """
        try:
            plain: JSON = yaml.safe_load((self.path / "config.yaml").read_text())
        except yaml.YAMLError as error:
            raise ArtefactError(
                f"{self.path / 'config.yaml'} is not the plain YAML that a run writes",
                str(error).splitlines()[0],
                "name another run, or train anew",
            ) from error
        return plain


def start(spec: Spec, *, root: Path, name: str, now: datetime) -> RunFolder:
    """Make a new run folder, name it `latest`, and write what is known before anything is done."""
    stem = f"{now:%Y-%m-%d_%H%M%S}_{name}"
    path = next(
        path
        for number in range(1, 1000)
        if not (path := root / (stem if number == 1 else f"{stem}-{number}")).exists()
    )
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(
        yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    )
    folder = RunFolder(path)
    folder.record(
        status="running",
        started_at=now.isoformat(timespec="seconds"),
        command=command_line(),
        recsys=version(),
        git=git_state(),
        versions={"python": platform.python_version(), **versions()},
    )
    point_latest(root, path)
    return folder


def point_latest(root: Path, path: Path) -> None:
    """Let `latest` name a run, by rename, so that it always names one."""
    draft = root / f".latest-{os.getpid()}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(path.name)
    draft.replace(root / "latest")


def find(run: str, root: Path) -> RunFolder:
    """Return a run by path or by name below `root`; `latest` is the newest.

    Raises:
        MissingArtefactError: no such run.
    """
    for path in (root / run, Path(run)):
        if (path / "run.json").exists():
            return RunFolder(path.parent / path.readlink() if path.is_symlink() else path)
    raise MissingArtefactError(f"no run {run!r} in {root}", "make one: python train.py")


def published(root: Path) -> list[RunFolder]:
    """Return the runs that published a bundle, the newest first."""
    folders = [RunFolder(path.parent) for path in sorted(root.glob("*/run.json"), reverse=True)]
    return [
        folder for folder in folders if not folder.path.is_symlink() and "bundle" in folder.facts()
    ]


def unfinished(spec: Spec, root: Path) -> RunFolder | None:
    """Return the newest run of an equal Spec that neither finished nor is being made, or None."""
    ended = (run for run in alike(spec, root) if run.facts()["status"] != "done")
    return next((run for run in ended if not run.busy), None)


def finished(spec: Spec, root: Path) -> RunFolder | None:
    """Return the newest run that finished and had an equal Spec, or None."""
    return next((run for run in alike(spec, root) if run.facts()["status"] == "done"), None)


def alike(spec: Spec, root: Path) -> Iterator[RunFolder]:
    """Yield the runs that had an equal Spec, the newest first."""
    wanted = comparable(spec.model_dump(mode="json"))
    for path in sorted(root.glob("*/run.json"), reverse=True):
        folder = RunFolder(path.parent)
        if not path.parent.is_symlink() and comparable(folder.config()) == wanted:
            yield folder


def same_settings(folder: RunFolder, spec: Spec) -> None:
    """Refuse to go on with a run that had other settings.

    Raises:
        SettingError: names the settings that differ.
    """
    before, now = flat(comparable(folder.config())), flat(comparable(spec.model_dump(mode="json")))
    differ = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if differ:
        lines = [f"{key}: {before.get(key)} then, {now.get(key)} now" for key in differ[:3]]
        raise SettingError(f"{folder.shown} was made with other settings", *lines)


def comparable(plain: JSON, prefix: str = "") -> JSON:
    """Leave out the settings that do not change what is learned."""
    return {
        key: comparable(value, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in plain.items()
        if f"{prefix}{key}" not in NOT_COMPARED
    }


def flat(plain: Any, prefix: str = "") -> JSON:
    """Turn nested data into dotted path -> value."""
    if not isinstance(plain, dict):
        return {prefix: plain}
    found: JSON = {}
    for key, value in plain.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else key)
    return found


def command_line() -> str:
    """Return the command as it was typed; what Hydra is given is another text."""
    typed = sys.orig_argv
    script = sys.argv[0] if sys.argv else ""
    if script in typed:
        words = typed[typed.index(script) + 1 :]
    elif "-m" in typed:
        words = typed[typed.index("-m") + 2 :]
        script = "recsys"
    else:
        words = sys.argv[1:]
    name = Path(script).name or "recsys"
    return shlex.join(["python", name, *words] if name.endswith(".py") else [name, *words])


def version() -> str:
    """Return the version of this package."""
    try:
        return metadata.version("noon-recsys")
    except metadata.PackageNotFoundError:
        return "0 (not installed)"


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide results."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "absent"
    return found


def git_state() -> str:
    """Return the commit of the checkout, marked if the tree has changes; empty without git."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # ruff: ignore[start-process-with-partial-path] the user's own git
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
            cwd=Path(__file__).parent,
        )
    except OSError:
        return ""
    return said.stdout.strip()


def utc_now() -> datetime:
    """Return the wall clock, the one place a run asks for it."""
    return datetime.now(UTC)
