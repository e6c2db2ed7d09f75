"""Make a key that opens the service, or end those of a name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from recsys.domain.errors import SettingError
from recsys.runs.console import Console
from recsys.runs.spec import MakeKey
from recsys.serve.keys import add, revoke


def key(spec: MakeKey) -> None:
    """Print a new key, once: only its hash is kept. A running service takes it without a restart.

    Raises:
        SettingError: no name, or the file is not a file of keys.
        DeviceError: the system refused to write it; what was there stands.
    """
    console, path = Console(), Path(spec.file)
    if not spec.name:
        raise SettingError(
            "a key needs the name of who holds it", "recsys key name=mailer scopes=[recommend]"
        )
    if spec.revoke:
        ended = revoke(path, spec.name)
        console.fact("ended", f"{ended} of {spec.name} in {path}")
        return
    secret, older = add(path, spec.name, spec.scopes, days=spec.days, at=datetime.now(UTC))
    console.fact("key", secret)
    console.fact("holder", f"{spec.name}, for {', '.join(spec.scopes)}")
    console.fact("valid", "for good" if spec.days is None else f"{spec.days} days")
    if older:
        console.fact("ended", f"{len(older)} older of {spec.name}: two of a name are valid at once")
    console.line("next")
    console.line(f"  keep it where secrets are kept; {path} holds its hash alone")
    console.line(f"  python serve_index.py serve.keys={path}")
