"""schemathesis: requests made from the document of the routes, answers compared with it.

It takes a while to load, so tests load this module where they use it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemathesis import openapi
from schemathesis.config import CacheConfig, NotAServerErrorConfig, SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine import StopReason, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from tests.reliability.callers import HANGS, Heard
from tests.reliability.figures import DRAWS

EXPECTED = ("2xx", "3xx", "4xx", "503", "504")
"""Codes that a service may answer with; which 503 and 504 those are, the caller checks."""


@dataclass(frozen=True)
class Departure:
    """An answer that is not what the document says."""

    check: str
    operation: str
    why: str
    asked: str
    """As a command that asks the same."""
    status: int
    said: Mapping[str, Any]
    """The answer where it is an object."""


@dataclass
class Tried:
    """What was asked, and what came of it."""

    phases: Counter[str] = field(default_factory=Counter)
    """Where requests came from: examples, coverage of each rule in turn, draws."""
    kinds: Counter[str] = field(default_factory=Counter)
    """What the document allows (positive), and what it does not (negative)."""
    codes: Counter[int] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    refusals: list[Heard] = field(default_factory=list)
    """Answers of 5xx."""
    departures: list[Departure] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """What kept it from asking at all."""


def tried(document: Path, port: int, *, examples: int) -> Tried:
    """Ask a service on this machine: so many draws of each operation, and each rule in turn."""
    config = SchemathesisConfig(seed=DRAWS, cache=CacheConfig(enabled=False))
    project = config.projects.default
    project.update(
        base_url=f"http://127.0.0.1:{port}", continue_on_failure=True, request_timeout=HANGS
    )
    project.generation.max_examples = examples
    project.generation.database = "none"
    # drawn from neither answers (they hold request ids) nor runs before: a seed asks the same
    project.phases.fuzzing.extra_data_sources.responses = False
    project.phases.examples.extra_data_sources.responses = False
    project.checks.not_a_server_error = NotAServerErrorConfig(expected_statuses=EXPECTED)
    found = Tried()
    for event in from_schema(openapi.from_path(document, config=config)).execute():
        match event:
            case events.ScenarioFinished():
                _count(found, str(event.phase), event.recorder)
            case events.NonFatalError():
                found.errors.append(f"{event.label}: {event.value}")
            case events.FatalError():
                found.errors.append(str(event.exception))
            case events.EngineFinished() if event.stop_reason is not StopReason.COMPLETED:
                found.errors.append(str(event.stop_reason))
    return found


def _count(found: Tried, phase: str, recorder: ScenarioRecorder) -> None:
    found.phases[phase] += len(recorder.interactions)
    metas = [case.value.meta for case in recorder.cases.values()]
    found.kinds.update(meta.generation.mode.value for meta in metas if meta is not None)
    for one in recorder.interactions.values():
        if one.response is None:
            found.errors.append(f"no answer: {one.request.method} {one.request.uri}")
            continue
        found.codes[one.response.status_code] += 1
        if one.response.status_code >= 500:
            found.refusals.append(_heard(one.response))
    for checks in recorder.checks.values():
        found.checks.update(check.name for check in checks)
    found.departures += _departures(recorder)


def _departures(recorder: ScenarioRecorder) -> Iterator[Departure]:
    for case, checks in recorder.checks.items():
        response = recorder.interactions[case].response
        for check in checks:
            if check.failure_info is not None:
                yield Departure(
                    check.name,
                    recorder.label,
                    check.failure_info.failure.message,
                    check.failure_info.code_sample,
                    0 if response is None else response.status_code,
                    {} if response is None else _object(response.content),
                )


def _heard(said: Response) -> Heard:
    headers = {name: values[0] for name, values in said.headers.items()}
    return Heard("answered", 0, said.elapsed, said.status_code, headers, said.content)


def _object(body: bytes) -> Mapping[str, Any]:
    """Return an answer as the object that it is; nothing where it is none."""
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
