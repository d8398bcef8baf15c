"""Writes collected candles to the store, through the daemon that has it open, or directly.

Candles of the live interval never go there: the daemon makes those itself, and fills what it missed from the very
frames that a collection has the page receive.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from fluxcap.bridge.http.daemon_client import DaemonClient
from fluxcap.bridge.http.run_file import read_run_file
from fluxcap.bridge.server.history_import import ImportResult, import_candles
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.server.timeframes import Timeframes
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import kept_offset_ms
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.capture.market.clock import ClockPrior, ClockState
from fluxcap.capture.platforms.base import Asset
from fluxcap.capture.runtime.discovery import find_daemon
from fluxcap.capture.runtime.folders import state_dir
from fluxcap.schemas.errors import FluxcapError, NotAnswering, PageUnavailable
from fluxcap.schemas.types import Candle, StreamKey

ANY_PORT = "tcp://127.0.0.1:0"


class HistoryStore:
    """The store of a data folder. Who holds it is looked up each time: a daemon may come and go meanwhile."""

    def __init__(self, data_dir: Path, source: str, live_interval: str, timeframes: tuple[str, ...] = ()) -> None:
        self._data_dir = data_dir
        self._source = source
        self._live_interval = live_interval
        self._timeframes = Timeframes(source, live_interval, timeframes)

    def put(self, symbol: str, interval: str, candles: Sequence[Candle]) -> ImportResult | None:
        """Take candles in; None for those of the live interval. Raises FluxcapError with the reason."""
        daemon = self._daemon()
        if daemon is not None:
            with daemon:
                if interval == daemon.status()["interval"]:
                    return None
                rows = [(c.ts_ms, c.open, c.high, c.low, c.close, c.volume) for c in candles]
                return msgspec.convert(daemon.import_candles(symbol, interval, rows), ImportResult)
        if interval == self._live_interval:
            return None
        # Numbering and committing are the server's; nobody knows its ports.
        path = self._data_dir / STORE_FILE
        opened = lambda: Store.open(path, state_dir=state_dir())  # noqa: E731
        with WireServer(opened, ANY_PORT, ANY_PORT, timeframes=self._timeframes) as server:
            return import_candles(server, StreamKey(self._source, symbol, interval), candles)

    def assets(self) -> tuple[Asset, ...]:
        """The platform's asset table as the running daemon knows it; empty without."""
        daemon = self._daemon()
        if daemon is None:
            return ()
        try:
            with daemon:
                return tuple(msgspec.convert(daemon.assets(), list[Asset]))
        except (FluxcapError, msgspec.ValidationError):
            return ()

    def known_offset(self) -> tuple[ClockPrior, bool]:
        """Return what is known of the platform's clock, by a running daemon or earlier runs, and whether it is certain.

        Raises PageUnavailable while the daemon has its clock in question and publishes nothing.
        """
        daemon = self._daemon()
        if daemon is None:
            try:
                return ClockPrior(kept_offset_ms(self._data_dir / STORE_FILE, self._source)), False
            except FluxcapError:
                return ClockPrior(), False
        with daemon:
            status = daemon.status()
        if status["platform_offset_ms"] is None and status["clock"] == ClockState.IN_QUESTION:
            raise PageUnavailable(status["clock_reason"])
        return ClockPrior(status["platform_offset_ms"]), status["platform_offset_ms"] is not None

    def _daemon(self) -> DaemonClient | None:
        """The daemon on this folder; None when none runs."""
        if read_run_file(self._data_dir) is None:
            return None
        try:
            return find_daemon(self._data_dir)
        except NotAnswering:
            return None
