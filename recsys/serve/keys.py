"""Who may ask: keys kept as hashes in a file that is read again whenever it changes."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from recsys.domain import artefact
from recsys.domain.disk import locked, naming
from recsys.domain.errors import SettingError

Scope = Literal["recommend", "read", "admin"]
"""recommend: slates, likeness, feedback, the page. read: shelf, bundle, metrics. admin: reload."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
LIVE_AT_ONCE = 2
"""Keys of one name that are valid at once: the old one goes on while callers take the new one."""
_SECRET_BYTES = 32


@dataclass(frozen=True)
class Key:
    """One key, of which only the hash is kept."""

    name: str
    """Who holds it: a service, not a person."""
    sha256: str
    scopes: tuple[Scope, ...]
    made_at: str
    """ISO 8601, UTC."""
    not_after: str | None = None
    """ISO 8601, UTC; None = for good."""

    def valid(self, at: datetime) -> bool:
        """Return whether it may be used at an instant."""
        return self.not_after is None or at < datetime.fromisoformat(self.not_after)


def read(path: Path) -> tuple[Key, ...]:
    """Read a file of keys.

    Raises:
        SettingError: it is not there, others may read it, or it is not a file of keys.
    """
    try:
        status = path.stat()
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise SettingError(
                f"{path} can be read by other users", f"make it yours alone: chmod 600 {path}"
            )
        said = json.loads(path.read_bytes())
        return tuple(_key(one) for one in said["keys"])
    except OSError as error:
        raise SettingError(
            f"cannot read the keys in {path}: {error.strerror}",
            f"make one: recsys key name=mailer scopes=[recommend] file={path}",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SettingError(
            f"{path} is not a file of keys: {str(error)[:200]}",
            "recsys key writes it; nothing in it is written by hand",
        ) from error


def _key(said: dict[str, Any]) -> Key:
    key = Key(**said | {"scopes": tuple(said["scopes"])})
    if len(bytes.fromhex(key.sha256)) != sha256().digest_size or set(key.scopes) - set(SCOPES):
        raise ValueError(f"the key of {key.name!r} has no SHA-256, or scopes unknown here")
    if key.not_after is not None and datetime.fromisoformat(key.not_after).tzinfo is None:
        raise ValueError(f"the key of {key.name!r} ends at an instant without an offset")
    return key


def add(
    path: Path, name: str, scopes: Sequence[Scope], *, days: int | None, at: datetime
) -> tuple[str, tuple[Key, ...]]:
    """Make a key, valid for some days or for good; return it and the keys that it ended.

    The newest `LIVE_AT_ONCE` keys of a name stay valid. The key itself is kept nowhere.

    Raises:
        SettingError: the file is there and is not a file of keys.
        DeviceError: the system refused to write it; what was there stands.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    key = Key(
        name=name,
        sha256=sha256(secret.encode()).hexdigest(),
        scopes=tuple(scopes),
        made_at=at.astimezone(UTC).isoformat(timespec="seconds"),
        not_after=None
        if days is None
        else (at.astimezone(UTC) + timedelta(days=days)).isoformat(timespec="seconds"),
    )
    with naming(path), locked(path.with_name(f".{path.name}.lock")):
        known = read(path) if path.exists() else ()
        live = [one for one in known if one.name == name and one.valid(at)]
        ended = tuple(live[: len(live) - LIVE_AT_ONCE + 1])
        # what is over is dropped here, so that the file does not grow for ever
        kept = [one for one in known if one.valid(at) and one not in ended]
        _write(path, [*kept, key])
    return secret, ended


def revoke(path: Path, name: str) -> int:
    """End all keys of a name at once; return how many there were.

    Raises:
        SettingError: the file is not there, or is not a file of keys.
        DeviceError: the system refused to write it; what was there stands.
    """
    with naming(path), locked(path.with_name(f".{path.name}.lock")):
        known = read(path)
        kept = [key for key in known if key.name != name]
        _write(path, kept)
    return len(known) - len(kept)


def _write(path: Path, keys: Sequence[Key]) -> None:
    plain = json.dumps({"keys": [asdict(key) for key in keys]}, indent=1)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        # nobody else's from the first moment on, whatever the umask says
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{plain}\n")
            file.flush()
            os.fsync(handle)
        artefact.DISK.rename(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    artefact.DISK.sync(path.parent)


class Keys:
    """The keys of a file; a changed file is read at the next question, without a restart."""

    def __init__(
        self,
        path: Path,
        *,
        said: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read the file; `said` hears (event, detail) when it is read again, or cannot be.

        Raises:
            SettingError: see `read`.
        """
        self._path, self._said, self._clock = path, said, clock
        self._keys, self._seen = read(path), self._looks()

    def who(self, secret: str) -> Key | None:
        """Return the valid key that a caller holds; as slow for a wrong one as for a right one."""
        self._look()
        asked = sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
        now = datetime.fromtimestamp(self._clock(), UTC)
        found: Key | None = None
        for key in self._keys:
            # no early end: time says nothing of which key it was, or how near
            if hmac.compare_digest(key.sha256, asked) and key.valid(now):
                found = key
        return found

    def _look(self) -> None:
        looks = self._looks()
        if looks == self._seen:
            return
        self._seen = looks
        try:
            self._keys = read(self._path)
        except SettingError as error:
            # what was read last stands: a slip of an editor must not stop a shop's mail
            self._said("keys_not_read", str(error))
        else:
            self._said("keys_read", f"{len(self._keys)} keys")

    def _looks(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)


@dataclass(frozen=True)
class _Level:
    tokens: float
    at: float


class Buckets:
    """A token bucket for each name: so many requests a second, and a burst beyond them."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Fill all buckets; `rate` 0 = no bound."""
        self.rate, self._burst, self._clock = rate, float(burst), clock
        self._levels: dict[str, _Level] = {}

    def wait(self, name: str) -> float:
        """Take one request; return 0, or the seconds after which one could be taken."""
        if self.rate <= 0:
            return 0.0
        tokens = self._fill(name)
        if tokens < 1:
            return (1 - tokens) / self.rate
        self.owe(name, 1)
        return 0.0

    def owe(self, name: str, requests: int) -> None:
        """Take requests that are let in already, below nothing if need be: later ones wait."""
        if self.rate > 0:
            tokens = self._fill(name)
            self._levels[name] = replace(self._levels[name], tokens=tokens - requests)

    def _fill(self, name: str) -> float:
        now = self._clock()
        level = self._levels.get(name, _Level(self._burst, now))
        tokens = min(self._burst, level.tokens + (now - level.at) * self.rate)
        self._levels[name] = _Level(tokens, now)
        return tokens
