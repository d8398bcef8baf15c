"""Readers over HTTP, against a real server of the wire and a real web server."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from fluxcap.bridge.http.origin import LOCAL_NAMES, OriginGuard
from fluxcap.bridge.http.serving import BoundedServer, server_config
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.system.ports import listening_socket
from fluxcap.bridge.web import readers as readers_module
from fluxcap.bridge.web import sse
from fluxcap.bridge.web.event_writer import stream_name
from fluxcap.bridge.web.reader import ReaderTarget
from fluxcap.bridge.web.readers import Readers
from fluxcap.bridge.web.routes import add_readers
from fluxcap.schemas.types import Candle, FeedState, StreamKey
from tests.support.patience import PATIENCE_S, await_that
from tests.support.wire.event_reader import ChartReader
from tests.support.wire.samples import candle

KEY, OTHER = StreamKey("DESK", "EURUSD_otc", "1m"), StreamKey("DESK", "GBPUSD_otc", "5m")
ASKED = f"/api/stream?stream={stream_name(KEY)}&stream={stream_name(OTHER)}&last=100"


class Site:
    """A wire server, which can be closed and opened again, and the web server over it."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "a.duckdb"
        self.wire = WireServer(self.store, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
        self.ends = self.wire.pub_endpoint, self.wire.rep_endpoint
        self.readers = Readers(lambda: ReaderTarget(*self.ends), max_listeners=3)
        app = FastAPI()
        app.add_middleware(OriginGuard, names=LOCAL_NAMES)
        add_readers(app, self.readers)
        self.listener = listening_socket("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.web: uvicorn.Server = BoundedServer(app, server_config(app, lifespan="off"))
        self.thread = threading.Thread(target=self.web.run, args=([self.listener],))
        self.thread.start()
        self.minutes = {KEY: 0, OTHER: 0}

    def publish(self, key: StreamKey, count: int = 1) -> None:
        begin = self.minutes[key]
        self.minutes[key] += count
        self.wire.publish({key: [self._candle(key, begin + number) for number in range(1, count + 1)]})
        self.wire.heartbeat(1_000_000, lambda _: (FeedState.LIVE, 0, 0))

    def _candle(self, key: StreamKey, number: int) -> Candle:
        return candle(number * key.interval_ms // 60_000, 1.5)

    def reopen(self, store: Path) -> None:
        self.wire.close()
        self.wire = WireServer(store, *self.ends)

    def view(self, key: StreamKey) -> dict[int, Candle]:
        return {c.ts_ms: c for c in self.wire.candles_since(key, 0)}

    def close(self) -> None:
        self.web.should_exit = True
        self.thread.join(PATIENCE_S)
        self.wire.close()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(readers_module, "FLUSH_S", 0.01)
    site = Site(tmp_path)
    try:
        yield site
    finally:
        site.close()


class Browser:
    """Reads the feed in a thread, and comes again by itself, as EventSource does."""

    def __init__(self, site: Site, path: str = ASKED) -> None:
        self.chart = ChartReader()
        self.connections = 0
        self._site = site
        self._path = path
        self._stopping = threading.Event()
        self._answer: httpx.Response | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(0.05):
            headers = {"Last-Event-ID": self.chart.parser.last_event_id}
            try:
                with httpx.stream(
                    "GET", self._site.url + self._path, headers=headers, timeout=30, verify=False
                ) as self._answer:
                    self.connections += 1
                    for chunk in self._answer.iter_raw():
                        self.chart.read(chunk)
            except httpx.HTTPError:
                pass
            self.chart.parser.disconnect()

    def cut(self) -> None:
        """The connection breaks."""
        if self._answer is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                self._answer.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def has(self, key: StreamKey) -> bool:
        return self.chart.candles.get(stream_name(key)) == self._site.view(key)

    def close(self) -> None:
        self._stopping.set()
        self.cut()
        self._thread.join(PATIENCE_S)


def test_a_reader_has_what_the_store_has_over_cuts_restarts_revisions_and_a_new_store(site: Site, tmp_path: Path):
    site.publish(KEY, 20)
    browser = Browser(site)
    try:
        await_that(lambda: browser.has(KEY), "the newest candles")
        site.publish(KEY, 3)
        site.publish(OTHER, 2)
        await_that(lambda: browser.has(KEY) and browser.has(OTHER), "live candles of both streams")
        browser.cut()
        site.publish(KEY, 5)
        site.wire.revise({KEY: [candle(3, 1.75), candle(22, 1.75)]})
        await_that(lambda: browser.has(KEY), "what was missed meanwhile")
        site.reopen(site.store)
        site.publish(KEY, 2)
        await_that(lambda: browser.has(KEY), "candles after a restart")
        kinds = list(browser.chart.kinds)
        site.reopen(tmp_path / "b.duckdb")
        site.publish(KEY, 2)
        await_that(lambda: browser.has(KEY), "the new store's candles")
    finally:
        browser.close()

    assert "reset" not in kinds
    assert kinds.count("snapshot") == 1  # the other stream was not there yet
    assert "reset" in browser.chart.kinds
    assert browser.connections >= 3


def test_one_reader_too_many_is_refused_and_a_place_is_free_when_one_leaves(site: Site) -> None:
    site.publish(KEY, 1)
    browsers = [Browser(site) for _ in range(3)]
    try:
        await_that(lambda: all(browser.has(KEY) for browser in browsers), "three readers")

        refused = httpx.get(site.url + ASKED, verify=False)
        browsers.pop().close()

        assert (refused.status_code, refused.json()["error"][:20]) == (503, "3 readers listen alr")
        await_that(lambda: site.readers.hub.listeners == 2, "a free place")
    finally:
        for browser in browsers:
            browser.close()


def test_a_reader_that_never_reads_is_cut_off_and_its_place_is_free(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "SLOW_S", 0.3)
    monkeypatch.setattr(sse.EventStream.__init__, "__defaults__", (0.3, 0.3))
    site.publish(KEY, 40_000)
    with socket.create_connection(("127.0.0.1", site.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        path = f"{ASKED}&after=".replace("last=100", "last=5000")
        deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        await_that(lambda: site.readers.hub.listeners == 1, "the deaf reader")

        def is_dropped() -> bool:
            if site.readers.hub.listeners:
                site.publish(KEY, 2_000)
            return site.readers.hub.listeners == 0

        await_that(is_dropped, "its end")


def test_a_web_server_stops_at_once_while_somebody_listens(site: Site) -> None:
    site.publish(KEY, 1)
    browser = Browser(site)
    try:
        await_that(lambda: browser.has(KEY), "a reader")
        site.web.should_exit = True
        site.thread.join(5)

        assert not site.thread.is_alive()
        assert browser.chart.kinds[-1] == "end"
    finally:
        browser.close()


def test_pages_over_http_are_what_the_store_has(site: Site) -> None:
    site.publish(KEY, 30)
    site.wire.revise({KEY: [candle(7, 1.75)]})

    rows, path = [], f"/api/candles?stream={stream_name(KEY)}&limit=7"
    while path:
        page = httpx.get(site.url + path, verify=False).json()
        rows += page["candles"]
        path = page["next"]

    assert {row[0]: Candle(*row) for row in rows} == site.view(KEY)
    assert len(rows) == 30


SERVE_BOTH = """
import subprocess, sys
from pathlib import Path
import httpx
from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.types import Candle, Gap, StreamKey

DASHBOARD = '''
import sys, httpx
from fluxcap.bridge.dashboard.app import DashboardTarget, dashboard_app
from fluxcap.capture.api.http_server import HttpServer
server = HttpServer(lambda: dashboard_app(DashboardTarget(*sys.argv[1:4])), "127.0.0.1", 0)
server.start()
for path in sys.argv[4:]:
    print(httpx.get(f"http://127.0.0.1:{server.port}{path}", timeout=60, verify=False).text)
server.stop()
'''
PATHS = ["/api/candles?stream=SIM/EURUSD_otc/1m", "/udf/marks?symbol=EURUSD_otc&resolution=1&from=0&to=900"]
free = {"pub": "tcp://127.0.0.1:0", "rep": "tcp://127.0.0.1:0", "web_port": 0}
with Daemon(Settings(data_dir=Path("data"), source="SIM", chrome="127.0.0.1:1", **free)) as daemon:
    key = StreamKey("SIM", "EURUSD_otc", "1m")
    candles = [Candle(60_000 * minute, 1.0, 2.0, 0.5, 1.5, 3.0, 3) for minute in range(1, 9)]
    daemon.pipeline.call(lambda: daemon.server.publish({key: candles}))
    daemon.pipeline.call(lambda: daemon.server.record_gaps([Gap("SIM", "EURUSD_otc", 120_000, 150_000, "tab closed")]))
    url = daemon.identity.control
    for path in PATHS:
        print(httpx.get(url + path, timeout=60, verify=False).text)
    ends = [daemon.server.pub_endpoint, daemon.server.rep_endpoint, url]
    subprocess.run([sys.executable, "-c", DASHBOARD, *ends, *PATHS], check=True)
"""


@pytest.mark.costly
def test_daemon_and_dashboard_answer_readers_alike_with_the_daemons_blind_times(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-u", "-c", SERVE_BOTH], cwd=tmp_path, capture_output=True, text=True, timeout=2 * PATIENCE_S
    )

    assert ran.returncode == 0, ran.stderr[-2_000:]
    candles, marks, *of_dashboard = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    assert of_dashboard == [candles, marks]
    assert len(json.loads(candles)["candles"]) == 8
    assert json.loads(marks)["text"] == ["Not seen for 30 s: tab closed."]
