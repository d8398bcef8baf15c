"""``fluxcap dashboard``, for another machine's daemon and for NATS: programs read candles from it as from a daemon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from fluxcap.bridge.dashboard.app import DashboardTarget, dashboard_app
from fluxcap.capture.api import server as serving
from fluxcap.capture.api.http_server import HttpServer
from fluxcap.capture.cli.app import run_cli
from fluxcap.schemas.types import Candle, StreamKey
from tests.support.daemon.dashboard_rig import SOURCE, FakeDaemon
from tests.support.nats.log_rig import LogFeeder
from tests.support.nats.nats_rig import NatsServer
from tests.support.patience import PATIENCE_S, await_that
from tests.support.wire.event_reader import ChartReader
from tests.support.wire.samples import candle_rows, candles

KEY = StreamKey(SOURCE, "EURUSD_otc", "1m")
NAME = f"{SOURCE}/EURUSD_otc/1m"


class Behind(Protocol):
    """What the dashboard shows: the options that name it, and candles on the stream ``KEY``."""

    options: tuple[str, ...]

    def candles(self) -> list[Candle]: ...
    def publish_one(self) -> None: ...
    def close(self) -> None: ...


class DaemonBehind:
    def __init__(self, folder: Path) -> None:
        self._daemon = FakeDaemon(folder, count=8)
        self._daemon.is_ticking = False
        ends = ("--pub", self._daemon.server.pub_endpoint, "--rep", self._daemon.server.rep_endpoint)
        self.options = ("--connect", "127.0.0.1", "--control", self._daemon.control, *ends)

    def candles(self) -> list[Candle]:
        return list(self._daemon.server.candles_since(KEY, 0))

    def publish_one(self) -> None:
        self._daemon.seal()

    def close(self) -> None:
        self._daemon.close()


class LogBehind:
    def __init__(self, server: NatsServer) -> None:
        self._feeder = LogFeeder(server.url)
        self._feeder.add(KEY, candle_rows(1, 8))
        self._feeder.beat()
        self._count = 8
        self.options = ("--via", server.url)

    def candles(self) -> list[Candle]:
        return candles(1, self._count)

    def publish_one(self) -> None:
        self._count += 1
        self._feeder.add(KEY, candle_rows(self._count, 1))

    def close(self) -> None:
        self._feeder.close()


@pytest.fixture(params=["--connect", "--via"])
def behind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Behind]:
    if request.param == "--connect":
        found: Behind = DaemonBehind(tmp_path)
    else:
        pytest.importorskip("nats")
        found = LogBehind(request.getfixturevalue("nats_server")())
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def url(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The dashboard that the command would serve, served here."""
    targets: list[DashboardTarget] = []

    def serve(target: DashboardTarget, port: int) -> int:
        targets.append(target)
        return 0

    monkeypatch.setattr(serving, "run_dashboard_server", serve)
    assert run_cli(["dashboard", *behind.options]) == 0
    server = HttpServer(lambda: dashboard_app(targets[0]), "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


def asked(url: str, path: str) -> Any:
    answer = httpx.get(url + path, timeout=PATIENCE_S, trust_env=False, verify=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_candles_live_feed_and_udf_are_what_the_stream_has(behind: Behind, url: str) -> None:
    expected = behind.candles()
    opened, chart = [candle.ts_ms // 1_000 for candle in expected], ChartReader()

    page = asked(url, f"/api/candles?stream={NAME}")
    told = asked(url, f"/udf/history?symbol=EURUSD_otc&resolution=1&from={opened[0]}&to={opened[-1] + 60}")
    with httpx.stream(
        "GET", f"{url}/api/stream?stream={NAME}&last=100", timeout=PATIENCE_S, trust_env=False, verify=False
    ) as feed:
        chunks = feed.iter_raw()
        read_until(chart, chunks, lambda: len(chart.candles.get(NAME, {})) == len(expected))
        behind.publish_one()
        read_until(chart, chunks, lambda: len(chart.candles[NAME]) == len(expected) + 1)

    assert [Candle(*row) for row in page["candles"]] == expected
    assert (told["s"], told["t"], told["c"]) == ("ok", opened, [candle.close for candle in expected])
    assert chart.candles[NAME] == {candle.ts_ms: candle for candle in behind.candles()}
    assert asked(url, "/udf/symbols?symbol=EURUSD_otc")["name"]
    assert NAME in json.dumps(asked(url, "/api/streams"))


def read_until(chart: ChartReader, chunks: Iterator[bytes], holds: Callable[[], bool]) -> None:
    def read() -> bool:
        if not holds():
            chart.read(next(chunks))
        return holds()

    await_that(read, "what the feed tells")
