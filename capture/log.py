"""Logs: one line an event, human on a terminal, JSON with ``--log-json``. To stderr; stdout belongs to results.

Every record has a stable event name and fields::

    log.event("chrome attached", browser="Chrome/156")

Warnings of other modules and libraries go the same way. What may repeat goes through a ``RateLimit``: at most once a
minute, and the next one says how many were left out.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = logging.getLogger("fluxcap")


def event(name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log one event."""
    LOGGER.log(level, name, extra={"fields": fields})


def warn(name: str, **fields: Any) -> None:
    """Log one event that somebody should look at."""
    event(name, level=logging.WARNING, **fields)


class RateLimit:
    """At most one event of a name in ``every_s``; tells how many were left out in between."""

    def __init__(self, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warn(self, name: str, **fields: Any) -> None:
        """As the function ``warn``."""
        if self._is_due(name):
            warn(name, **fields, **self._omissions(name))

    def failure(self, name: str, error: BaseException, **fields: Any) -> None:
        """A fault of our own, with its traceback."""
        if self._is_due(name):
            LOGGER.error(name, exc_info=error, extra={"fields": fields | self._omissions(name)})

    def _is_due(self, name: str) -> bool:
        now = self._clock()
        if name in self._last and now - self._last[name] < self._every_s:
            self._left_out[name] = self._left_out.get(name, 0) + 1
            return False
        self._last[name] = now
        return True

    def _omissions(self, name: str) -> dict[str, int]:
        left_out = self._left_out.pop(name, 0)
        return {"left_out": left_out} if left_out else {}


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.name != LOGGER.name:
            entry["logger"] = record.name
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class _HumanFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        mark = {"WARNING": " ! ", "ERROR": " !!"}.get(record.levelname, "   ")
        fields = "  ".join(f"{key}={value}" for key, value in getattr(record, "fields", {}).items())
        line = f"{when}{mark}{record.getMessage()}{'  ' + fields if fields else ''}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, to be told from others on the root logger."""


def set_up(*, as_json: bool = False, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send fluxcap's events, and warnings of whatever else logs, to ``stream`` (stderr). Call at start."""
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if as_json else _HumanFormatter())
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False
