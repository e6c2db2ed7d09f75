"""A caller's side of the service, in one file that needs the standard library alone."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

BATCH = 1024
"""Members asked for at once."""


class ServiceError(Exception):
    """The service refused, or did not answer."""

    def __init__(self, status: int, error: str, message: str) -> None:
        """Keep the HTTP status (0 = no answer), the error's short name and the message."""
        super().__init__(f"{error} ({status}): {message}")
        self.status, self.error, self.message = status, error, message


class Client:
    """Asks a service over one connection that is kept open; not for several threads at once."""

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, timeout: float = 10.0, tries: int = 3
    ) -> None:
        """Remember where the service is; `timeout` in seconds.

        Asking changes nothing there, so an answer that does not come is asked for `tries` times.
        """
        where = urlsplit(url)
        kind = (
            http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(where.hostname or "127.0.0.1", where.port, timeout=timeout)
        self._tries = tries

    def recommend(
        self, members: Sequence[str], *, slots: int | None = None
    ) -> list[dict[str, Any]]:
        """Return one slate for each member, with the generation that answered.

        A slate has member, fallback, short and sales; a sale has parts, a reason and its sentence.

        Raises:
            ServiceError: the service refused, or did not answer.
        """
        slates: list[dict[str, Any]] = []
        for first in range(0, len(members), BATCH):
            asked = {"members": list(members[first : first + BATCH]), "slots": slots}
            said = self._ask("POST", "/v1/recommend/batch", asked)
            slates += [slate | {"generation": said["generation"]} for slate in said["slates"]]
        return slates

    def similar(self, **asked: Any) -> dict[str, Any]:
        """Return the sales nearest to sale=ID, member=ID or vector=[...]; k, scope as the route.

        Raises:
            ServiceError: the service refused, or did not answer.
        """
        return self._ask("POST", "/v1/similar", asked)

    def shelf(self) -> dict[str, Any]:
        """Return the sales on offer now.

        Raises:
            ServiceError: the service refused, or did not answer.
        """
        return self._ask("GET", "/v1/shelf", None)

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        self._connection.close()

    def _ask(self, method: str, path: str, asked: dict[str, Any] | None) -> dict[str, Any]:
        body = None if asked is None else json.dumps(asked).encode()
        for attempt in range(1, self._tries + 1):
            try:
                self._connection.request(method, path, body)
                answer = self._connection.getresponse()
                said: dict[str, Any] = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._connection.close()
                if attempt == self._tries:
                    raise ServiceError(0, "no_answer", str(error)) from error
                time.sleep(0.1 * 2**attempt)
            else:
                break
        if answer.status >= 400:
            raise ServiceError(answer.status, said["error"], said["message"])
        return said
