"""The table of promises: what was tried here, how often, and what came of it.

Runs the tests that tests/reliability/promises.yaml names and prints a row for each promise. One
that nothing shows yet, or that cannot be shown on this machine, is said to be so.

    python -m benchmarks.promises [--seed N] [--release] [--all] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess  # ruff: ignore[suspicious-subprocess-import] runs our own tests
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET  # ruff: ignore[suspicious-xml-etree-import] written by our own tests a moment ago

import yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "reliability" / "promises.yaml"
PAGE = ROOT / "docs" / "reliability.md"
BEGINS, ENDS = "<!-- promises: made by the command below -->", "<!-- end of promises -->"
HEAD = "| # | promise | how | times | result | s |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Case:
    """One test that ran."""

    test: str
    """Dotted module, a dot, the function without its parameters."""
    seconds: float
    times: int = 1
    said: str = ""
    failed: bool = False
    skipped: str = ""
    """Why it could not run here."""


@dataclass(frozen=True)
class Promise:
    """One row of the list."""

    number: int
    promise: str
    how: str
    tests: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    lacks: str = ""

    def shown_by(self, cases: Iterable[Case], *, everything: bool) -> list[Case]:
        """Return the tests of this promise among those that ran."""
        names = [dotted(test) for test in self.run(everything=everything)]
        return [case for case in cases if any(belongs(case.test, name) for name in names)]

    def run(self, *, everything: bool) -> tuple[str, ...]:
        """Return what is run for it: with `everything`, what make test runs anyway too."""
        return self.tests + (self.elsewhere if everything else ())

    def row(self, cases: Sequence[Case], *, everything: bool) -> str:
        """Return the row of the table."""
        mine = self.shown_by(cases, everything=everything)
        counted = [case for case in mine if case.said] or mine
        times = sum(case.times for case in counted if not case.skipped)
        cells = [
            str(self.number),
            self.promise,
            self.how,
            f"{times:,}" if mine else "",
            self.result(mine, everything=everything),
            f"{sum(case.seconds for case in mine):.0f}" if mine else "",
        ]
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    def result(self, mine: Sequence[Case], *, everything: bool) -> str:
        """Say what came of it, and what nothing shows."""
        failed = sorted({case.test for case in mine if case.failed})
        said = [f"**broken**: {', '.join(failed)}"] if failed else []
        said += [case.said for case in mine if case.said and not case.failed]
        plain = [case for case in mine if not (case.said or case.failed or case.skipped)]
        said += [f"{len(plain)} more tests" if said else f"{len(plain)} tests"] if plain else []
        said += sorted({f"*not shown*: {case.skipped}" for case in mine if case.skipped})
        if self.elsewhere and not everything:
            said.append(f"in `make test`: {', '.join(sorted(set(map(file_of, self.elsewhere))))}")
        said += [f"*not shown yet*: {self.lacks}"] if self.lacks else []
        return "; ".join(said)


def promises() -> list[Promise]:
    """Read the list."""
    listed: list[dict[str, Any]] = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    return [
        Promise(
            number=one["number"],
            promise=one["promise"],
            how=one["how"],
            tests=tuple(one.get("tests", ())),
            elsewhere=tuple(one.get("elsewhere", ())),
            lacks=one.get("lacks", ""),
        )
        for one in listed
    ]


def file_of(test: str) -> str:
    """Return the file of a test as it is named in the list."""
    return test.partition("::")[0]


def dotted(test: str) -> str:
    """Turn tests/a/test_b.py::test_c into tests.a.test_b.test_c."""
    return test.replace(".py", "").replace("::", ".").replace("/", ".")


def belongs(test: str, name: str) -> bool:
    """Tell whether a test is the one named, or in the file named."""
    return test == name or test.startswith(f"{name}.")


def run(tests: Sequence[str], *, seed: int, release: bool) -> list[Case]:
    """Run some tests in a process of their own; return them as they ended.

    Raises:
        RuntimeError: pytest itself could not run.
    """
    environment = os.environ | {"RECSYS_SEED": str(seed)}
    if release:
        environment["RECSYS_RELEASE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        # the newer family has no place for what a test says of itself
        family = ["-o", "junit_family=xunit1"]
        options = ["-q", "-p", "no:randomly", f"--junitxml={report}", *family]
        words = [sys.executable, "-m", "pytest", *options, *dict.fromkeys(tests)]
        code = subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode  # ruff: ignore[subprocess-without-shell-equals-true] our own tests
        if code not in {0, 1}:
            raise RuntimeError(f"pytest ended with {code}")
        return cases(report.read_text(encoding="utf-8"))


def cases(report: str) -> list[Case]:
    """Read what pytest wrote of the tests that ran."""
    tree = ET.fromstring(report)  # ruff: ignore[suspicious-xml-element-tree-usage] written by our own tests
    return [_case(one) for one in tree.iter("testcase")]


def _case(one: ET.Element) -> Case:
    properties = {p.get("name"): p.get("value") for p in one.iter("property")}
    skipped = one.find("skipped")
    return Case(
        test=f"{one.get('classname')}.{str(one.get('name')).partition('[')[0]}",
        seconds=float(one.get("time") or 0),
        times=int(properties.get("times") or 1),
        said=properties.get("said") or "",
        failed=one.find("failure") is not None or one.find("error") is not None,
        skipped="" if skipped is None else str(skipped.get("message")),
    )


def table(cases: Sequence[Case], *, everything: bool) -> str:
    """Return the table of all promises."""
    rows = [promise.row(cases, everything=everything) for promise in promises()]
    return "\n".join([HEAD, *rows])


def write(made: str, *, page: Path = PAGE) -> None:
    """Put the table into the page, between its marks."""
    text = page.read_text(encoding="utf-8")
    before, begins, rest = text.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        raise ValueError(f"{page.name} has no place for the table: {BEGINS} ... {ENDS}")
    page.write_text(f"{before}{BEGINS}\n{made}\n{ENDS}{after}", encoding="utf-8")


def main() -> int:
    """Print the table and one line of JSON; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="draws everything")
    parser.add_argument("--release", action="store_true", help="the long figures: hours")
    parser.add_argument("--all", action="store_true", help="also what make test runs anyway")
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    parser.add_argument("--quick", action="store_true", help="the list alone, nothing is tried")
    asked = parser.parse_args()
    listed = promises()
    tests = [test for one in listed for test in one.run(everything=asked.all)]
    ran = [] if asked.quick else run(tests, seed=asked.seed, release=asked.release)
    figures = "release figures" if asked.release else "CI figures"
    made = table(ran, everything=asked.all)
    now = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {figures}, seed {asked.seed}"
    print(f"{now}\n\n{made}")
    broken = sorted({case.test for case in ran if case.failed})
    print(json.dumps({"benchmark": "promises", "tests": len(ran), "broken": broken}))
    if asked.write:
        write(f"{now}.\n\n{made}")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
