"""How the service listens, and what it refuses."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from recsys.domain.clock import us_of
from recsys.domain.spec import Count, NonNegative, Positive, Spec

LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")


class Serve(Spec):
    """One process that answers from the current bundle."""

    host: str = "127.0.0.1"
    """Address to listen on; one that other machines reach needs `keys`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 = any that is free."""
    keys: str | None = None
    """File of keys that callers must hold (recsys key writes it); null = nobody is asked for one,
    on this machine alone."""
    rate: NonNegative = 500.0
    """Slates a second that one key may ask for; more get 429. 0 = any number."""
    burst: Count = 1_000
    """Slates that one key may ask for at once beyond that."""
    bundles_dir: str = "bundles"
    """Where bundles are."""
    bundle: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] = "CURRENT"
    """The bundle that answers: a bundle's name, or CURRENT = the newest, and the next ones too."""
    feedback: str = "feedback"
    """Folder in which events and outcomes that callers tell are kept; made at the first one."""
    arms: str | None = None
    """JSON file of an experiment, as recsys slates arms=FILE takes it: answers say who is in which
    arm, and the hold-out gets the slate that is for all; null = none."""
    at: str | None = None
    """Answer for this instant (ISO 8601, UTC); null = by the clock, or for a shop of the past
    (a simulated one, a public set) by the instant its bundle was made for."""
    slots: Annotated[int, Field(ge=1, le=1000)] = 6
    """Places on a slate, unless the caller asks for another number."""
    poll_seconds: Positive = 1.0
    """How often to look for a new bundle."""
    retry_seconds: Positive = 60.0
    """How long to wait before a bundle that could not be opened is tried again."""
    stale_after_minutes: NonNegative = 30.0
    """How long a new bundle may fail to open before /readyz says that answers are stale."""
    drain_grace_seconds: NonNegative = 5.0
    """After SIGTERM: how long to go on accepting, so that others notice /readyz first."""
    drain_seconds: Count = 20
    """After that: how long to finish what is in flight."""
    workers: Count = 1
    """Processes that answer on the same port, each on a core; one that dies is started again."""
    deadline_seconds: Positive = 1.0
    """How long after its last byte a POST gets 504 if it has not begun; X-Deadline-Ms says less."""
    waiting: Count = 256
    """Requests that may wait for their turn in a process; more get 503 at once."""
    max_body_bytes: Count = 1 << 20
    """Longest body of a request; longer ones get 413."""
    body_seconds: Positive = 5.0
    """How long a caller may take to deliver a head, and again for a body."""
    connections: Count = 512
    """Open connections; more get 503."""
    keep_alive_seconds: Count = 30
    """How long an idle connection stays open."""

    @field_validator("at")
    @classmethod
    def _an_instant(cls, at: str | None) -> str | None:
        if at is not None:
            instant(at)
        return at

    @model_validator(mode="after")
    def _on_this_machine_or_with_keys(self) -> Self:
        if self.keys is None and not LOOPBACK.fullmatch(self.host):
            raise ValueError(
                f"host={self.host} can be reached by other machines, and no keys are named: "
                "recsys key name=mailer scopes=[recommend] file=keys.json makes one, "
                "serve.keys=keys.json asks for it"
            )
        return self


def instant(text: str) -> int:
    """Return UTC microseconds of an ISO 8601 text; without an offset it is read as UTC.

    Raises:
        ValueError: it is no instant.
    """
    try:
        said = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no instant; write UTC like 2026-03-30T10:00") from None
    return us_of(said)
