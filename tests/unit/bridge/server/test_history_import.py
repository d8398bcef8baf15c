"""Collected candles as streams of their own: every rule of a stream, and the live ones untouched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap.bridge.server.history_import import ImportResult, import_candles
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.server.timeframes import Timeframes
from fluxcap.schemas.errors import ConfigError, SequenceError
from fluxcap.schemas.types import Candle, CandleFlags, StreamKey, candles_from

HOUR = 3_600_000
T0 = 1_700_006_400_000
KEY = StreamKey("S", "EURUSD_otc", "1h")
FREE = "tcp://127.0.0.1:0"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WireServer]:
    with WireServer(tmp_path / "s.duckdb", FREE, FREE) as server:
        yield server


def hours(first: int, last: int, price: float = 1.5) -> list[Candle]:
    return [Candle(T0 + n * HOUR, price, price, price, price) for n in range(first, last + 1)]


def stream(server: WireServer) -> list[Candle]:
    return list(candles_from(server.store.reader().page(KEY, 0, None, 1_000).candles))


def test_collected_candles_are_numbered_from_1_and_say_where_they_come_from(server: WireServer):
    assert import_candles(server, KEY, hours(0, 4)) == ImportResult(5, 0)

    assert [candle.ts_ms for candle in stream(server)] == [T0 + n * HOUR for n in range(5)]
    assert {candle.flags for candle in stream(server)} == {int(CandleFlags.FILLED)}
    assert server.watermark(KEY).latest_sequence == 5


def test_only_what_is_newer_than_the_watermark_is_published(server: WireServer):
    import_candles(server, KEY, hours(0, 4))

    assert import_candles(server, KEY, hours(2, 6)) == ImportResult(2, 0)
    assert server.watermark(KEY).latest_sequence == 7


def test_the_same_again_changes_nothing(server: WireServer):
    import_candles(server, KEY, hours(0, 4))

    assert import_candles(server, KEY, hours(0, 4)) == ImportResult(0, 0)
    assert server.watermark(KEY).latest_revision == 0


def test_other_prices_of_a_published_hour_are_a_revision(server: WireServer):
    import_candles(server, KEY, hours(0, 4))

    assert import_candles(server, KEY, [*hours(1, 1, 1.7), *hours(5, 5)]) == ImportResult(1, 1)

    revised = stream(server)[1]
    assert (revised.close, revised.flags) == (1.7, int(CandleFlags.FILLED | CandleFlags.REVISED))
    assert import_candles(server, KEY, hours(1, 1, 1.7)) == ImportResult(0, 0)


def test_a_past_that_the_stream_never_had_comes_as_revisions_and_numbers_nothing_again(server: WireServer):
    import_candles(server, KEY, hours(10, 12))

    assert import_candles(server, KEY, hours(5, 12)) == ImportResult(0, 5)
    assert [candle.ts_ms for candle in stream(server)] == [T0 + n * HOUR for n in (10, 11, 12)]
    assert set(server.store.reader().revisions(KEY).sequences.tolist()) == {0}
    assert import_candles(server, KEY, hours(5, 12)) == ImportResult(0, 0)


def test_a_candle_that_the_daemon_made_stands_unless_it_is_blind(tmp_path: Path):
    made = [
        Candle(hour.ts_ms, 1.5, 1.5, 1.5, 1.5, 1.0, 1, flags) for hour, flags in zip(hours(0, 1), (0, 2), strict=True)
    ]
    derived = Timeframes("S", "1m", ("1h",))
    with WireServer(tmp_path / "made.duckdb", FREE, FREE, timeframes=derived) as server:
        server.publish({KEY: made})

        assert import_candles(server, KEY, hours(0, 1, 1.7)) == ImportResult(0, 1)

        assert [candle.close for candle in stream(server)] == [1.5, 1.7]


def test_starts_that_are_no_hours_of_utc_are_left_out(server: WireServer):
    half = [Candle(candle.ts_ms + HOUR // 2, 1.0, 1.0, 1.0, 1.0) for candle in hours(0, 3)]

    assert import_candles(server, KEY, [*half, *hours(1, 1)]) == ImportResult(1, 0)


def test_other_streams_keep_their_numbers(server: WireServer):
    live = StreamKey("S", "EURUSD_otc", "1m")
    server.publish({live: hours(0, 2)})

    import_candles(server, KEY, hours(0, 4))
    server.publish({live: hours(3, 3)})

    assert server.watermark(live).latest_sequence == 4


def test_nothing_is_made_of_nothing(server: WireServer):
    assert import_candles(server, KEY, []) == ImportResult(0, 0)
    assert KEY not in server.status()


def test_what_cannot_be_is_refused_whole(server: WireServer):
    with pytest.raises(SequenceError):
        import_candles(server, KEY, [*hours(0, 1), Candle(T0 + 2 * HOUR, 1.0, float("nan"), 1.0, 1.0)])
    with pytest.raises(ConfigError):
        import_candles(server, StreamKey("S", "EURUSD_otc", "1x"), hours(0, 1))

    assert server.watermark(KEY).latest_sequence == 0
