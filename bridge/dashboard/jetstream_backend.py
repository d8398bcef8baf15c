"""The objects the pages share when reading from NATS: the streams of all sources, and the live client.

Nothing can be steered there: no focus, no collecting, no files, no blind times. The chart, its health and its marks are
the same. An asset is called ``SOURCE/SYMBOL/INTERVAL``, for the same symbol may come from several machines.
"""

from __future__ import annotations

import asyncio
from typing import Any

from nicegui import run

from fluxcap.bridge.client.fetch import list_streams
from fluxcap.bridge.client.options import Via
from fluxcap.bridge.client.stats import StreamStats
from fluxcap.bridge.dashboard.daemon_backend import LOOKING, DaemonBackend, DashboardTarget
from fluxcap.bridge.dashboard.view_state import DaemonState
from fluxcap.bridge.http.daemon_client import DaemonClient
from fluxcap.schemas.errors import FluxcapError, NotAnswering
from fluxcap.schemas.types import StreamKey, StreamStatus

POLL_S = 2.0
NO_DAEMON = "No daemon here: these streams come from NATS."


class NullDaemonClient(DaemonClient):
    """A daemon that is not there: what has an empty answer gets it, all else raises NotAnswering."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1")

    def gaps(self, source: str | None = None, symbol: str | None = None, from_ms: int = 0) -> list[dict[str, Any]]:
        return []

    def acquire_lease(self, holder: str, asset: str, seconds: float) -> str:
        return asset

    def release_lease(self, holder: str) -> None:
        pass

    def csv_files(self) -> list[dict[str, Any]]:
        return []

    def _request(self, method: str, path: str, **how: Any) -> Any:
        raise NotAnswering(NO_DAEMON)


class JetStreamBackend(DaemonBackend):
    """See the module."""

    def __init__(self, target: DashboardTarget, via: Via) -> None:
        super().__init__(target, NullDaemonClient())
        self._via = via
        self._streams: dict[str, StreamStatus] = {}
        self._shown: StreamKey | None = None

    def key(self, symbol: str) -> StreamKey | None:
        status = self._streams.get(symbol)
        self._shown = status.key if status is not None else self._shown
        return status.key if status is not None else None

    @property
    def interval(self) -> str:
        """Of the stream that was asked for last."""
        return self._shown.interval if self._shown is not None else "1m"

    def daemon_state(self) -> DaemonState:
        return DaemonState(daemon_error=self.error, assets=frozenset(self._streams))

    def facts(self, key: StreamKey | None) -> StreamStats:
        status = self._streams.get(name_of(key)) if key is not None else None
        return StreamStats(status.latest_sequence, status.latest_ts_ms) if status is not None else StreamStats()

    def asset_options(self) -> dict[str, str]:
        return {
            name: f"{status.key.symbol} {status.key.interval}, {status.key.source_id}"
            for name, status in sorted(self._streams.items())
        }

    def health_text(self) -> tuple[str, str, str]:
        if self.error == LOOKING:
            return "wait", "Connecting", "Looking for NATS."
        return super().health_text()

    async def _poll(self) -> None:
        while True:
            try:
                found = await run.io_bound(lambda: list_streams(via=self._via))
                if found is not None:
                    self._streams = {name_of(status.key): status for status in found}
                    self.error = "" if found else "No stream has been forwarded to NATS yet."
            except FluxcapError as error:
                self.error = str(error)
            await asyncio.sleep(POLL_S)


def name_of(key: StreamKey) -> str:
    """``DESK1/EURUSD_otc/1m``."""
    return f"{key.source_id}/{key.symbol}/{key.interval}"
