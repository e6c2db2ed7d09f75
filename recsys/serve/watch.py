"""The log: one JSON object a line, without members, bodies or addresses."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

LOG = logging.getLogger("recsys.serve")
"""The service's own log."""


class JsonLines(logging.Formatter):
    """Write a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return {at, level, event} and the fields that were told."""
        fields = getattr(record, "fields", {})
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
        # ASCII alone: whatever the terminal's encoding is, a line stays JSON
        return json.dumps(said | fields, default=str)


def tell(event: str, *, level: int = logging.INFO, **fields: str | float | None) -> None:
    """Log an event with its fields."""
    LOG.log(level, event, extra={"fields": fields})


def log_to_stderr() -> None:
    """Write the service's log, and warnings of its server, to stderr as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name, level in (("recsys.serve", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
