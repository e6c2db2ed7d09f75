"""The routes: JSON in and out over one generation at a time, and a page for people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from recsys.domain.errors import SettingError, UnknownMemberError, UnknownSaleError
from recsys.domain.manifest import Manifest
from recsys.serve.answers import MAX_PLACES, Answer, Ask, AskMany, AskSimilar
from recsys.serve.limits import BODY, REQUEST_ID, Front, RefusedError
from recsys.serve.live import Live
from recsys.serve.metrics import Facts, Metrics
from recsys.serve.openapi import document
from recsys.serve.page import Page
from recsys.serve.recommender import Recommender, iso
from recsys.serve.spec import Serve

BLOCK = 64
"""Members decided at once; between blocks other requests get their turn."""
RETRY_SECONDS = 3600
"""Retry-After where no opening is known."""

T = TypeVar("T")


def app(live: Live[Recommender], spec: Serve) -> FastAPI:
    """Make the service over the living generation."""
    service = _Service(live, spec)
    routes = {
        "/v1/recommend": (service.recommend, ["POST"]),
        "/v1/recommend/batch": (service.batch, ["POST"]),
        "/v1/similar": (service.similar, ["POST"]),
        "/v1/shelf": (service.shelf, ["GET"]),
        "/v1/bundle": (service.bundle, ["GET"]),
        "/livez": (service.livez, ["GET"]),
        "/readyz": (service.readyz, ["GET"]),
        "/metrics": (service.metrics_text, ["GET"]),
        "/openapi.json": (service.openapi, ["GET"]),
        "/": (service.page, ["GET"]),
    }
    made = FastAPI(title="recsys", openapi_url=None, docs_url=None, redoc_url=None)
    for path, (answer, methods) in routes.items():
        made.add_route(path, answer, methods=methods)
    made.add_route("/v1/recommend", service.recommend_by_query, methods=["GET"])
    made.add_exception_handler(RefusedError, service.refused)
    made.add_exception_handler(SettingError, service.impossible)
    made.add_exception_handler(HTTPException, _no_such_route)
    made.add_middleware(Front, spec=spec, metrics=service.metrics, routes=frozenset(routes))
    return made


class _Service:
    """The routes' answers."""

    def __init__(self, live: Live[Recommender], spec: Serve) -> None:
        self._live, self._spec = live, spec
        self._page = Page()
        self.metrics = Metrics()
        self.metrics.watch(self._facts)

    async def recommend(self, request: Request) -> Response:
        """Answer with the slate of one member, whose id is in the body."""
        asked = _read(request, Ask)
        return self._one(request, asked.member, self._slots(asked.slots))

    async def recommend_by_query(self, request: Request) -> Response:
        """Answer a browser on this machine; elsewhere an id in an address ends up in logs."""
        member = request.query_params.get("member", "")
        slots = request.query_params.get("slots", str(self._spec.slots))
        if not 1 <= len(member) <= 256 or not slots.isdecimal():
            raise RefusedError(422, "invalid", "ask for ?member=ID, and &slots=NUMBER if you like")
        if not 1 <= int(slots[:9]) <= MAX_PLACES:
            raise RefusedError(422, "invalid", f"slots is a number from 1 to {MAX_PLACES}")
        return self._one(request, member, int(slots))

    async def batch(self, request: Request) -> Response:
        """Answer with the slates of many members as of one instant, in blocks."""
        asked = _read(request, AskMany)
        generation = self._live.generation
        at = self._open_at(generation)
        slots = self._slots(asked.slots)
        slates: list[Answer] = []
        for first in range(0, len(asked.members), BLOCK):
            block = asked.members[first : first + BLOCK]
            slates += self._slates(generation, block, slots=slots, at=at)
            await asyncio.sleep(0)
        return _json(request, generation, at=iso(at), slates=slates)

    async def similar(self, request: Request) -> Response:
        """Answer with the sales nearest to a member, a sale or a vector."""
        asked = _read(request, AskSimilar)
        generation = self._live.generation
        at = generation.now()
        try:
            found = generation.similar(asked, at=at)
        except UnknownMemberError as error:
            raise RefusedError(404, "unknown_member", str(error)) from error
        except UnknownSaleError as error:
            raise RefusedError(404, "unknown_sale", str(error)) from error
        except ValueError as error:
            raise RefusedError(422, "invalid", str(error)) from error
        return _json(request, generation, at=iso(at), sales=found)

    async def shelf(self, request: Request) -> Response:
        """Answer with the sales that are open now."""
        generation = self._live.generation
        at = generation.now()
        return _json(request, generation, at=iso(at), sales=generation.shelf(at))

    async def bundle(self, request: Request) -> Response:
        """Answer with what the bundle says of itself, and the settings it was made with."""
        generation = self._live.generation
        said = _without_files(generation.bundle.manifest)
        return _json(request, generation, bundle=said, specs=generation.bundle.parts.specs)

    async def livez(self, request: Request) -> Response:
        """Answer 200 while the process lives."""
        return _json(request, None, status="alive")

    async def readyz(self, request: Request) -> Response:
        """Answer 200 while requests are welcome, 503 once the service drains."""
        live = self._live
        if live.draining:
            raise RefusedError(503, "draining", "the service is about to stop")
        return _json(request, live.generation, status="ready", stale=live.stale)

    async def metrics_text(self, _request: Request) -> Response:
        """Answer with counts and times in the text form of Prometheus."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, _request: Request) -> Response:
        """Answer with the description of all routes."""
        return Response(msgspec.json.encode(document()), media_type="application/json")

    async def page(self, request: Request) -> Response:
        """Answer with the page for people, made in a thread: others do not wait for it."""
        member = request.query_params.get("member", "")[:256]
        generation = self._live.generation
        made = await asyncio.to_thread(
            self._page.render, generation, member=member, slots=self._spec.slots
        )
        return Response(made, media_type="text/html", headers=self._page.headers)

    def refused(self, request: Request, error: Exception) -> Response:
        """Turn a refusal into its answer, and count it."""
        if not isinstance(error, RefusedError):
            raise error
        self.metrics.rejected.labels(error.error).inc()
        return error.response(request.scope[REQUEST_ID])

    def impossible(self, request: Request, error: Exception) -> Response:
        """Turn what the bundle's settings cannot do, as a slate that long, into a refusal."""
        return self.refused(request, RefusedError(422, "invalid", str(error).splitlines()[0]))

    def _one(self, request: Request, member: str, slots: int) -> Response:
        generation = self._live.generation
        at = self._open_at(generation)
        slate = self._slates(generation, (member,), slots=slots, at=at)[0]
        return _json(request, generation, at=iso(at), **msgspec.structs.asdict(slate))

    def _slates(
        self, generation: Recommender, members: Sequence[str], *, slots: int, at: int
    ) -> list[Answer]:
        slates = generation.recommend(members, slots=slots, at=at)
        for slate in slates:
            self.metrics.fallback.labels(slate.fallback).inc()
        self.metrics.short.inc(sum(slate.short for slate in slates))
        self.metrics.unknown.inc(len(members) - generation.known(members))
        return slates

    def _open_at(self, generation: Recommender) -> int:
        """Return the instant to answer for; an empty shelf is refused, never an empty slate."""
        at = generation.now()
        if len(generation.shelf_at(at)):
            return at
        opening = generation.next_opening(at)
        wait = RETRY_SECONDS if opening is None else max(1, -((at - opening) // 1_000_000))
        when = "none is known to open" if opening is None else f"the next opens at {iso(opening)}"
        raise RefusedError(
            503,
            "shelf_empty",
            f"no sale is open at {iso(at)}; {when}",
            headers={"Retry-After": str(wait)},
        )

    def _slots(self, asked: int | None) -> int:
        return self._spec.slots if asked is None else asked

    def _facts(self) -> Facts:
        live, manifest = self._live, self._live.generation.bundle.manifest
        return Facts(
            generation=manifest.fingerprint,
            model=manifest.parents.get("checkpoint", ""),
            age_seconds=time.time() - datetime.fromisoformat(manifest.made_at).timestamp(),
            reload_seconds=live.reload_seconds,
            failures=dict(live.failures),
        )


def _read(request: Request, wanted: type[T]) -> T:
    try:
        return msgspec.json.decode(request.scope[BODY], type=wanted)
    except msgspec.ValidationError as error:
        raise RefusedError(422, "invalid", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, "not_json", "the body is not JSON") from error


def _json(request: Request, generation: Recommender | None, **fields: object) -> Response:
    said: dict[str, object] = {"request_id": request.scope[REQUEST_ID]}
    if generation is not None:
        said["generation"] = generation.generation
    return Response(msgspec.json.encode(said | fields), media_type="application/json")


def _no_such_route(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    name = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
    refused = RefusedError(
        error.status_code, name, str(error.detail), headers=dict(error.headers or {})
    )
    return refused.response(request.scope[REQUEST_ID])


def _without_files(manifest: Manifest) -> dict[str, object]:
    said = {
        name: getattr(manifest, name)
        for name in (
            "kind",
            "made_at",
            "made_by",
            "parents",
            "counts",
            "watermark",
            "decided_at",
            "extra",
        )
    }
    return said | {"fingerprint": manifest.fingerprint}
