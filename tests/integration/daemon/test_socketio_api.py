"""The Socket.IO API with the clients people use: socket.io-client on Node, and python-socketio; several at once."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio
from fastapi import FastAPI

from fluxcap.bridge.http.origin import LOCAL_NAMES, OriginGuard
from fluxcap.capture.api.http_server import HttpServer
from fluxcap.capture.api.relay import EventRelay
from fluxcap.capture.api.socketio import mount_socketio
from fluxcap.capture.market.focus import AssetNames
from fluxcap.capture.pipeline.listeners import ChromeState, PublishedUpdate
from fluxcap.capture.platforms.base import Asset
from fluxcap.schemas.types import Candle, CandleBatch, FeedState, StreamKey, StreamStatus
from tests.support.patience import PATIENCE_S
from tests.support.wire.node_workspace import NODE_SOURCES, node_packages
from tests.support.wire.samples import EURUSD, GBPUSD, candle, candle_rows


class FakeSource:
    """A daemon with two assets and three candles of history; ``held`` is who looks at what."""

    interval = "1m"

    def __init__(self) -> None:
        self.names = AssetNames([Asset(key.symbol, key.symbol) for key in (EURUSD, GBPUSD)])
        self.held: dict[str, str] = {}
        self.detected: str | None = "EURUSD_otc"
        self.while_reading = lambda: None
        self.state = FeedState.LIVE

    def acquire_asset(self, client: str, asset: str) -> str | None:
        self.held[client] = self.names.resolve(asset)
        return self.check_asset(asset)

    def check_asset(self, asset: str) -> str | None:
        symbol = self.names.resolve(asset)
        return symbol if self.names.contains(symbol) else None

    def release_asset(self, client: str) -> None:
        self.held.pop(client, None)

    def detected_asset(self) -> str | None:
        return self.detected

    def history(self, symbol: str) -> tuple[Sequence[Candle], str]:
        self.while_reading()
        return [candle(1), candle(2), candle(3)], "store"

    def feeds(self) -> Mapping[StreamKey, StreamStatus]:
        return {key: StreamStatus(key, feed_state=self.state) for key in (EURUSD, GBPUSD)}


class Rig:
    """The web server on a free port, with a fake daemon behind it."""

    def __init__(self, data_dir: Path) -> None:
        self.source, self.relay = FakeSource(), EventRelay()
        self.relay.chrome_changed(ChromeState.ATTACHED, "")
        app = FastAPI()
        app.add_middleware(OriginGuard, names=LOCAL_NAMES)
        self.api = mount_socketio(app, self.source, self.relay, data_dir)
        self._server = HttpServer(lambda: app, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._server.start()

    def seal(self, key: StreamKey, minute: int, close: float = 1.5) -> None:
        batch = CandleBatch(key, minute, candle_rows(minute, 1))
        batch.candles["close"] = close
        self.relay.published(PublishedUpdate((batch,), (), (), ()))

    def close(self) -> None:
        self._server.stop()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "data")
    yield rig
    rig.close()


class Client:
    """A python-socketio client that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self._news = asyncio.Event()
        self._io = socketio.AsyncClient(reconnection=False)
        self._io.on("*", self._hear)

    async def connect(self, url: str, transport: str = "websocket") -> Client:
        await self._io.connect(url, transports=[transport])
        await self.wait("connection_status")
        return self

    async def _hear(self, event: str, data: Any = None) -> None:
        self.heard.append((event, data))
        self._news.set()

    async def send(self, event: str, data: Any = None) -> None:
        await self._io.emit(event, data)

    async def wait(self, event: str, count: int = 1) -> Any:
        """The ``count``-th of an event."""
        async with asyncio.timeout(PATIENCE_S):
            while len(found := [data for name, data in self.heard if name == event]) < count:
                self._news.clear()
                await self._news.wait()
        return found[count - 1]

    async def stream(self, asset: str) -> None:
        loaded = sum(name == "historical_candles_loaded" for name, _ in self.heard)
        await self.send("start_stream", {"asset": asset})
        await self.wait("historical_candles_loaded", loaded + 1)

    def events(self) -> list[str]:
        return [event for event, _ in self.heard]

    async def leave(self) -> None:
        # A polling client would wait half a minute for its last question to be answered.
        await self._io.eio.disconnect(abort=self._io.transport() == "polling")


def named(event: dict[str, Any]) -> tuple[str, str]:
    """The names in an event: as typed, and the platform's."""
    return event["asset"], event["symbol"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_socket_io_client_of_npm_streams_candles(rig: Rig, tmp_path: Path, transport: str) -> None:
    folder = node_packages(tmp_path)
    shutil.copy(NODE_SOURCES / "stream_candles.js", folder)
    stop = threading.Event()

    def market() -> None:
        minute = 4
        while not stop.wait(0.02):
            rig.relay.forming(EURUSD, candle(minute, 1.1))
            rig.seal(EURUSD, minute)
            minute += 1

    thread = threading.Thread(target=market)
    thread.start()
    try:
        command = ["node", "stream_candles.js", rig.url, "EUR/USD_OTC", "5", transport]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    finally:
        stop.set()
        thread.join()

    assert done.returncode == 0, done.stdout + done.stderr
    heard = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event for event, _ in heard[:3]] == ["connection_status", "stream_started", "historical_candles_loaded"]
    assert (heard[1][1]["asset"], heard[1][1]["symbol"]) == ("EUR/USD_OTC", "EURUSD_otc")
    assert heard[2][1]["count"] == len(heard[2][1]["candles"]) == 3
    updates = [data for event, data in heard if event == "candle_update"]
    assert len(updates) >= 5
    for update in updates:
        assert update == {**update["candle"], "candle": update["candle"]}
        assert set(update["candle"]) == {
            *("asset", "symbol", "timestamp", "open", "high", "low", "close", "volume", "date")
        }
        assert update["timestamp"] % 60 == 0


async def _one_leaves(rig: Rig) -> None:
    first, second, third = [await Client().connect(rig.url, kind) for kind in ("websocket", "polling", "websocket")]
    await first.stream("EURUSD_otc")
    await second.stream("EURUSD_OTC")
    await third.stream("gbpusd otc")
    await first.leave()
    rig.seal(EURUSD, 4)
    rig.seal(GBPUSD, 4)

    assert named(await second.wait("candle_update")) == ("EURUSD_OTC", "EURUSD_otc")
    assert named(await third.wait("candle_update")) == ("gbpusd otc", "GBPUSD_otc")
    assert "stream_error" not in second.events() + third.events()
    assert "candle_update" not in first.events()
    async with asyncio.timeout(PATIENCE_S):
        while len(rig.source.held) > 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert sorted(rig.source.held.values()) == ["EURUSD_otc", "GBPUSD_otc"]
    await second.leave()
    await third.leave()


def test_one_client_that_leaves_touches_nobody_else(rig: Rig) -> None:
    asyncio.run(_one_leaves(rig))


async def _while_history_is_read(rig: Rig) -> Client:
    client = await Client().connect(rig.url)
    rig.source.while_reading = lambda: [rig.seal(EURUSD, minute) for minute in (4, 5)]
    await client.stream("EURUSD_otc")
    await client.wait("candle_update", 2)
    await client.leave()
    return client


def test_what_happens_while_the_history_is_read_comes_after_it_and_is_not_lost(rig: Rig) -> None:
    client = asyncio.run(_while_history_is_read(rig))

    assert client.events()[-3:] == ["historical_candles_loaded", "candle_update", "candle_update"]
    assert [data["timestamp"] for event, data in client.heard if event == "candle_update"] == [240, 300]


async def _errors(rig: Rig) -> None:
    client = await Client().connect(rig.url)
    for wrong in ({"asset": "EURUSX_otc"}, {"asset": "EURUSD_otc", "timeframe": "5m"}, "x", {"asset": 5}):
        await client.send("start_stream", wrong)
    for nothing in ({}, None):
        await client.send("change_asset", nothing)
    await client.wait("stream_error", 6)
    errors = [data["error"] for event, data in client.heard if event == "stream_error"]
    assert "EURUSD_otc" in errors[0]
    assert "1m" in errors[1]
    assert rig.source.held == {}
    assert "stream_started" not in client.events()
    await client.leave()


def test_what_cannot_be_streamed_is_an_error_with_the_way_out(rig: Rig) -> None:
    asyncio.run(_errors(rig))


async def _named_too_early(rig: Rig) -> None:
    table = rig.source.names.assets
    rig.source.names = AssetNames()
    right, wrong = await Client().connect(rig.url), await Client().connect(rig.url)
    await right.send("start_stream", {"asset": "eurusd otc"})
    await wrong.send("start_stream", {"asset": "EURUSX_otc"})
    assert named(await right.wait("stream_started")) == ("eurusd otc", None)
    await wrong.wait("stream_started")
    rig.seal(EURUSD, 4)

    rig.source.names.replace(table)

    assert "EURUSD_otc" in (await wrong.wait("stream_error"))["error"]
    assert named(await right.wait("asset_changed")) == ("eurusd otc", "EURUSD_otc")
    await right.wait("historical_candles_loaded")
    rig.seal(EURUSD, 5)
    assert named(await right.wait("candle_update")) == ("eurusd otc", "EURUSD_otc")
    assert list(rig.source.held.values()) == ["eurusd otc"]
    assert [event for event in right.events() if event != "connection_status"] == [
        *("stream_started", "asset_changed", "historical_candles_loaded", "candle_update")
    ]
    await right.leave()
    await wrong.leave()


def test_a_name_that_is_understood_late_is_told_to_its_client(rig: Rig) -> None:
    asyncio.run(_named_too_early(rig))


async def _never_understood(rig: Rig) -> None:
    rig.source.names = AssetNames()
    client = await Client().connect(rig.url)
    await client.send("start_stream", {"asset": "EURUSX_otc"})

    error = (await client.wait("stream_error"))["error"]

    assert error.startswith("'EURUSX_otc' is not known yet")
    assert "historical_candles_loaded" not in client.events()
    await client.leave()


def test_a_name_that_nothing_tells_gets_one_true_sentence(rig: Rig) -> None:
    asyncio.run(_never_understood(rig))


async def _every_event_by_name(rig: Rig) -> None:
    client = await Client().connect(rig.url)
    await client.stream("EURUSD_OTC")
    rig.seal(EURUSD, 4)
    await client.send("detect_asset")
    await client.wait("asset_detected")
    await client.wait("candle_update")

    by_name = {event: data for event, data in client.heard if "asset" in data}
    assert by_name.keys() == {"stream_started", "historical_candles_loaded", "candle_update", "asset_detected"}
    assert {named(data) for data in by_name.values()} == {("EURUSD_OTC", "EURUSD_otc")}
    rows = [*by_name["historical_candles_loaded"]["candles"], by_name["candle_update"]["candle"]]
    assert {named(row) for row in rows} == {("EURUSD_OTC", "EURUSD_otc")}
    await client.leave()


def test_every_event_names_the_asset_as_its_client_typed_it(rig: Rig) -> None:
    asyncio.run(_every_event_by_name(rig))


async def _two_spellings(rig: Rig) -> None:
    first, second = await Client().connect(rig.url), await Client().connect(rig.url)
    await first.stream("EURUSD_OTC")
    await second.stream("eur/usd otc")
    rig.seal(EURUSD, 4)

    assert named(await first.wait("candle_update")) == ("EURUSD_OTC", "EURUSD_otc")
    assert named(await second.wait("candle_update")) == ("eur/usd otc", "EURUSD_otc")
    await first.leave()
    await second.leave()


def test_two_clients_of_one_asset_each_hear_their_own_spelling(rig: Rig) -> None:
    asyncio.run(_two_spellings(rig))


async def _page_asset(rig: Rig, nothing: Any) -> None:
    client = await Client().connect(rig.url)
    await client.send("start_stream", nothing)
    assert named(await client.wait("stream_started")) == ("EURUSD_otc", "EURUSD_otc")
    rig.source.detected = None
    await client.send("start_stream", nothing)
    assert "not shown its asset" in (await client.wait("stream_error"))["error"]
    await client.leave()


@pytest.mark.parametrize("nothing", [{}, None, {"asset": ""}, {"asset": None}])
def test_a_stream_without_a_name_is_of_the_asset_that_the_page_shows(rig: Rig, nothing: Any) -> None:
    asyncio.run(_page_asset(rig, nothing))


async def _again(rig: Rig) -> None:
    first = await Client().connect(rig.url)
    second = await Client().connect(rig.url)
    await first.leave()
    async with asyncio.timeout(PATIENCE_S):
        while rig.api.clients > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    back = await Client().connect(rig.url)

    told = await back.wait("backend_reconnected")

    assert set(told) == {"timestamp", "chrome_status"}
    assert told["chrome_status"] == "connected"
    assert "backend_reconnected" not in first.events() + second.events()
    await second.leave()
    await back.leave()


def test_a_client_that_connects_again_is_told_so(rig: Rig) -> None:
    asyncio.run(_again(rig))


CSV_CANDLES = [{"timestamp": 60 * n, "open": 1.1, "high": 1.2, "low": 1.0, "close": 1.15} for n in range(1, 4)]


async def _csv(rig: Rig) -> None:
    client = await Client().connect(rig.url)
    await client.send("get_available_data")
    assert await client.wait("available_data") == {"files": []}

    await client.send("store_csv_candles", {"asset": "EURUSD_OTC", "candles": CSV_CANDLES})
    stored = await client.wait("csv_storage_success")
    await client.send("get_available_data")
    [file] = (await client.wait("available_data", 2))["files"]
    await client.send("store_csv_candles", {"asset": "EURUSD_OTC", "candles": [{"timestamp": 60}]})
    wrong = await client.wait("csv_storage_error")

    assert (stored["asset"], stored["candle_count"], set(stored)) == (
        *("EURUSD_OTC", 3),
        {"asset", "candle_count", "timestamp"},
    )
    assert (file["asset"], file["timeframe"]) == ("EURUSD_OTC", "1m")
    assert Path(file["path"]).is_absolute()
    assert "Candle 1" in wrong["error"]
    served = await asyncio.to_thread(httpx.get, f"{rig.url}/api/csv-data/{file['path']}", trust_env=False, verify=False)
    assert served.text.splitlines()[0] == "timestamp,open,close,high,low"
    assert len(served.text.splitlines()) == 4
    await client.leave()


def test_candles_of_a_csv_file_are_stored_and_listed(rig: Rig) -> None:
    asyncio.run(_csv(rig))


async def _change_and_stop(rig: Rig) -> None:
    client = await Client().connect(rig.url)
    await client.stream("EURUSD_otc")
    await client.send("change_asset", {"asset": "GBPUSD_otc"})
    assert (await client.wait("asset_changed"))["asset"] == "GBPUSD_otc"
    await client.wait("historical_candles_loaded", 2)
    rig.seal(EURUSD, 4)
    rig.seal(GBPUSD, 4)
    assert (await client.wait("candle_update"))["asset"] == "GBPUSD_otc"
    await client.send("change_asset", {"asset": "nothing"})
    await client.wait("stream_error")
    rig.seal(GBPUSD, 5)
    assert (await client.wait("candle_update", 2))["timestamp"] == 300
    await client.send("stop_stream")
    await client.wait("stream_stopped")
    assert rig.source.held == {}
    await client.leave()


def test_an_asset_is_changed_and_the_stream_stopped(rig: Rig) -> None:
    asyncio.run(_change_and_stop(rig))


async def _chrome(rig: Rig) -> None:
    idle, streaming = await Client().connect(rig.url), await Client().connect(rig.url)
    await streaming.stream("EURUSD_otc")
    rig.relay.chrome_changed(ChromeState.UNAVAILABLE, "Chrome was closed.")
    assert (await streaming.wait("stream_error"))["error"] == "Chrome was closed."
    assert (await idle.wait("connection_status", 2))["chrome"] == "disconnected"
    await idle.send("start_stream", {"asset": "EURUSD_otc"})
    assert (await idle.wait("stream_error"))["error"] == "Chrome was closed."
    await idle.send("detect_asset")
    assert (await idle.wait("asset_detection_failed"))["error"] == "Chrome was closed."
    rig.relay.chrome_changed(ChromeState.ATTACHED, "")
    await streaming.wait("chrome_reconnected")
    assert (await streaming.wait("connection_status", 3))["chrome"] == "connected"
    rig.seal(EURUSD, 9)
    assert (await streaming.wait("candle_update"))["timestamp"] == 540
    await idle.send("detect_asset")
    assert named(await idle.wait("asset_detected")) == ("EURUSD_otc", "EURUSD_otc")
    await idle.leave()
    await streaming.leave()


def test_chrome_going_and_coming_is_pushed_and_the_stream_goes_on_by_itself(rig: Rig) -> None:
    asyncio.run(_chrome(rig))


async def _silent(rig: Rig) -> None:
    client = await Client().connect(rig.url)
    await client.stream("EURUSD_otc")
    rig.source.state = FeedState.STALLED
    assert "silent" in (await client.wait("stream_error"))["error"]
    await client.leave()


def test_a_stream_does_not_die_silently(rig: Rig) -> None:
    asyncio.run(_silent(rig))


@pytest.mark.parametrize("path", ["/socket.io/?EIO=4&transport=polling", "/api/available-csv-files"])
@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
def test_a_foreign_page_is_refused_everywhere(rig: Rig, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(rig.url + path, headers=headers, trust_env=False, verify=False)

    assert answer.status_code == 403


async def _foreign_socket(url: str) -> None:
    client = socketio.AsyncClient(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(url, headers={"Origin": "http://evil.example"}, transports=["websocket"])
    await client.disconnect()


def test_a_web_socket_of_a_foreign_page_is_refused(rig: Rig) -> None:
    asyncio.run(_foreign_socket(rig.url))

    assert rig.api.clients == 0


@pytest.mark.parametrize(
    "path",
    [
        "../secret.csv",
        "%2e%2e/secret.csv",
        "..%2fsecret.csv",
        "%252e%252e%252fsecret.csv",
        "%2fetc%2fpasswd",
        "x%00.csv",
    ],
)
def test_no_path_leads_to_other_files(rig: Rig, tmp_path: Path, path: str) -> None:
    (tmp_path / "data" / "data_output" / "assets_data" / "data_collect").mkdir(parents=True)
    (tmp_path / "data" / "data_output" / "assets_data" / "secret.csv").write_text("secret")

    answer = httpx.get(f"{rig.url}/api/csv-data/data_collect/{path}", trust_env=False, verify=False)

    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("secret.csv", "")


def test_a_collected_file_is_served(rig: Rig, tmp_path: Path) -> None:
    name = "data_collect/1M_candles/EURUSD_otc_1m_2025_09_03_00_33_10.csv"
    path = tmp_path / "data" / "data_output" / "assets_data" / name
    path.parent.mkdir(parents=True)
    path.write_text("timestamp,open,close,high,low\n")

    listed = httpx.get(f"{rig.url}/api/available-csv-files?timeframe=1m", trust_env=False, verify=False).json()
    served = httpx.get(f"{rig.url}/api/csv-data/{listed['files'][0]['path']}", trust_env=False, verify=False)

    assert listed["count"] == 1
    assert served.text == "timestamp,open,close,high,low\n"
    assert served.headers["content-type"].startswith("text/csv")
