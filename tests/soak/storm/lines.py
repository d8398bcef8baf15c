"""Follows a file of JSON lines while another process writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class JsonLines:
    """``all`` holds every whole line read so far; ``read`` looks for more."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._path: Path | None = None
        self._at = 0

    def follow(self, path: Path) -> None:
        """Go on with another file; what the old one held stays."""
        self.read()
        self._path, self._at = path, 0

    def read(self) -> list[dict[str, Any]]:
        """The lines that are new. A torn last line, and what is no JSON, are left out."""
        if self._path is None or not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole, newline, _torn = file.read().rpartition(b"\n")
        self._at += len(whole) + len(newline)
        fresh = [json.loads(line) for line in whole.splitlines() if line.startswith(b"{") and line.endswith(b"}")]
        self.all += fresh
        return fresh
