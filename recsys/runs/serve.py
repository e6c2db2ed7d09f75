"""Open a bundle and answer from it; what a person sees while the service starts."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from recsys.domain.artefact import current, open_current
from recsys.domain.errors import BrokenArtefactError, OldLayoutError
from recsys.runs.console import Console
from recsys.runs.spec import Serving
from recsys.serve.bundle import Bundle, open_bundle
from recsys.serve.run import Listening
from recsys.serve.run import serve as listen


def serve(spec: Serving) -> None:
    """Listen until told to stop; a dry run opens the bundle, says what it is, and ends.

    Raises:
        ArtefactError: no bundle, or none that can be used.
        PortTakenError: another process listens there.
    """
    console = Console()
    if spec.dry_run:
        introduce(console, opened(spec.serve.bundle, spec.serve.bundles_dir, key="serve.bundle"))
        console.line("dry run: nothing listens")
        return

    def ready(listening: Listening) -> None:
        introduce(console, listening.bundle)
        console.fact("page", listening.url)
        console.fact("API", f"{listening.url}/v1/recommend   POST; all routes: /openapi.json")
        console.fact("metrics", f"{listening.url}/metrics")
        console.line(f"  ready in {listening.seconds:.1f} s; Ctrl-C stops")

    with ways_out("serve.bundle"):
        listen(spec.serve, ready=ready)


def folder_of(bundle: str, bundles_dir: str) -> Path:
    """Return a bundle's folder by name, or the one CURRENT names.

    Raises:
        MissingArtefactError: there is none.
    """
    root = Path(bundles_dir)
    return current(root) if bundle == "CURRENT" else root / bundle


def opened(bundle: str, bundles_dir: str, *, key: str = "bundle") -> Bundle:
    """Open a bundle by name, or the one CURRENT names; `key` is the setting that named it.

    Raises:
        ArtefactError: there is none, or it cannot be used; the text says what to type.
    """
    with ways_out(key):
        if bundle == "CURRENT":
            return open_current(Path(bundles_dir), open_bundle)
        return open_bundle(folder_of(bundle, bundles_dir))


@contextmanager
def ways_out(key: str) -> Generator[None]:
    """Say what to type where a bundle is damaged or of another layout."""
    try:
        yield
    except (BrokenArtefactError, OldLayoutError) as broken:
        what, *more = [line.strip() for line in str(broken).splitlines()]
        ways = f"make a new one: recsys refresh        or name an older one: {key}=NAME"
        raise type(broken)(what, *more[:-1], ways) from broken


def introduce(console: Console, bundle: Bundle) -> None:
    """Say which bundle answers, and for which instant if it is of a shop of the past."""
    parts = bundle.parts
    console.line(f"serving {os.path.relpath(bundle.folder)}   made {bundle.manifest.made_at[:16]}")
    console.fact(
        "shop",
        f"{parts.name}: {parts.shop.num_members:,} members, {parts.shop.num_sales:,} sales",
    )
    if parts.of_the_past:
        at = f"{datetime.fromtimestamp(parts.decided_at / 1e6, UTC):%d %b %Y %H:%M} UTC"
        console.fact("clock", f"stands at {at}: a shop of the past (serve.at=TIME sets another)")
