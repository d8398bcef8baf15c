"""capture/simulator/market/history.py: history agrees with the ticks, in the platform's column orders and distances."""

from __future__ import annotations

import pytest

from fluxcap.capture.simulator.assets import load_assets
from fluxcap.capture.simulator.market.history import earlier_history, newest_start_s, recent_history, seconds
from fluxcap.capture.simulator.market.prices import SimulatedMarket

OFFSET_MS = 7_200_000


def market(rate_hz: float = 2.1) -> SimulatedMarket:
    return SimulatedMarket(load_assets()["EURGBP_otc"], seed=3, rate_hz=rate_hz)


UNTIL_MS = int(market().ticks(1_795_303_500_000, 1_795_303_560_000)[0][-1])


def recent(period_s: int = 60, until_ms: int = UNTIL_MS) -> dict[str, object]:
    return recent_history(
        market(), period_s=period_s, until_ms=until_ms, depth_ms=760_000, max_ticks=50_000, offset_ms=OFFSET_MS
    )


def rows(payload: dict[str, object], key: str) -> list[list[float]]:
    value = payload[key]
    assert isinstance(value, list)
    return value


def plain_candles(from_ms: int, to_ms: int, period_s: int) -> dict[int, tuple[float, float, float, float]]:
    """Start in platform seconds to (open, close, high, low), the plain way."""
    buckets: dict[int, list[float]] = {}
    ts, points = market().ticks(from_ms, to_ms)
    for at, level in zip(ts.tolist(), points.tolist(), strict=True):
        start = (at + OFFSET_MS) // (period_s * 1000) * period_s
        buckets.setdefault(start, []).append(market().price(level))
    return {start: (p[0], p[-1], max(p), min(p)) for start, p in buckets.items()}


def test_raw_history_is_ascending_and_ends_with_the_last_tick() -> None:
    payload = recent()

    history = rows(payload, "history")
    times = [row[0] for row in history]
    assert payload["asset"] == "EURGBP_otc"
    assert 1_500 <= len(history) <= 1_660
    assert 730 <= times[-1] - times[0] <= 784
    assert times == sorted(times)
    assert round(times[-1] * 1000) == UNTIL_MS + OFFSET_MS


@pytest.mark.costly
def test_candles_are_descending_and_the_newest_is_minutes_behind() -> None:
    for until_ms in range(UNTIL_MS, UNTIL_MS + 200_000, 7_001):
        payload = recent(until_ms=until_ms)

        candles = rows(payload, "candles")
        starts = [row[0] for row in candles]
        assert 94 <= len(candles) <= 97
        assert starts == sorted(starts, reverse=True)
        assert 245 <= (until_ms + OFFSET_MS) / 1000 - starts[0] <= 405


@pytest.mark.costly
@pytest.mark.parametrize("period_s", [60, 300, 900])
def test_candle_rows_are_the_ticks_as_open_close_high_low(period_s: int) -> None:
    candles = rows(recent(period_s), "candles")[:40]

    begin_ms = int(candles[-1][0]) * 1000 - OFFSET_MS
    expected = plain_candles(begin_ms, UNTIL_MS, period_s)

    assert [tuple(row[1:]) for row in candles] == [expected[int(row[0])] for row in candles]


def test_candles_agree_with_the_raw_ticks_where_they_overlap() -> None:
    payload = recent()
    history = rows(payload, "history")
    buckets: dict[int, list[float]] = {}
    for at, price in history:
        buckets.setdefault(int(at // 60 * 60), []).append(price)
    full = {start: p for start, p in buckets.items() if start > history[0][0]}

    overlap = [row for row in rows(payload, "candles") if int(row[0]) in full]

    assert len(overlap) >= 5
    for start, *prices in overlap:
        p = full[int(start)]
        assert prices == [p[0], p[-1], max(p), min(p)]


def test_earlier_history_is_150_ascending_objects_that_end_with_the_oldest_candle() -> None:
    oldest = rows(recent(), "candles")[-1]

    payload = earlier_history(market(), period_s=60, last_start_s=int(oldest[0]), index=77, offset_ms=OFFSET_MS)

    data = payload["data"]
    assert isinstance(data, list)
    assert (payload["asset"], payload["index"], payload["period"]) == ("EURGBP_otc", 77, 60)
    assert len(data) == 150
    assert [row["time"] for row in data] == list(range(int(oldest[0]) - 149 * 60, int(oldest[0]) + 1, 60))
    last = data[-1]
    assert [last["time"], last["open"], last["close"], last["high"], last["low"]] == list(oldest)
    assert list(last) == ["symbol_id", "time", "open", "close", "high", "low"]


@pytest.mark.costly
@pytest.mark.parametrize("period_s", [3_600, 14_400])
def test_long_candles_reach_far_back_without_being_wrong(period_s: int) -> None:
    candles = rows(recent(period_s), "candles")

    assert 94 <= len(candles) <= 97
    for start, opened, closed, high, low in candles:
        assert start % period_s == 0
        assert low <= min(opened, closed) <= max(opened, closed) <= high
    newest = candles[0]
    begin_ms = int(newest[0]) * 1000 - OFFSET_MS
    expected = plain_candles(begin_ms, begin_ms + period_s * 1000, period_s)
    assert tuple(newest[1:]) == expected[int(newest[0])]


def test_no_candle_under_way_is_given() -> None:
    for period_s in (60, 300, 3600):
        for last_ms in range(UNTIL_MS, UNTIL_MS + 400_000, 13_331):
            assert newest_start_s(last_ms, period_s, salt=last_ms) + period_s <= last_ms // 1000


def test_a_minute_without_ticks_has_no_row() -> None:
    quiet = market()
    minute_ms = (UNTIL_MS - 600_000) // 60_000 * 60_000
    quiet.pause(minute_ms)
    quiet.resume(minute_ms + 60_000)

    payload = recent_history(
        quiet, period_s=60, until_ms=UNTIL_MS, depth_ms=760_000, max_ticks=50_000, offset_ms=OFFSET_MS
    )

    starts = {row[0] for row in rows(payload, "candles")}
    assert (minute_ms + OFFSET_MS) // 1000 not in starts
    assert (minute_ms + OFFSET_MS) // 1000 + 60 in starts


def test_seconds_have_at_most_three_decimals_and_may_be_integers() -> None:
    assert seconds(1_756_866_775_000) == 1_756_866_775
    assert isinstance(seconds(1_756_866_775_000), int)
    assert seconds(1_756_866_774_962) == 1_756_866_774.962
