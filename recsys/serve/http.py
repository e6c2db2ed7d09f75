"""The routes: JSON in and out over one generation at a time, and a page for people."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path

import msgspec
from fastapi import FastAPI, Request, Response
from starlette import routing
from starlette.exceptions import HTTPException

from recsys.domain.errors import SettingError
from recsys.domain.manifest import Manifest
from recsys.serve import replies
from recsys.serve.docs_page import DocsPage
from recsys.serve.front import iso
from recsys.serve.guard import Guard
from recsys.serve.keys import Keys
from recsys.serve.limits import REQUEST_ID, Front, Hot, Route, bug
from recsys.serve.live import Live
from recsys.serve.metrics import Facts, Metrics
from recsys.serve.openapi import document
from recsys.serve.page import Page
from recsys.serve.recommender import Recommender
from recsys.serve.refusal import RefusedError
from recsys.serve.searching import Searching
from recsys.serve.slating import Slating
from recsys.serve.spec import Serve
from recsys.serve.taking import Taking
from recsys.serve.turns import Turns


def app(
    live: Live[Recommender], spec: Serve, keys: Keys | None = None, *, worker: int | None = None
) -> FastAPI:
    """Make the service over the living generation; `keys` None = nobody is asked for one.

    `worker` is the number of this process where several answer on one port.
    """
    guard = Guard(spec, keys)
    service = _Service(live, spec, guard=guard, metrics=Metrics(worker))
    turns = Turns(spec.waiting)
    service.metrics.watch_queue(lambda: turns.waiting)
    taking = Taking(live, Path(spec.feedback), service.metrics)
    slating = Slating(live, spec, guard=guard, metrics=service.metrics, turns=turns)
    searching = Searching(live, turns)
    posts: dict[str, Route] = {
        "/v1/recommend": slating.recommend,
        "/v1/recommend/batch": slating.batch,
        "/v1/explain": slating.explain,
        "/v1/similar": searching.similar,
        "/v1/feedback": taking.told,
        "/v1/admin/reload": service.reload,
    }
    gets: dict[str, Route] = {
        "/v1/shelf": service.shelf,
        "/v1/bundle": service.bundle,
        "/livez": service.livez,
        "/readyz": service.readyz,
        "/metrics": service.metrics_text,
        "/openapi.json": service.openapi,
        "/": service.page,
    }
    if not guard.outside:
        gets |= {"/v1/recommend": slating.recommend_by_query, "/docs": service.docs}
    made = _bare()

    def close() -> None:
        turns.close()
        taking.close()

    made.state.close = close
    for method, answers in (("POST", posts), ("GET", gets)):
        for path, answer in answers.items():
            made.add_route(path, answer, methods=[method])
    _refuse(made, service)
    hot = Hot(frozenset({*posts, *gets}), posts, service.refused)
    # before FastAPI's own layers, which would take longer than all the rest
    made.middleware_stack = Front(
        made.build_middleware_stack(), spec=spec, guard=guard, metrics=service.metrics, hot=hot
    )
    return made


def _bare() -> FastAPI:
    # a redirect would be to wherever the caller says that we are
    return FastAPI(
        title="recsys", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )


class _Service:
    """The routes' answers."""

    def __init__(
        self, live: Live[Recommender], spec: Serve, *, guard: Guard, metrics: Metrics
    ) -> None:
        self._live, self._spec = live, spec
        self._page = Page(docs=not guard.outside)
        self._docs = DocsPage(keyed=spec.keys is not None)
        self.metrics = metrics
        self.metrics.watch(self._facts)

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

    async def docs(self, request: Request) -> Response:
        """Answer with the page about the routes."""
        made = await asyncio.to_thread(self._docs.render, _where(request))
        return Response(made, media_type="text/html", headers=self._docs.headers)

    async def page(self, request: Request) -> Response:
        """Answer with the page for people, made in a thread: others do not wait for it."""
        member = request.query_params.get("member", "")[:256]
        generation = self._live.generation
        made = await asyncio.to_thread(
            self._page.render,
            generation,
            member=member,
            slots=self._spec.slots,
            stale=self._live.stale,
        )
        return Response(made, media_type="text/html", headers=self._page.headers)

    def refused(self, request: Request, error: Exception) -> Response:
        """Turn a refusal into its answer, and count it."""
        if isinstance(error, SettingError):
            return self.impossible(request, error)
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


def _refuse(made: FastAPI, service: _Service) -> None:
    """Answer in one form wherever a request is refused."""
    made.add_exception_handler(RefusedError, service.refused)
    made.add_exception_handler(SettingError, service.impossible)
    made.add_exception_handler(HTTPException, _no_such_route)
    made.add_exception_handler(Exception, _bug)


def _where(request: Request) -> str:
    """Return where the service listens: of the socket, not of what a caller says."""
    host, port = request.scope.get("server") or ("127.0.0.1", None)
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}" if port is None else f"http://{named}:{port}"


def _bug(request: Request, _error: Exception) -> Response:
    return bug().response(request.scope[REQUEST_ID])


def _no_such_route(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    name = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
    headers = dict(error.headers or {})
    if error.status_code == 405:  # it names the methods of the first route of this path alone
        routes = [one for one in request.scope["router"].routes if isinstance(one, routing.Route)]
        here = [one.methods or () for one in routes if one.path == request.scope["path"]]
        headers["Allow"] = ", ".join(sorted(set().union(*here)))
    refused = RefusedError(error.status_code, name, str(error.detail), headers=headers)
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
