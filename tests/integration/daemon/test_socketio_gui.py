"""The conversation of a chart program with the daemon, which is killed and started again under it, beside an open page.

The client is python-socketio's, which connects again by itself, as the page's own does. It uses the names that such
programs have built in (``EURUSD_OTC``), compares them exactly, and starts its stream again once the daemon is back and
Chrome is there.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio

from tests.support.browser.chromium import Chromium
from tests.support.daemon.live_rig import DaemonProcess, Process
from tests.support.patience import PATIENCE_S, await_that
from tests.support.ports import lasting_port

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TYPED, SYMBOL = "EURUSD_OTC", "EURUSD_otc"


class Gui:
    """A chart program. ``heard``: all events, in order."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.heard: list[tuple[str, Any]] = []
        self._news = asyncio.Event()
        self._io = socketio.AsyncClient(reconnection=True, reconnection_delay=1, reconnection_delay_max=1)
        self._connected = asyncio.Event()
        self._io.on("*", self._hear)
        self._io.on("connect", self._connect)
        self._io.on("disconnect", self._disconnect)

    async def _connect(self) -> None:
        self._connected.set()

    async def _disconnect(self, _reason: str = "") -> None:
        self._connected.clear()

    async def _hear(self, event: str, data: Any = None) -> None:
        self.heard.append((event, data))
        self._news.set()

    async def connect(self) -> None:
        await self._io.connect(self._url, transports=["websocket"], wait_timeout=PATIENCE_S)

    async def leave(self) -> None:
        await self._io.disconnect()

    async def say(self, event: str, data: Any = None) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self._connected.wait()  # what a server says on connecting comes before its word that it has accepted
        await self._io.emit(event, data)

    async def after(self, seen: int, event: str, holds: Callable[[Any], Any] = lambda data: True) -> Any:
        """The first such event behind the first ``seen`` ones."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for name, data in self.heard[seen:]:
                    if name == event and holds(data):
                        return data
                self._news.clear()
                await self._news.wait()

    async def ask(self, event: str, data: Any, answer: str) -> Any:
        seen = len(self.heard)
        await self.say(event, data)
        return await self.after(seen, answer)

    async def chrome(self, seen: int) -> None:
        """Chrome is there, as such a program hears of it."""

        def is_there(status: dict[str, Any]) -> bool:
            return status["chrome"] == "connected"

        await self.after(seen, "connection_status", is_there)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    process = Process(tmp_path / "site", "simulate", "--port", "0", "--assets", "EURUSD_otc,GBPUSD_otc")
    yield await_that(lambda: process.out.partition(" at ")[2].partition(" ")[0], "the site")
    process.discard()


def test_a_chart_program_goes_on_when_the_daemon_is_started_again_under_it(
    tmp_path: Path, site: str, chromium: Callable[..., Chromium]
) -> None:
    browser, port, data_dir = chromium(), lasting_port(), tmp_path / "data"

    def start(name: str) -> DaemonProcess:
        return DaemonProcess(
            tmp_path / name,
            browser.port,
            *("--web", "--web-port", str(port), "--platform-url", site.split("/")[2]),
            data_dir=data_dir,
        )

    daemon = start("first")
    try:
        daemon.await_status(lambda status: status["chrome"] == "attached", "the attach")
        browser.open(site)
        daemon.await_status(lambda status: status["streams"] and status["assets_known"], "a stream")

        gui = asyncio.run(_conversation(f"http://127.0.0.1:{port}", daemon, lambda: start("second")))
    finally:
        daemon.discard()

    assert "backend_reconnected" in [event for event, _ in gui.heard]


async def _conversation(url: str, first: DaemonProcess, start: Callable[[], DaemonProcess]) -> Gui:
    gui = Gui(url)
    await gui.connect()
    await gui.chrome(0)
    detected = await gui.ask("detect_asset", None, "asset_detected")
    started = await gui.ask("start_stream", {}, "stream_started")
    assert started["asset"] == started["symbol"] == detected["symbol"]

    changed = await gui.ask("change_asset", {"asset": TYPED}, "asset_changed")
    assert (changed["asset"], changed["symbol"]) == (TYPED, SYMBOL)
    await gui.after(0, "candle_update", lambda candle: (candle["asset"], candle["symbol"]) == (TYPED, SYMBOL))
    rows = (await gui.after(0, "historical_candles_loaded", lambda history: history["asset"] == TYPED))["candles"]
    assert {row["asset"] for row in rows} <= {TYPED}
    assert "backend_reconnected" not in [event for event, _ in gui.heard]

    candles = [{"timestamp": 60 * n, "open": 1.1, "high": 1.2, "low": 1.0, "close": 1.15} for n in range(1, 4)]
    stored = await gui.ask("store_csv_candles", {"asset": TYPED, "candles": candles}, "csv_storage_success")
    assert (stored["asset"], stored["candle_count"]) == (TYPED, 3)
    files = (await gui.ask("get_available_data", None, "available_data"))["files"]
    assert [(file["asset"], file["timeframe"]) for file in files] == [(TYPED, "1m")]

    seen = len(gui.heard)
    await asyncio.to_thread(first.end, signal.SIGKILL)
    second = await asyncio.to_thread(start)
    try:
        told = await gui.after(seen, "backend_reconnected")
        assert set(told) == {"timestamp", "chrome_status"}
        await gui.chrome(seen)
        seen = len(gui.heard)
        again = await gui.ask("start_stream", {"asset": TYPED}, "stream_started")
        assert (again["asset"], again["symbol"]) == (TYPED, SYMBOL), "understood at once, by what the store holds"
        await gui.after(seen, "historical_candles_loaded", lambda history: history["count"] > 0)
        await gui.after(seen, "candle_update", lambda candle: (candle["asset"], candle["symbol"]) == (TYPED, SYMBOL))
        assert "stream_error" not in [event for event, _ in gui.heard[seen:]]
        status = (await asyncio.to_thread(httpx.get, f"{url}/api/status", trust_env=False, verify=False)).json()
        assert not [stream for stream in status["streams"] if TYPED in stream["stream"]], "no phantom stream"
        await gui.leave()
    finally:
        await asyncio.to_thread(second.discard)
    return gui
