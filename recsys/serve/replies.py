"""Bodies read and answers written, in one way for all routes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import msgspec
from fastapi import Request, Response

from recsys.domain.errors import UnknownMemberError, UnknownSaleError
from recsys.serve.limits import BODY, REQUEST_ID
from recsys.serve.refusal import RefusedError

T = TypeVar("T")


class Generation(Protocol):
    """What answers: it has a name."""

    @property
    def generation(self) -> str:
        """Fingerprint of its bundle."""


def read(request: Request, wanted: type[T]) -> T:
    """Return a request's body as `wanted`.

    Raises:
        RefusedError: 400 it is not JSON; 422 it is not what the route asks for.
    """
    try:
        return msgspec.json.decode(request.scope[BODY], type=wanted)
    except msgspec.ValidationError as error:
        raise RefusedError(422, "invalid", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, "not_json", "the body is not JSON") from error


class Json(Response):
    """A JSON answer; made without Starlette's way over texts, which takes longer."""

    def __init__(self, body: bytes) -> None:
        """Answer 200 with a body."""
        self.status_code, self.body, self.background = 200, body, None
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
        ]


@contextmanager
def refusing() -> Generator[None]:
    """Turn what a generation cannot answer into a refusal.

    Raises:
        RefusedError: 404 the bundle does not hold a member or a sale; 422 the question is wrong.
    """
    try:
        yield
    except UnknownMemberError as error:
        raise RefusedError(404, "unknown_member", str(error)) from error
    except UnknownSaleError as error:
        raise RefusedError(404, "unknown_sale", str(error)) from error
    except ValueError as error:
        raise RefusedError(422, "invalid", str(error)) from error


def json(request: Request, generation: Generation | None, **fields: object) -> Response:
    """Answer with fields, the request's id and the generation that they are from."""
    said: dict[str, object] = {"request_id": request.scope[REQUEST_ID]}
    if generation is not None:
        said["generation"] = generation.generation
    return Json(msgspec.json.encode(said | fields))
