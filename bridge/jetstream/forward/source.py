"""Sources of a forwarder: here a store in this process; in wire_source.py a daemon's wire.

A source tells of what is committed, nothing else. Its coroutines run on the forwarder's loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from fluxcap.bridge.store.store import Store
from fluxcap.schemas.candles import CandlePage, RevisionPage
from fluxcap.schemas.types import StreamKey, StreamStatus


class ForwardSource(Protocol):
    """A source of candles and revisions to forward.

    ``candles`` and ``revisions`` raise StoreError, WireError, WireTimeout or CodecError; another call may succeed.
    """

    @property
    def error(self) -> str:
        """The reason why the source cannot be read now, or ""."""

    def start(self, on_news: Callable[[], None]) -> None:
        """Start; ``on_news`` may be called from any thread when something was committed."""

    def statuses(self) -> Mapping[StreamKey, StreamStatus]:
        """The newest known of every stream."""

    async def candles(self, key: StreamKey, after_sequence: int, limit: int) -> CandlePage: ...

    async def revisions(self, key: StreamKey, after_revision: int, limit: int) -> RevisionPage: ...

    def close(self) -> None:
        """Idempotent."""


class PageReader(Protocol):
    """A way into a store for one thread, as StoreReader and CachedReader are."""

    def page(
        self, key: StreamKey, after_sequence: int | None = None, end_ts_ms: int | None = None, limit: int = 10_000
    ) -> CandlePage: ...

    def revisions(self, key: StreamKey, after_revision: int | None = None, limit: int = 10_000) -> RevisionPage: ...


class StoreSource:
    """A store that is open in this process.

    Parameters
    ----------
    pages
        Used on the forwarder's thread only.
    statuses
        The newest immutable snapshot of all streams.
    """

    error = ""

    def __init__(self, pages: PageReader, statuses: Callable[[], Mapping[StreamKey, StreamStatus]]) -> None:
        self._pages = pages
        self._statuses = statuses
        self._on_notify: Callable[[], None] = lambda: None

    def start(self, on_news: Callable[[], None]) -> None:
        self._on_notify = on_news

    def notify(self) -> None:
        """Something was committed. From any thread; returns at once."""
        self._on_notify()

    def statuses(self) -> Mapping[StreamKey, StreamStatus]:
        return self._statuses()

    async def candles(self, key: StreamKey, after_sequence: int, limit: int) -> CandlePage:
        return self._pages.page(key, after_sequence, None, limit)

    async def revisions(self, key: StreamKey, after_revision: int, limit: int) -> RevisionPage:
        return self._pages.revisions(key, after_revision, limit)

    def close(self) -> None:
        self._on_notify = lambda: None


def store_statuses(store: Store) -> dict[StreamKey, StreamStatus]:
    """Return the status of each stream of an open store, as a wire server sends it."""
    return {
        key: StreamStatus(
            key=key,
            latest_sequence=mark.latest_sequence,
            latest_ts_ms=mark.latest_ts_ms,
            first_sequence=mark.first_sequence,
            store_id=store.store_id,
            latest_revision=mark.latest_revision,
        )
        for key, mark in store.watermarks().items()
    }
