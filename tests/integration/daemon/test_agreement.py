"""Agreement with the platform from end to end: the simulated site's frames in, a store with its comparisons out.

Ticks and history come from the simulated site's own exchange, through real frames and the real decoder; candles go
through the daemon's own publishing into a real store.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.agreement import Agreement
from fluxcap.capture.api.status import agreement_view
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.pipeline.listeners import ListenerGroup
from fluxcap.capture.pipeline.publish import PublishStage
from fluxcap.capture.simulator.config import SiteConfig
from fluxcap.capture.simulator.market.exchange import Exchange
from fluxcap.capture.simulator.market.history import earlier_history, recent_history
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey, candles_from
from tests.support.market.simulated_market import EUR, LAG_MS, OFFSET_MS, START_MS, Stage
from tests.support.wire.samples import ANY_PORT

KEY = StreamKey("SIM", EUR, "1m")
MINUTE = 60_000


class Capture(Stage):
    """A market whose updates go into a store as the daemon's do."""

    def __init__(self, server: WireServer, rate_hz: float = 2.0) -> None:
        mark = server.watermark(KEY)
        super().__init__(published_ts_ms=mark.latest_ts_ms)
        self.server = server
        self.simulated = Exchange(SiteConfig(assets=(EUR,), rate_hz=rate_hz, seed=5), START_MS).markets[EUR]
        key_of = {EUR: KEY}.__getitem__
        self.publishing = PublishStage(self.market, server, key_of, ListenerGroup(), lambda: self.now_ms * 1_000_000)

    def _take(self) -> None:
        self.publishing.flush(self.market.pending)

    def live(self, from_ms: int, to_ms: int, *, seen: bool = True) -> None:
        """The exchange's ticks of ``[from_ms, to_ms)``; they arrive unless nobody saw them."""
        times, points = self.simulated.ticks(from_ms, to_ms)
        for ts_ms, price in zip(times.tolist(), points.tolist(), strict=True):
            if seen:
                row = [EUR, (ts_ms + OFFSET_MS) / 1_000, self.simulated.price(price)]
                self.event("s1", "updateStream", [row], ts_ms + LAG_MS)
        self.pass_time(to_ms)

    def site_history(self, until_ms: int, lie: Callable[[list[Any]], None] = lambda rows: None) -> None:
        """The page loads its history as the site sends it; ``lie`` changes its candle rows."""
        payload: Any = recent_history(
            self.simulated, period_s=60, until_ms=until_ms, depth_ms=10 * MINUTE, max_ticks=5_000, offset_ms=OFFSET_MS
        )
        payload["candles"] = [list(row) for row in payload["candles"]]
        lie(payload["candles"])
        self.event("s1", "updateHistoryNewFast", payload)
        self.pass_time(self.now_ms + 1_000)

    def earlier_rows(self, last_start_ms: int, lie: Callable[[list[Any]], None] = lambda rows: None) -> None:
        """The page loads candles further back."""
        last_start_s = (last_start_ms + OFFSET_MS) // 1_000
        payload: Any = earlier_history(
            self.simulated, period_s=60, last_start_s=last_start_s, index=1, offset_ms=OFFSET_MS
        )
        lie(payload["data"])
        self.event("s1", "loadHistoryPeriodFast", payload)
        self.pass_time(self.now_ms + 1_000)

    def stored(self) -> list[Candle]:
        return list(candles_from(self.server.store.reader().page(KEY).candles))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.duckdb"


def one_point_more(minute_ms: int) -> Callable[[list[Any]], None]:
    """The site lies in the close of one row."""

    def lie(rows: list[Any]) -> None:
        (row,) = [row for row in rows if row[0] * 1_000 == minute_ms + OFFSET_MS]
        row[2] = round(row[2] + 0.00001, 5)
        row[3] = max(row[3], row[2])

    return lie


def test_every_candle_agrees_with_the_sites_own_history(path: Path) -> None:
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        capture = Capture(server)
        capture.live(START_MS + 10_000, START_MS + 12 * MINUTE)

        capture.site_history(START_MS + 12 * MINUTE)

        whole = [candle for candle in capture.stored() if not candle.flags]
        (agreement,) = server.store.agreement.streams.values()
        assert len(whole) >= 10
        assert agreement.equal == agreement.compared >= 6
        assert server.store.agreement.differing == ()
    with WireServer(path, ANY_PORT, ANY_PORT) as again:
        assert again.store.agreement.streams == {KEY: agreement}


def test_the_row_in_which_the_site_lies_is_listed_and_ours_stands(path: Path) -> None:
    lied_ms = START_MS + 4 * MINUTE
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        capture = Capture(server)
        capture.live(START_MS + 10_000, START_MS + 12 * MINUTE)
        before = capture.stored()

        capture.site_history(START_MS + 12 * MINUTE, one_point_more(lied_ms))

        (agreement,) = server.store.agreement.streams.values()
        (one,) = server.store.agreement.differing
        assert agreement.equal == agreement.compared - 1
        assert one.ours in before
        assert capture.stored()[: len(before)] == before
        assert (one.ours.ts_ms, one.platform.open, one.platform.low) == (lied_ms, one.ours.open, one.ours.low)
        assert round(one.platform.close - one.ours.close, 5) == 0.00001
        times, points = capture.simulated.ticks(lied_ms, lied_ms + MINUTE)
        truth = [(ts, capture.simulated.price(p)) for ts, p in zip(times.tolist(), points.tolist(), strict=True)]
        kept = server.store.reader().kept_ticks(KEY, one.sequence)
        assert kept == truth
        assert one.kept_ticks == len(truth)
        (shown,) = agreement_view(server.store.agreement).differing
        assert (shown.stream, shown.ts_ms, shown.platform[3]) == (str(KEY), lied_ms, one.platform.close)


def test_a_candle_is_compared_once(path: Path) -> None:
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        capture = Capture(server)
        capture.live(START_MS + 10_000, START_MS + 12 * MINUTE)
        capture.site_history(START_MS + 12 * MINUTE)
        before = server.store.agreement

        capture.site_history(START_MS + 12 * MINUTE, one_point_more(START_MS + 4 * MINUTE))

        assert server.store.agreement == before


def test_minutes_that_the_platform_filled_are_left_out(path: Path) -> None:
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        capture = Capture(server)
        capture.live(START_MS + 10_000, START_MS + 3 * MINUTE)
        capture.lose("s1", GapReason.SOCKET_CLOSED)
        capture.live(START_MS + 3 * MINUTE, START_MS + 5 * MINUTE + 30_000, seen=False)
        capture.site_history(START_MS + 5 * MINUTE + 30_000)
        capture.live(START_MS + 5 * MINUTE + 30_001, START_MS + 14 * MINUTE)

        capture.site_history(START_MS + 14 * MINUTE, one_point_more(START_MS + 4 * MINUTE))

        filled = [candle.ts_ms for candle in capture.stored() if candle.flags & CandleFlags.FILLED]
        (agreement,) = server.store.agreement.streams.values()
        assert START_MS + 4 * MINUTE in filled
        assert agreement.equal == agreement.compared > 0


def test_ticks_that_are_no_longer_known_are_said_to_be_gone(path: Path) -> None:
    def lie(rows: list[Any]) -> None:
        (row,) = [row for row in rows if row["time"] * 1_000 == START_MS + 2 * MINUTE + OFFSET_MS]
        row["low"] = round(row["low"] - 0.00001, 5)

    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        capture = Capture(server, rate_hz=0.8)
        capture.live(START_MS + 10_000, START_MS + 45 * MINUTE)

        capture.earlier_rows(START_MS + 30 * MINUTE, lie)

        (one,) = server.store.agreement.differing
        assert (one.ours.ts_ms, one.kept_ticks) == (START_MS + 2 * MINUTE, 0)
        assert server.store.reader().kept_ticks(KEY, one.sequence) == []


def test_candles_of_an_earlier_run_are_compared_when_the_history_comes(path: Path) -> None:
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        Capture(server).live(START_MS + 10_000, START_MS + 6 * MINUTE)
        assert server.store.agreement.streams == {}
    with WireServer(path, ANY_PORT, ANY_PORT) as server:
        capture = Capture(server)
        capture.live(START_MS + 8 * MINUTE, START_MS + 12 * MINUTE)

        capture.site_history(START_MS + 12 * MINUTE)

        agreement = server.store.agreement.streams[KEY]
        assert agreement == Agreement(agreement.compared, agreement.compared)
        assert agreement.compared >= 4
