"""Sources of an export: a store that no process has open, or a running server.

Both give pages of arrays, so that no amount of candles needs memory. Ticks are in neither: they are not stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from fluxcap.schemas.candles import CandlePage, RevisionPage, StreamSize
from fluxcap.schemas.types import Gap, StreamKey


class ExportSource(Protocol):
    """All methods raise StoreError; of a server WireError, WireTimeout, CodecError."""

    def streams(self) -> list[StreamSize]: ...

    def candles(self, key: StreamKey) -> Iterator[CandlePage]:
        """All of a stream, oldest first."""

    def revisions(self, key: StreamKey) -> Iterator[RevisionPage]:
        """All that are kept, oldest first."""

    def gaps(self) -> list[Gap]:
        """All, oldest first; raises NotAnswering where the server's control endpoint does not answer."""
