"""Writes the log to stderr, and to a file with ``--log-file``: one line per event, a sentence or JSON (``--log-json``).

The file is turned over at ``FILE_BYTES``, and ``FILES_KEPT`` older ones stay.

Every event has a stable token and fields::

    log.event("chrome.attached", browser="Chrome/156")

log_events.py lists all tokens with their sentences. Warnings of libraries go the same way, and with ``--log-json`` all
that Python code prints on stderr, so that every line is JSON. Only what a dying process says outside of Python (an
assertion of a C library) stays as it is: there is nobody left to word it.

Events that may repeat go through a ``RateLimit``: at most one a minute, and the next one says how many were left out.
Apart from that, no event is written more than 60 times a minute, and text that looks like a secret is removed
(log_redaction.py).
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from fluxcap.bridge.terminal.printable import printable
from fluxcap.capture.runtime.log_events import EVENTS
from fluxcap.capture.runtime.log_redaction import redact, redact_fields
from fluxcap.schemas.errors import ConfigError

LOGGER = logging.getLogger("fluxcap")
MAX_PER_MINUTE = 60
MAX_EVENT_NAMES = 1_000
"""Messages of which the number in the last minute is kept."""
MAX_LINE = 10_000
"""Characters without a line's end that make a line of their own, of what is printed on stderr."""
LIBRARY_EVENT = "library.log"
FILE_BYTES = 10_000_000
FILES_KEPT = 5
"""``fluxcap.log.1`` is the newest of the older ones."""


def event(name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log one event.

    Parameters
    ----------
    name
        The event's token, one of ``log_events.EVENTS``.
    level
        A level of ``logging``.
    fields
        Facts about it. ``ts``, ``level``, ``event`` and ``message`` are the entry's own and cannot be replaced.
    """
    LOGGER.log(level, name, extra={"fields": fields})


def warn(name: str, **fields: Any) -> None:
    """Log one event as a warning."""
    event(name, level=logging.WARNING, **fields)


class RateLimit:
    """Lets one event of each name through in ``every_s`` seconds, and counts those left out in between."""

    def __init__(self, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warn(self, name: str, **fields: Any) -> None:
        """Log a warning, unless one of this name was logged less than ``every_s`` ago."""
        if self._is_due(name):
            warn(name, **fields, **self._omissions(name))

    def failure(self, name: str, error: BaseException, **fields: Any) -> None:
        """Log a fault of our own with its traceback, as rarely as ``warn`` does."""
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


class _RateCap(logging.Filter):
    """Lets no more than ``MAX_PER_MINUTE`` records of an event through, except errors."""

    def __init__(self) -> None:
        super().__init__()
        self._begun_s: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        name = f"{record.name} {record.msg}"
        if len(self._begun_s) >= MAX_EVENT_NAMES and name not in self._begun_s:
            self._forget(record.created)
        left_out = 0
        if record.created - self._begun_s.get(name, 0.0) >= 60.0:
            left_out = max(0, self._counts.get(name, 0) - MAX_PER_MINUTE)
            self._begun_s[name], self._counts[name] = record.created, 0
        self._counts[name] += 1
        if left_out:
            record.fields = {**getattr(record, "fields", {}), "left_out": left_out}
        return self._counts[name] <= MAX_PER_MINUTE

    def _forget(self, now_s: float) -> None:
        """Libraries put numbers and addresses into their messages: names whose minute is over go, else all."""
        old = [name for name, begun_s in self._begun_s.items() if now_s - begun_s >= 60.0] or list(self._begun_s)
        for name in old:
            del self._begun_s[name], self._counts[name]


class _Redaction(logging.Filter):
    """Removes secrets from a record, its fields and its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        record.fields = redact_fields(getattr(record, "fields", {}))
        if record.exc_info:
            record.exc_text = redact(_tracebacks.formatException(record.exc_info))
            record.exc_info = None
        return True


_tracebacks = logging.Formatter()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        own = record.name == LOGGER.name
        entry: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if own else LIBRARY_EVENT,
            "message": _sentence(record),
        }
        if not own:
            entry["logger"] = record.name
        entry |= _besides(record, entry)
        if record.exc_text:
            entry["traceback"] = record.exc_text
        return json.dumps(entry, default=str)


class _HumanFormatter(logging.Formatter):
    """Sentences. ``time_format``: of the local time that each begins with."""

    def __init__(self, time_format: str = "%H:%M:%S") -> None:
        super().__init__()
        self._time_format = time_format

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).astimezone().strftime(self._time_format)
        mark = {"WARNING": " ! ", "ERROR": " !!", "CRITICAL": " !!"}.get(record.levelname, "   ")
        fields = "  ".join(f"{key}={printable(str(value))}" for key, value in getattr(record, "fields", {}).items())
        line = f"{when}{mark}{printable(_sentence(record))}{'  ' + fields if fields else ''}"
        return "\n".join([line, printable(record.exc_text, keep="\n")]) if record.exc_text else line


def _sentence(record: logging.LogRecord) -> str:
    """Return the sentence of one of our events, or a library's own text."""
    text = record.getMessage()
    known = EVENTS.get(text) if record.name == LOGGER.name else None
    return known.sentence if known else text


def _besides(record: logging.LogRecord, entry: dict[str, Any]) -> dict[str, Any]:
    """Return the record's fields, except names that are the entry's own."""
    return {name: value for name, value in getattr(record, "fields", {}).items() if name not in entry}


class _Handler(logging.StreamHandler[TextIO]):
    """Our handler: its type tells it from others on the root logger."""


class _FileHandler(RotatingFileHandler):
    """A log file. Whatever happens to it (a full disk, a reader that holds it on Windows), the daemon goes on."""

    def doRollover(self) -> None:
        with contextlib.suppress(OSError):  # somebody reads it, and so it cannot be renamed: it grows until then
            super().doRollover()

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave the line out."""


def set_up(
    *, as_json: bool = False, level: int = logging.INFO, stream: TextIO | None = None, file: Path | None = None
) -> None:
    """Send fluxcap's events and the warnings of libraries to ``stream`` and ``file``. Call once at start.

    ``stream``: stderr unless given; a process without one (a task of Windows) has only the file. The folder of the file
    is made. Raises ConfigError when the file cannot be written.
    """
    handlers: list[logging.Handler] = []
    if (shown := stream or sys.stderr) is not None:
        handlers.append(_Handler(shown))
        handlers[0].setFormatter(_JsonFormatter() if as_json else _HumanFormatter())
    if file is not None:
        kept = _open_file(file)
        kept.setFormatter(_JsonFormatter() if as_json else _HumanFormatter("%Y-%m-%d %H:%M:%S"))
        handlers.append(kept)
    for handler in handlers:
        handler.addFilter(_RateCap())
        handler.addFilter(_Redaction())
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if isinstance(one, _Handler | _FileHandler)]:
        root.removeHandler(earlier)
        if isinstance(earlier, _FileHandler):
            earlier.close()
    for handler in handlers:
        root.addHandler(handler)
    LOGGER.handlers[:] = handlers
    LOGGER.setLevel(level)
    LOGGER.propagate = False


def _open_file(path: Path) -> _FileHandler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _FileHandler(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"The log file {path} cannot be written: {error.strerror}.") from None


class _StderrLines(io.TextIOBase):
    """In place of stderr: each line is logged. What the log itself prints when it fails goes to the true stderr."""

    def __init__(self, true_stderr: TextIO) -> None:
        self._true_stderr = true_stderr
        self._pending = ""
        self._inside = threading.local()
        self._lock = threading.Lock()
        self._logger = logging.getLogger("stderr")

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._pending = (self._pending + text).split("\n")
            if len(self._pending) > MAX_LINE:
                lines, self._pending = [*lines, self._pending], ""
        for line in lines:
            self._log(line)
        return len(text)

    def _log(self, line: str) -> None:
        if not line.strip() or getattr(self._inside, "is_busy", False):
            return
        self._inside.is_busy = True
        try:
            self._logger.warning("%s", line)
        finally:
            self._inside.is_busy = False

    def flush(self) -> None:
        """Lines go out as they are ended."""

    def finish(self) -> None:
        """Log what was printed without a line's end."""
        with self._lock:
            left, self._pending = self._pending, ""
        self._log(left)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._true_stderr.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._true_stderr.encoding


@contextmanager
def own_output(*, as_json: bool) -> Iterator[None]:
    """Have the log tell, while held, what libraries and Python itself would print on stderr. After ``set_up``.

    Always: warnings, failures of threads, exceptions that nobody can catch. With ``as_json`` also all else that is
    written to ``sys.stderr``, so that each line of it is JSON.
    """
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    true_stderr = sys.stderr
    lines = _StderrLines(true_stderr) if as_json and true_stderr is not None else None
    logging.captureWarnings(True)
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_failure
    if lines is not None:
        sys.excepthook = _log_uncaught
        sys.stderr = lines
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
        logging.captureWarnings(False)
        if lines is not None:
            lines.finish()
            sys.stderr = true_stderr


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    LOGGER.critical("thread.crashed", exc_info=failure.exc_value)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    LOGGER.critical("thread.crashed", exc_info=(kind, error, trace))


def _log_unraisable(failure: Any) -> None:
    """Log an exception that nobody could be given, as ``sys.unraisablehook`` gets it."""
    what = failure.err_msg or "Exception ignored in"
    error = failure.exc_value
    trace = (type(error), error, failure.exc_traceback) if error is not None else None
    logging.getLogger("python").error("%s: %r", what, failure.object, exc_info=trace)
