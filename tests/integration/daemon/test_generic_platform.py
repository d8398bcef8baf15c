"""A platform that only the settings file knows: a real Chromium, trades as exchanges send them, exact candles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.runtime.settings import load_settings
from fluxcap.schemas.types import Candle, StreamKey, candles_from
from tests.support.browser.chromium import Chromium
from tests.support.browser.trade_site import TradeSite
from tests.support.daemon.live_rig import differences
from tests.support.patience import await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SECOND_MS = 1_000
KEY = StreamKey("BINANCE", "BTCUSDT", "1s")
SETTINGS = """
chrome = "127.0.0.1:{chrome}"
platform = "binance"
source = "BINANCE"
focus = ["btc/usdt"]
interval = "1s"
data_dir = "{data}"
pub = "tcp://127.0.0.1:0"
rep = "tcp://127.0.0.1:0"
web = false
control_port = 0

[platforms.binance]
pages = ["http://{site}/*"]
sockets = ["ws://{site}/stream"]
messages = "data"
symbol = "s"
time = "T"
price = "p"
filter = {{ e = "trade" }}
"""


@pytest.fixture
def site() -> Iterator[TradeSite]:
    with TradeSite() as site:
        yield site


def test_candles_of_a_described_platform_are_those_of_its_trades(
    chromium: Callable[..., Chromium], site: TradeSite, tmp_path: Path
):
    browser = chromium()
    file = tmp_path / "fluxcap.toml"
    file.write_text(SETTINGS.format(chrome=browser.port, site=site.host, data=tmp_path / "data"))

    with Daemon(load_settings(file)) as daemon:
        await_that(lambda: daemon.pipeline.attached, "the attach")
        browser.open(f"http://{site.host}/")
        await_that(lambda: daemon.server.watermark(KEY).latest_sequence >= 4, "four candles")
        status = daemon.status()
        page = daemon.server.store.reader().page(KEY, 0, None, 1_000)
    found = list(candles_from(page.candles))

    assert (status.platform_offset_ms, status.focus_symbols) == (0, ("BTCUSDT",))
    assert differences(truth(site, found[0].ts_ms, found[-1].ts_ms), found) == []


def truth(site: TradeSite, first_ms: int, last_ms: int) -> list[Candle]:
    """What the candles must be, by the plainest means."""
    prices: dict[int, list[float]] = {}
    for symbol, ts_ms, price in site.trades:
        if symbol == KEY.symbol and first_ms <= ts_ms < last_ms + SECOND_MS:
            prices.setdefault(ts_ms - ts_ms % SECOND_MS, []).append(price)
    return [
        Candle(start, p[0], max(p), min(p), p[-1], volume=float(len(p)), tick_count=len(p))
        for start, p in sorted(prices.items())
    ]
