"""The routes: JSON in and out over one generation at a time, and a page for people."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from recsys.domain.errors import SettingError
from recsys.domain.manifest import Manifest
from recsys.serve import replies
from recsys.serve.asks import AskSimilar
from recsys.serve.guard import Guard
from recsys.serve.keys import Keys
from recsys.serve.limits import REQUEST_ID, Front
from recsys.serve.live import Live
from recsys.serve.metrics import Facts, Metrics
from recsys.serve.openapi import document
from recsys.serve.page import Page
from recsys.serve.recommender import Recommender, iso
from recsys.serve.refusal import RefusedError
from recsys.serve.slating import Slating
from recsys.serve.spec import Serve
from recsys.serve.taking import Taking


def app(live: Live[Recommender], spec: Serve, keys: Keys | None = None) -> FastAPI:
    """Make the service over the living generation; `keys` None = nobody is asked for one."""
    guard = Guard(spec, keys)
    service = _Service(live, spec)
    taking = Taking(live, Path(spec.feedback), service.metrics)
    slating = Slating(live, spec, guard=guard, metrics=service.metrics)
    routes = {
        "/v1/recommend": (slating.recommend, ["POST"]),
        "/v1/recommend/batch": (slating.batch, ["POST"]),
        "/v1/explain": (slating.explain, ["POST"]),
        "/v1/similar": (service.similar, ["POST"]),
        "/v1/feedback": (taking.told, ["POST"]),
        "/v1/shelf": (service.shelf, ["GET"]),
        "/v1/bundle": (service.bundle, ["GET"]),
        "/livez": (service.livez, ["GET"]),
        "/readyz": (service.readyz, ["GET"]),
        "/v1/admin/reload": (service.reload, ["POST"]),
        "/metrics": (service.metrics_text, ["GET"]),
        "/openapi.json": (service.openapi, ["GET"]),
        "/": (service.page, ["GET"]),
    }
    made = FastAPI(title="recsys", openapi_url=None, docs_url=None, redoc_url=None)
    made.state.close = taking.close
    for path, (answer, methods) in routes.items():
        made.add_route(path, answer, methods=methods)
    if not guard.outside:
        made.add_route("/v1/recommend", slating.recommend_by_query, methods=["GET"])
    made.add_exception_handler(RefusedError, service.refused)
    made.add_exception_handler(SettingError, service.impossible)
    made.add_exception_handler(HTTPException, _no_such_route)
    made.add_middleware(
        Front, spec=spec, guard=guard, metrics=service.metrics, routes=frozenset(routes)
    )
    return made


class _Service:
    """The routes' answers."""

    def __init__(self, live: Live[Recommender], spec: Serve) -> None:
        self._live, self._spec = live, spec
        self._page = Page()
        self.metrics = Metrics()
        self.metrics.watch(self._facts)

    async def similar(self, request: Request) -> Response:
        """Answer with the sales nearest to a member, a sale or a vector, or members like one."""
        asked = replies.read(request, AskSimilar)
        generation = self._live.generation
        at = generation.now()
        with replies.refusing():
            if asked.of == "members":
                # all members are compared: others do not wait for it
                alike = await asyncio.to_thread(generation.alike, asked)
                return replies.json(request, generation, at=iso(at), members=alike)
            found = generation.similar(asked, at=at)
        return replies.json(request, generation, at=iso(at), sales=found)

    async def shelf(self, request: Request) -> Response:
        """Answer with the sales that are open now."""
        generation = self._live.generation
        at = generation.now()
        return replies.json(request, generation, at=iso(at), sales=generation.shelf(at))

    async def bundle(self, request: Request) -> Response:
        """Answer with what the bundle says of itself, and the settings it was made with."""
        generation = self._live.generation
        said = _without_files(generation.bundle.manifest)
        return replies.json(request, generation, bundle=said, specs=generation.bundle.parts.specs)

    async def reload(self, request: Request) -> Response:
        """Look at CURRENT again, soon; names no bundle, so that nobody chooses another one."""
        self._live.wake()
        answer = replies.json(request, self._live.generation, status="looking")
        answer.status_code = 202
        return answer

    async def livez(self, request: Request) -> Response:
        """Answer 200 while the process lives."""
        return replies.json(request, None, status="alive")

    async def readyz(self, request: Request) -> Response:
        """Answer 200 while requests are welcome, 503 once the service drains."""
        live = self._live
        if live.draining:
            raise RefusedError(503, "draining", "the service is about to stop")
        return replies.json(request, live.generation, status="ready", stale=live.stale)

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

    def _facts(self) -> Facts:
        live, manifest = self._live, self._live.generation.bundle.manifest
        return Facts(
            generation=manifest.fingerprint,
            model=manifest.parents.get("checkpoint", ""),
            age_seconds=time.time() - datetime.fromisoformat(manifest.made_at).timestamp(),
            reload_seconds=live.reload_seconds,
            failures=dict(live.failures),
        )


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
