"""What Ray reads when it is imported: its token, its silence, where it listens."""

from __future__ import annotations

import os
import secrets
from collections.abc import MutableMapping

LOOPBACK = "127.0.0.1"
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def environment(address: str | None, known: MutableMapping[str, str] = os.environ) -> None:
    """Set what a cluster needs that runs at `address`, or, for None, one of our own.

    Our own has a token that dies with it, unless one is named.
    """
    known["RAY_AUTH_MODE"] = "token"
    known["RAY_USAGE_STATS_ENABLED"] = "0"
    # errors of tasks are ours to tell
    known["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"
    if address is not None:
        known.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", None)
        return
    # its name is of other systems: without it Ray takes 127.0.0.1 for the address of the network
    # and listens on all of them
    known["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if not any(known.get(name) for name in TOKENS):
        known["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
