"""Callers who ask a service in this process at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from tests.serve.asking import Service

CROWD = 64


def crowd_of(service: Service, path: str, bodies: Sequence[dict[str, Any]]) -> list[httpx.Response]:
    """Ask all at once."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await asyncio.gather(*(client.post(path, json=body) for body in bodies))

    return asyncio.run(ask())


def plain(answer: httpx.Response) -> dict[str, Any]:
    """What an answer says, whoever asked."""
    return {key: value for key, value in answer.json().items() if key != "request_id"}
