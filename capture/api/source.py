"""The daemon for the Socket.IO API, made of the pipeline and the store."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.reader import StoreReader
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.pipeline import Pipeline
from fluxcap.schemas.types import Candle, StreamKey, StreamStatus, candles_from

HISTORY_CANDLES = 500


class DaemonStreamBackend:
    """Implements ``streaming.Source``. Its methods may be called from any thread; the store is read one at a time."""

    def __init__(self, pipeline: Pipeline, market: Market, server: WireServer, source_id: str, interval: str) -> None:
        self._pipeline = pipeline
        self._market = market
        self._server = server
        self._source_id = source_id
        self._interval = interval
        self._reader: StoreReader = server.store.reader()
        self._reading = threading.Lock()

    @property
    def interval(self) -> str:
        return self._interval

    def acquire_asset(self, client: str, asset: str) -> str | None:
        """Raises UnknownAsset, NotAnswering."""
        return self.check_asset(self._pipeline.acquire_lease(f"socket.io {client}", asset)[0])

    def check_asset(self, asset: str) -> str | None:
        """Raises UnknownAsset, NotAnswering."""

        def check() -> str | None:
            symbol = self._market.names.resolve(asset)
            return symbol if self._market.names.contains(symbol) else None

        return self._pipeline.call(check)

    def release_asset(self, client: str) -> None:
        """Raises NotAnswering."""
        self._pipeline.release_lease(f"socket.io {client}")

    def detected_asset(self) -> str | None:
        """Raises NotAnswering."""
        return self._pipeline.call(lambda: self._market.active_symbol)

    def history(self, symbol: str) -> tuple[Sequence[Candle], str]:
        """Return the store's candles, preceded by the platform's history. Raises NotAnswering, StoreError."""
        with self._reading:
            page = self._reader.newest(StreamKey(self._source_id, symbol, self._interval), HISTORY_CANDLES)
        stored = list(candles_from(page.candles))
        known = self._pipeline.call(lambda: self._market.server_candles(symbol))
        first_ms = stored[0].ts_ms if stored else None
        older = [candle for candle in known if first_ms is None or candle.ts_ms < first_ms]
        older = older[-(HISTORY_CANDLES - len(stored)) :] if len(stored) < HISTORY_CANDLES else []
        names = [name for name, rows in (("platform", older), ("store", stored)) if rows]
        return [*older, *stored], "+".join(names) or "none"

    def feeds(self) -> Mapping[StreamKey, StreamStatus]:
        return self._server.status()
