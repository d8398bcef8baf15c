"""Tells whether a Socket.IO client connects again: after it had lost us, or after this daemon was started again.

A connection says nothing of the one before it. A program is known by its address, its user agent and its origin; of
each the connections that ended are counted, so that a second chart beside a first one is none that comes back. The
counts outlive a restart in a small file of hashes; where that cannot be written, they last as long as the daemon.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from fluxcap.bridge.system.files import replace_file

REMEMBERED_S = 600
"""So long after its connection ended a client is said to connect again."""
REMEMBERED_MAX = 256
FILE_NAME = "socketio_clients.json"


class ReturningClients:
    """See the module. ``path``: the file. ``now_s``: wall clock, seconds."""

    def __init__(self, path: Path, now_s: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now_s = now_s
        self._seen: list[tuple[str, float]] = [(client, ended_s or now_s()) for client, ended_s in _read(path)]
        """Connections: whose, and when it ended; 0 while it is open."""

    def connect(self, environ: Mapping[str, Any]) -> bool:
        """Take note of a connection. Returns whether it is one that came back."""
        client = _client(environ)
        since_s = self._now_s() - REMEMBERED_S
        ended = [(name, ended_s) for name, ended_s in self._seen if name == client and ended_s > since_s]
        if ended:
            self._seen.remove(ended[0])
        self._seen = [entry for entry in self._seen if not entry[1] or entry[1] > since_s][-REMEMBERED_MAX + 1 :]
        self._seen.append((client, 0.0))
        self._write()
        return bool(ended)

    def disconnect(self, environ: Mapping[str, Any]) -> None:
        """Take note that a connection ended."""
        open_entry = (_client(environ), 0.0)
        if open_entry in self._seen:
            self._seen.remove(open_entry)
            self._seen.append((open_entry[0], self._now_s()))
            self._write()

    def _write(self) -> None:
        whole = self._path.with_name(f"{self._path.name}.new")
        with contextlib.suppress(OSError):
            whole.write_bytes(msgspec.json.encode(self._seen))
            replace_file(whole, self._path)


def _client(environ: Mapping[str, Any]) -> str:
    parts = [str(environ.get(name, "")) for name in ("REMOTE_ADDR", "HTTP_USER_AGENT", "HTTP_ORIGIN")]
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()[:16]


def _read(path: Path) -> list[tuple[str, float]]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[tuple[str, float]])
    except (OSError, msgspec.DecodeError):
        return []
