"""The service asked in this process, and the form in which it refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from recsys.serve.bundle import open_bundle
from recsys.serve.http import app
from recsys.serve.keys import Keys
from recsys.serve.live import Live
from recsys.serve.recommender import Recommender
from recsys.serve.spec import Serve


class Asker:
    """Asks an app without a socket."""

    def __init__(self, asked: FastAPI) -> None:
        self._transport = httpx.ASGITransport(asked, raise_app_exceptions=False)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask and wait, in a loop that ends with the answer."""
        return asyncio.run(self._ask(method, path, **more))

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        base = "http://127.0.0.1"
        async with httpx.AsyncClient(transport=self._transport, base_url=base) as client:
            return await client.request(method, path, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Ask by GET."""
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        """Ask by POST."""
        return self.request("POST", path, **more)


class Service:
    """An app over a folder of bundles, asked in this process."""

    def __init__(
        self, root: Path, clock: int | None = None, *, keys: Path | None = None, **settings: Any
    ) -> None:
        named = None if keys is None else str(keys)
        spec = Serve(bundles_dir=str(root), keys=named, **settings)
        self.told: list[str] = []

        def load(folder: Path) -> Recommender:
            return Recommender(open_bundle(folder), None if clock is None else lambda: clock)

        self.live = Live(spec, load, said=lambda event, what: self.told.append(f"{event} {what}"))
        held = None if keys is None else Keys(keys, said=lambda _event, _what: None)
        self.app = app(self.live, spec, held)
        self.client = Asker(self.app)

    def post(self, path: str, **body: Any) -> httpx.Response:
        """Ask with a JSON body."""
        return self.client.post(path, json=body)


def refused(answer: httpx.Response, status: int, error: str) -> str:
    """Check the one form of errors; return the message."""
    said = answer.json()
    assert (answer.status_code, said["error"]) == (status, error), said
    assert set(said) == {"error", "message", "request_id"}
    assert answer.headers["x-request-id"] == said["request_id"]
    return str(said["message"])
