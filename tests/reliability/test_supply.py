"""Promise 18: what is installed is what was looked at, and nothing calls the network."""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from pytest_socket import SocketConnectBlockedError

from recsys.runs.doctor import MALWARE, NEEDED
from tests.reliability.conftest import Shown
from tests.runs.starting import environment

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DENIED = {"lightning": None, "pytorch-lightning": MALWARE}
"""Package -> versions that are never taken; None = no version at all."""
FLOORS = {name: ".".join(map(str, least)) for name, least in NEEDED.items()} | {"ray": "2.52"}
FREE = re.compile(r"MIT|BSD|Apache|PSF|MPL|Mozilla Public|ISC|HPND|DFSG approved")
"""Licences that are taken (RELIABILITY 6)."""
READ = {
    "dataframely": "BSD-3-Clause, by its LICENSE file: its metadata name none",
    "numpy": "BSD-3-Clause; parts of it 0BSD, MIT, Zlib, CC0-1.0",
    "torch": "BSD-3-Clause; parts of it Apache-2.0 with LLVM-exception, BSL-1.0, MIT",
}
"""Packages whose licences a person has read."""


def pinned() -> Mapping[str, str]:
    """Return package -> version of the constraints."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("==")[::2] for line in lines if "==" in line and line[0] != "#"]
    return {canonicalize_name(name): version.split(";")[0].strip() for name, version in pairs}


def needed() -> Mapping[str, metadata.Distribution]:
    """Return all installed packages that this one asks for, with every extra, and what they ask."""
    found = dict[str, metadata.Distribution]()
    extras = PROJECT["project"]["optional-dependencies"]
    asked = [
        Requirement(line)
        for line in (*PROJECT["project"]["dependencies"], *(r for e in extras.values() for r in e))
    ]
    while asked:
        one = asked.pop()
        name = canonicalize_name(one.name)
        if name in found or name == "noon-recsys":
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here, or of another system
        lines = [Requirement(line) for line in found[name].requires or []]
        wanted = [{"extra": extra} for extra in (*one.extras, "")]
        asked += [r for r in lines if not r.marker or any(map(r.marker.evaluate, wanted))]
    return found


def licence(package: metadata.Distribution) -> str:
    """Return what a package says of its licence."""
    said = package.metadata.json
    classified = [one for one in said.get("classifier", []) if one.startswith("License ::")]
    plain = said.get("license_expression") or "; ".join(classified) or said.get("license") or ""
    return str(plain).split("\n", maxsplit=1)[0]


def test_what_is_denied_is_neither_pinned_nor_installed(shown: Shown) -> None:
    installed: dict[str, str] = {
        canonicalize_name(one.metadata["Name"]): one.version for one in metadata.distributions()
    }
    for listed in (pinned(), installed):
        assert len(listed) > 50
        for name, versions in DENIED.items():
            assert name not in listed or (versions and listed[name] not in versions), name
    asked = [Requirement(line).name for line in PROJECT["project"]["dependencies"]]
    assert "lightning" not in asked
    assert "pytorch-lightning" in asked
    shown(len(DENIED), f"{len(installed)} packages installed, none of them denied")


def test_safe_floors_are_asked_for_pinned_and_installed(shown: Shown) -> None:
    lowest = {
        Requirement(line).name: Requirement(line).specifier
        for line in PROJECT["project"]["dependencies"]
    }
    for name, floor in FLOORS.items():
        if name in lowest:
            versions = [one.version for one in lowest[name] if one.operator == ">="]
            assert [Version(version) >= Version(floor) for version in versions] == [True], name
        if name in pinned():
            assert Version(pinned()[name].split("+")[0]) >= Version(floor), name
        if name in needed():
            assert Version(needed()[name].version) >= Version(floor), name
    assert FLOORS.keys() - {"ray"} <= pinned().keys() & needed().keys()
    shown(len(FLOORS), f"floors of {', '.join(sorted(FLOORS))} hold")


def test_every_pin_is_one_version_and_names_no_index(shown: Shown) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.+]+( ;.*)?", line) for line in lines)
    shown(len(lines), f"{len(lines)} pins")


def test_licences_are_free_ones(shown: Shown) -> None:
    packages = needed()
    assert len(packages) > 50
    strange = {
        name: licence(one)
        for name, one in packages.items()
        if name not in READ and not all_free(licence(one))
    }
    assert strange == {}
    shown(len(packages), f"{len(packages)} packages, {len(READ)} of them read by a person")


def all_free(said: str) -> bool:
    """Tell whether every licence of an expression is among those that are taken."""
    parts = re.split(r"; | AND | OR |, ", said)
    return bool(said) and all(FREE.search(part) for part in parts)


@pytest.mark.parametrize(
    ("said", "free"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-2-Clause", True),
        ("", False),
        ("GPL-3.0-only", False),
        ("MIT AND AGPL-3.0", False),
        ("License :: Other/Proprietary License", False),
    ],
)
def test_a_licence_of_another_kind_would_be_seen(said: str, *, free: bool) -> None:
    assert all_free(said) == free


def test_tests_reach_this_machine_alone(tmp_path: Path, shown: Shown) -> None:
    # the plugin warns before it refuses, and a warning is an error here
    refused = pytest.raises((SocketConnectBlockedError, UserWarning), match=r"192\.0\.2\.1")
    with socket.socket() as probe, refused:
        probe.connect(("192.0.2.1", 80))  # an address kept for documents: nobody is there
    offline = environment(tmp_path)["PYTHONPATH"].split(":")[0]
    assert "socket.socket.connect" in (Path(offline) / "sitecustomize.py").read_text()
    options = PROJECT["tool"]["pytest"]["ini_options"]["addopts"]
    assert {"--disable-socket", "--allow-hosts=127.0.0.1,localhost,::1"} <= set(options)
    shown(1, "every test, and the processes tests start")
