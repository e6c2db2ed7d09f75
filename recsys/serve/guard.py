"""What a caller may ask for, and how often: decided before a body is read or a sale is scored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from starlette.types import Scope as Asked

from recsys.serve.keys import Buckets, Keys, Scope
from recsys.serve.refusal import RefusedError
from recsys.serve.spec import LOOPBACK, Serve

CALLER = "recsys.caller"
"""Key of a request's scope: the name that its key was made for; missing where none is asked."""
FREE = frozenset({"/livez", "/readyz"})
"""What anybody may ask: whoever balances load or restarts processes holds no key."""
NEEDS: Mapping[str, Scope] = MappingProxyType({
    "/v1/recommend": "recommend",
    "/v1/recommend/batch": "recommend",
    "/v1/similar": "recommend",
    "/v1/explain": "recommend",
    "/v1/feedback": "recommend",
    "/v1/admin/reload": "admin",
    "/": "recommend",  # it shows slates
})
"""Route -> the scope of a key that opens it; any other, one that is not there included: read."""


class Guard:
    """Asks for keys where there are any, and lets nobody ask more than the settings allow."""

    def __init__(self, spec: Serve, keys: Keys | None) -> None:
        """Guard a service with these keys; None = nobody is asked, as on this machine alone."""
        self._keys = keys
        self._buckets = Buckets(spec.rate, spec.burst)
        self.outside = LOOPBACK.fullmatch(spec.host) is None
        """Whether others than this machine can ask."""

    def admit(self, scope: Asked) -> None:
        """Let a request in, and remember whose it is.

        Raises:
            RefusedError: 401 no key, or none that is valid; 403 not for this route; 429 too often.
        """
        if scope["path"] in FREE:
            return
        if self._keys is None:
            _from_here(scope)
            return
        key = self._keys.who(_held(scope))
        if key is None:
            raise RefusedError(
                401,
                "no_key",
                "send a valid key: Authorization: Bearer KEY (recsys key makes one)",
                headers={"WWW-Authenticate": "Bearer"},
            )
        needed = NEEDS.get(scope["path"], "read")
        if needed not in key.scopes:
            raise RefusedError(403, "wrong_scope", f"this key does not open what needs {needed!r}")
        wait = self._buckets.wait(key.name)
        if wait > 0:
            raise RefusedError(
                429,
                "too_often",
                f"this key may ask for {self._buckets.rate:g} slates a second",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        scope[CALLER] = key.name

    def charge(self, scope: Asked, slates: int) -> None:
        """Count slates beyond the first of a request that was let in: its key's next one waits."""
        name = scope.get(CALLER)
        if name is not None:
            self._buckets.owe(name, slates)


def _from_here(scope: Asked) -> None:
    """Refuse what a page of another site makes a browser on this machine ask.

    Raises:
        RefusedError: 403 another host is named, or a page sends something.
    """
    heads = dict(scope["headers"])
    host = heads.get(b"host", b"").decode("latin-1").lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    sends = scope["method"] == "POST" and b"origin" in heads
    if sends or (host and LOOPBACK.fullmatch(name) is None):
        raise RefusedError(
            403, "wrong_origin", "without keys, programs of this machine alone are answered"
        )


def _held(scope: Asked) -> str:
    """Return the key that a request brings, or nothing."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, secret = value.partition(b" ")
            if kind.lower() == b"bearer":
                return str(secret.strip().decode("latin-1"))
    return ""
