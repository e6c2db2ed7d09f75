"""The service and nothing else, as in a shop: python -m tests.reliability.served SPEC.

SPEC is its settings as JSON. It writes its port once it listens.
"""

from __future__ import annotations

import sys

from recsys.serve.run import Listening, serve
from recsys.serve.spec import Serve


def say(listening: Listening) -> None:
    """Tell whoever started this where it listens."""
    print(int(listening.url.rpartition(":")[2]), flush=True)  # ruff: ignore[print]


if __name__ == "__main__":
    serve(Serve.model_validate_json(sys.argv[1]), ready=say)
