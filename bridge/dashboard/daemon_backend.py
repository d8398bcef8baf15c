"""The objects all pages of a process share: the live client, and the daemon's REST API with its status each second.

It works while a page is open and rests otherwise.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from nicegui import background_tasks, run

from fluxcap.bridge.client.options import Via
from fluxcap.bridge.client.stats import RateWindow, StreamStats
from fluxcap.bridge.dashboard.live_feed import LiveFeed
from fluxcap.bridge.dashboard.view_state import DaemonState
from fluxcap.bridge.http.daemon_client import DaemonClient
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import StreamKey

POLL_S = 1.0
ASSETS_EVERY_S = 10.0
LOOKING = "Looking for the daemon."


class DashboardTarget(msgspec.Struct, frozen=True):
    """Addresses of a daemon: PUB and request endpoints, URL of its REST API. ``curve``: keys, if it requires them.

    ``via``: JetStream in place of a daemon; then the rest is of no use.
    """

    pub: str
    rep: str
    control: str
    curve: ClientCurve | None = None
    via: Via | None = None

    def __str__(self) -> str:
        return self.control if self.via is None else self.via.servers


class DaemonBackend:
    """See the module. ``status`` is the daemon's newest, or None while it does not answer; ``error`` says why."""

    def __init__(self, target: DashboardTarget, api: DaemonClient | None = None) -> None:
        self.target = target
        self.api = api or DaemonClient(target.control)
        self.status: dict[str, Any] | None = None
        self.error = LOOKING
        self.assets: dict[str, dict[str, Any]] = {}
        self._feed: LiveFeed | None = None
        self._pages = 0
        self._polling: asyncio.Task[None] | None = None
        self._trends: dict[str, RateWindow] = {}
        self._facts: dict[str, StreamStats] = {}
        self._assets_at_s = 0.0

    @property
    def feed(self) -> LiveFeed:
        if self._feed is None:
            target = self.target
            self._feed = LiveFeed(target.pub, target.rep, target.curve, target.via).start()
        return self._feed

    def open_page(self) -> None:
        """A page is there: look at the daemon."""
        self._pages += 1
        if self._polling is None or self._polling.done():
            self._polling = background_tasks.create(self._poll(), name="fluxcap status")

    def close_page(self) -> None:
        """A page has gone; the last one puts out the light."""
        self._pages -= 1
        if self._pages == 0 and self._polling is not None:
            self._polling.cancel()

    def close(self) -> None:
        """End the client. Blocks for a moment."""
        if self._feed is not None:
            self._feed.close()
        self.api.close()

    def key(self, symbol: str) -> StreamKey | None:
        """The stream of a symbol, once the daemon has reported its source and interval."""
        return StreamKey(self.status["source"], symbol, self.status["interval"]) if self.status else None

    @property
    def interval(self) -> str:
        return str(self.status["interval"]) if self.status else "1m"

    def daemon_state(self) -> DaemonState:
        """Return the daemon's state, as the decision needs it."""
        status = self.status
        if status is None:
            return DaemonState(daemon_error=self.error)
        return DaemonState(
            chrome=status["chrome"],
            chrome_reason=status["chrome_reason"],
            assets=frozenset(self.assets),
            focus_mode=status["focus_mode"],
            focus=tuple(status["focus_symbols"]),
            detected=status["detected_asset"],
        )

    def health_text(self) -> tuple[str, str, str]:
        """Dot, label and reason while no stream is shown."""
        if not self.error:
            return "off", "Off", ""
        return ("wait", "Connecting", LOOKING) if self.error == LOOKING else ("bad", "Disconnected", self.error)

    def facts(self, key: StreamKey | None) -> StreamStats:
        return self._facts.get(key.symbol, StreamStats()) if key is not None else StreamStats()

    def asset_options(self) -> dict[str, str]:
        """Symbol → label of the assets that may be chosen: with payout, OTC marked; before a table, what ticks."""
        if self.assets:
            ordered = sorted(self.assets.values(), key=lambda asset: (not asset["active"], asset["name"]))
            return {asset["symbol"]: asset_label(asset) for asset in ordered}
        ticking = self.status["assets"] if self.status else []
        return {asset["symbol"]: asset["symbol"] for asset in ticking}

    async def _poll(self) -> None:
        while True:
            try:
                status = await run.io_bound(self.api.status)
                if status is not None:
                    self.status, self.error = status, ""
                    self._measure(status)
                    await self._learn_assets()
            except FluxcapError as error:
                self.status, self.error = None, str(error)
            await asyncio.sleep(POLL_S)

    async def _learn_assets(self) -> None:
        if time.monotonic() < self._assets_at_s:
            return
        assets = await run.io_bound(self.api.assets)
        self.assets = {asset["symbol"]: asset for asset in assets or ()}
        self._assets_at_s = time.monotonic() + (ASSETS_EVERY_S if self.assets else POLL_S)

    def _measure(self, status: dict[str, Any]) -> None:
        now_ms = status["server_time_ms"]
        streams = {stream["stream"].split(".")[1]: stream for stream in status["streams"]}
        for asset in status["assets"]:
            symbol = asset["symbol"]
            stream = streams.get(symbol)
            if stream is None:
                continue
            trend = self._trends.setdefault(symbol, RateWindow())
            rate, lag_ms = trend.sample(now_ms, asset["ticks"], stream["age_ms"])
            agreement = (status.get("agreement") or {}).get("streams", {}).get(stream["stream"], {})
            self._facts[symbol] = StreamStats(
                stream["latest_sequence"],
                stream["latest_ts_ms"],
                status["platform_offset_ms"],
                lag_ms,
                rate,
                agreement.get("compared"),
                agreement.get("equal"),
            )


def asset_label(asset: dict[str, Any]) -> str:
    """``EUR/USD OTC, 92%``; closed ones say so."""
    name = asset["name"] or asset["symbol"]
    if asset["is_otc"] and "OTC" not in name.upper():
        name += " OTC"
    return f"{name}, {asset['payout']}%" if asset["active"] else f"{name}, closed"
