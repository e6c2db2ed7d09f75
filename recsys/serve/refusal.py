"""The one form in which a request is refused."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

RETRY_SECONDS = 1
"""Retry-After where too many ask."""


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: int, error: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Keep the HTTP status, the error's short name and what to tell the caller."""
        super().__init__(message)
        self.status, self.error, self.message = status, error, message
        self.headers = dict(headers or {})

    def response(self, request_id: str) -> Response:
        """Write the one form in which errors are told."""
        said = {"error": self.error, "message": self.message, "request_id": request_id}
        return Response(
            msgspec.json.encode(said), self.status, self.headers, media_type="application/json"
        )


def late() -> RefusedError:
    """Return what a caller is told whose deadline is over."""
    return RefusedError(504, "deadline", "its deadline was over before this request was answered")


def overloaded(message: str) -> RefusedError:
    """Return what a caller is told where too many ask."""
    return RefusedError(503, "overloaded", message, headers={"Retry-After": str(RETRY_SECONDS)})
