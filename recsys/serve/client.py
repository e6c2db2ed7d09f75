"""A caller's side of the service, in one file that needs the standard library alone: copy it.

from client import Client

with Client("http://127.0.0.1:8000", key="...") as shop:
    slate = shop.recommend("m000042", slots=6)
    for place in slate.places:
        print(place.sale, place.because)
"""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

BATCH = 1024
"""Members asked for at once, and rows told at once."""
AGAIN = frozenset({429, 502, 503, 504})
"""Answers that may be others a moment later."""

T = TypeVar("T")


class ServiceError(Exception):
    """The service refused, or did not answer."""

    def __init__(self, status: int, error: str, message: str) -> None:
        """Keep the HTTP status (0 = no answer), the error's short name and the message."""
        super().__init__(f"{error} ({status}): {message}")
        self.status, self.error, self.message = status, error, message


@dataclass(frozen=True)
class Place:
    """One slot of a slate; taste + new + curated = gain."""

    slot: int
    sale: str
    title: str | None
    brand: str | None
    taste: float
    new: float
    curated: float
    gain: float
    reason: str
    because: str
    evidence: str | None
    flags: tuple[str, ...]
    propensity: float | None
    """Log it with what you show: another policy can be judged by it later."""


@dataclass(frozen=True)
class Slate:
    """What one member should see."""

    member: str
    places: tuple[Place, ...]
    fallback: str
    """personalised, segment, curated or newest: who chose."""
    short: bool
    """Fewer sales than places."""
    generation: str
    """Bundle that answered."""
    policy: str
    """What made it: log it with what you show, and the arm."""
    at: str
    arm: str | None = None


@dataclass(frozen=True)
class Near:
    """A sale found by likeness."""

    sale: str
    title: str | None
    brand: str | None
    score: float
    open: bool


class Client:
    """Asks a service over one connection that is kept open; not for several threads at once."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str = "",
        deadline: float = 10.0,
        tries: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Remember where the service is, and the key that opens it (recsys key makes one).

        `deadline`: seconds for one call, all its tries and waits together. A question, and what is
        told, may be repeated without harm: the same event told twice counts once.
        """
        where = urlsplit(url)
        secure = where.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(where.hostname or "127.0.0.1", where.port, timeout=deadline)
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._deadline, self._tries, self._sleep = deadline, max(1, tries), sleep

    def recommend(self, member: str = "", **wanted: Any) -> Slate:
        """Return the slate of a member, or of one who is described.

        wanted: slots, at, channel, novelty, exclude, history, features, as in POST /v1/recommend.

        Raises:
            ServiceError: the service refused, or did not answer in time.
        """
        said = self._ask("POST", "/v1/recommend", {"member": member, **wanted})
        return _slate(said, said)

    def batch(self, members: Sequence[str], **wanted: Any) -> list[Slate]:
        """Return one slate for each member, in their order; wanted: slots, at, channel and so on.

        Up to 1,024 at a time are of one generation and one instant.

        Raises:
            ServiceError: the service refused, or did not answer in time.
        """
        slates: list[Slate] = []
        for first in range(0, len(members), BATCH):
            asked = {"members": list(members[first : first + BATCH]), **wanted}
            said = self._ask("POST", "/v1/recommend/batch", asked)
            slates += [_slate(slate, said) for slate in said["slates"]]
        return slates

    def similar(self, **asked: Any) -> list[Near]:
        """Return the sales nearest to sale=ID, member=ID or vector=[...]; k, scope as the route.

        Raises:
            ServiceError: the service refused, or did not answer in time.
        """
        return [_read(Near, one) for one in self._ask("POST", "/v1/similar", asked)["sales"]]

    def alike(self, member: str, k: int = 10) -> list[tuple[str, float]]:
        """Return the k members most like a member, and the cosine of each.

        Raises:
            ServiceError: the service refused, or did not answer in time.
        """
        said = self._ask("POST", "/v1/similar", {"of": "members", "member": member, "k": k})
        return [(one["member"], one["score"]) for one in said["members"]]

    def explain(self, member: str, sale: str, **wanted: Any) -> dict[str, Any]:
        """Return what a sale is worth to a member, part by part, as POST /v1/explain says it.

        Raises:
            ServiceError: the service refused, or did not answer in time.
        """
        return self._ask("POST", "/v1/explain", {"member": member, "sale": sale, **wanted})

    def feedback(
        self,
        events: Iterable[Mapping[str, Any]] = (),
        outcomes: Iterable[Mapping[str, Any]] = (),
    ) -> int:
        """Tell what members did; return how many rows are on the service's disk now.

        Raises:
            ServiceError: the service refused, or did not answer in time: tell all of it again.
        """
        stored = 0
        for name, rows in (("events", list(events)), ("outcomes", list(outcomes))):
            for first in range(0, len(rows), BATCH):
                some = [dict(row) for row in rows[first : first + BATCH]]
                stored += self._ask("POST", "/v1/feedback", {name: some})[name]
        return stored

    def shelf(self) -> list[dict[str, Any]]:
        """Return the sales on offer now.

        Raises:
            ServiceError: the service refused, or did not answer in time.
        """
        sales: list[dict[str, Any]] = self._ask("GET", "/v1/shelf", None)["sales"]
        return sales

    def ready(self) -> dict[str, Any]:
        """Return which generation answers, and whether a newer one has failed to open (stale).

        Raises:
            ServiceError: the service is about to stop, or did not answer in time.
        """
        return self._ask("GET", "/readyz", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        self._connection.close()

    def _ask(self, method: str, path: str, asked: Mapping[str, Any] | None) -> dict[str, Any]:
        body = None if asked is None else json.dumps(asked).encode()
        ends = time.monotonic() + self._deadline
        for attempt in range(self._tries):
            left = ends - time.monotonic()
            refused, wait = self._try((method, path), body, left)
            if isinstance(refused, dict):
                return refused
            # half of it by chance, so that callers who failed together do not come back together
            wait = max(wait, 0.1 * 2**attempt * random.uniform(0.5, 1.0))
            last = attempt + 1 == self._tries or time.monotonic() + wait >= ends
            if last or refused.status not in AGAIN | {0}:
                raise refused
            self._sleep(wait)
        raise AssertionError("one try at least")

    def _try(
        self, where: tuple[str, str], body: bytes | None, left: float
    ) -> tuple[dict[str, Any] | ServiceError, float]:
        """Return an answer, or why there is none and for how long to wait."""
        connection = self._connection
        connection.timeout = max(left, 0.001)
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        try:
            connection.request(*where, body, self._headers)
            answer = connection.getresponse()
            said = _fields(answer.read())
        except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
            connection.close()
            return ServiceError(0, "no_answer", str(error) or type(error).__name__), 0.0
        if answer.status < 400:
            return said, 0.0
        wait = answer.headers.get("Retry-After", "0")
        why = said.get("error", "refused"), said.get("message", "")
        return ServiceError(answer.status, *why), float(wait) if wait.isdecimal() else 0.0


def _fields(body: bytes) -> dict[str, Any]:
    said = json.loads(body)
    if not isinstance(said, dict):
        raise TypeError("what answered is no service of slates")
    return said


def _slate(slate: Mapping[str, Any], said: Mapping[str, Any]) -> Slate:
    return Slate(
        member=slate["member"],
        places=tuple(_read(Place, place) for place in slate["sales"]),
        fallback=slate["fallback"],
        short=slate["short"],
        generation=said["generation"],
        policy=slate["policy"],
        arm=slate.get("arm"),
        at=said["at"],
    )


def _read(kind: type[T], said: Mapping[str, Any]) -> T:
    """Make a record of what is known here; what a later service adds is left out."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    plain = {name: said[name] for name in names}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()})
