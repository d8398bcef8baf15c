"""Every platform that ships, in one real Chromium: pages and sockets under their own names, exact candles.

One daemon reads one of them, from settings to store; the others are read by the same pipeline with an outlet that only
keeps the candles.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.pipeline import Pipeline
from fluxcap.capture.platforms.presets import presets
from fluxcap.capture.platforms.registry import platform_named
from fluxcap.capture.runtime.settings import Settings
from fluxcap.capture.tools.record import NullOutput
from fluxcap.schemas.types import Candle, CandleBatch, CandleRevision, Gap, StreamKey, candles_from
from tests.support.browser.chromium import Chromium
from tests.support.browser.exchange_sites import ExchangeSites
from tests.support.patience import await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SECOND_MS = 1_000
WHOLE = 2
BY_DAEMON = "kraken"
SAME_SHAPES = {"binance-futures", "bybit-linear"}
"""Their messages are those of another one; only their addresses differ."""


class Kept(NullOutput):
    """An outlet that keeps the newest version of every candle."""

    def __init__(self) -> None:
        self.candles: dict[str, dict[int, Candle]] = {}

    def publish(
        self,
        sealed: Mapping[StreamKey, Sequence[Candle]],
        completed: Mapping[StreamKey, Sequence[Candle]] = {},
        gaps: Sequence[Gap] = (),
        over: Mapping[StreamKey, int] = {},
    ) -> list[CandleBatch]:
        self._keep(sealed)
        return super().publish(sealed, completed, gaps, over)

    def revise(self, better: Mapping[StreamKey, Sequence[Candle]]) -> list[CandleRevision]:
        self._keep(better)
        return super().revise(better)

    def _keep(self, found: Mapping[StreamKey, Sequence[Candle]]) -> None:
        for key, candles in found.items():
            self.candles.setdefault(key.symbol, {}).update({candle.ts_ms: candle for candle in candles})


class Reader:
    """One platform, read by a pipeline."""

    def __init__(self, name: str, browser: Chromium) -> None:
        platform = platform_named(name)
        self._kept = Kept()
        self.market = Market(platform, SECOND_MS, Focus(FocusMode.ALL))
        self._pipeline = Pipeline(
            self.market, self._kept, lambda symbol: StreamKey(name, symbol, "1s"), platform.is_page
        )
        self._pipeline.start()
        version = browser.version()
        self._pipeline.attach(version["webSocketDebuggerUrl"], version["Browser"])

    def count(self, symbol: str) -> int:
        return len(self._kept.candles.get(symbol, {}))

    def candles(self, symbol: str) -> dict[int, Candle]:
        return self._pipeline.call(lambda: dict(self._kept.candles.get(symbol, {})))

    def malformed(self) -> dict[str, int]:
        counters = self._pipeline.view().market.counters
        return {kind: count for kind, count in counters.items() if kind.startswith("malformed")}

    def close(self) -> None:
        self._pipeline.stop()


class DaemonReader:
    """One platform, read by a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def count(self, symbol: str) -> int:
        return self._daemon.server.watermark(StreamKey(self._daemon.settings.source, symbol, "1s")).latest_sequence

    def candles(self, symbol: str) -> dict[int, Candle]:
        key = StreamKey(self._daemon.settings.source, symbol, "1s")
        page = self._daemon.server.store.reader().page(key, 0, None, 1_000)
        return {candle.ts_ms: candle for candle in candles_from(page.candles)}

    def malformed(self) -> dict[str, int]:
        counters = self._daemon.status().counters
        return {kind: count for kind, count in counters.items() if kind.startswith("malformed")}


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[ExchangeSites]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine; install it")
    with ExchangeSites(tmp_path) as sites:
        yield sites


def prices(candle: Candle) -> tuple[float, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.volume, candle.tick_count


def test_the_candles_of_every_platform_that_ships_are_those_of_its_trades(
    chromium: Callable[..., Chromium], sites: ExchangeSites, tmp_path: Path
):
    browser = chromium(*sites.flags)
    names = {feed.platform for feed in sites.feeds}
    settings = Settings(
        chrome=f"127.0.0.1:{browser.port}",
        platform=BY_DAEMON,
        source="KRAKEN",
        focus=("BTC/USD", "XBT/USD"),
        interval="1s",
        timeframes=(),
        data_dir=tmp_path / "data",
        pub="tcp://127.0.0.1:0",
        rep="tcp://127.0.0.1:0",
        web=False,
        control_port=0,
    )

    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(settings))
        readers: dict[str, Reader | DaemonReader] = {BY_DAEMON: DaemonReader(daemon)}
        for name in sorted(names - {BY_DAEMON}):
            reader = Reader(name, browser)
            stack.callback(reader.close)
            readers[name] = reader
        await_that(lambda: daemon.pipeline.attached, "the attach")
        for page in sites.pages:
            browser.open(page)
        for feed in sites.feeds:
            await_that(
                lambda feed=feed: readers[feed.platform].count(feed.stream) > WHOLE,  # type: ignore[misc]
                f"candles of {feed.platform} {feed.stream}",
            )
        found = {(feed.platform, feed.stream): readers[feed.platform].candles(feed.stream) for feed in sites.feeds}
        malformed = {name: reader.malformed() for name, reader in readers.items()}

    assert names | SAME_SHAPES == {*presets(), "quotex"}
    for (name, stream), candles in found.items():
        truth = sites.candles(name, stream, SECOND_MS)
        starts = sorted(candles)[:-1]
        expected = {start: prices(truth[start]) for start in truth if starts[0] <= start <= starts[-1]}
        assert {start: prices(candles[start]) for start in starts} == expected, f"{name} {stream}"
    assert malformed == {name: {} for name in names}
