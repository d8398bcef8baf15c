"""Events as bytes: the id comes with what moves a position, and only when all before it is sent."""

from __future__ import annotations

import numpy as np

from fluxcap.bridge.client.events import Candles, CaughtUp, Event, Forming, Gap, HealthChanged, Revision, StoreReplaced
from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.bridge.web.event_writer import EventWriter, StoreKnown
from fluxcap.bridge.web.positions import decode_positions
from fluxcap.schemas.types import FeedState
from tests.support.wire.event_reader import EventParser
from tests.support.wire.samples import EURUSD, GBPUSD, candle, candle_rows

NAME = f"{EURUSD.source_id}/{EURUSD.symbol}/1m"


def writer() -> EventWriter:
    return EventWriter([EURUSD], {EURUSD: Cursor("store", 4, 240_000, 1)}, [GBPUSD])


def candles(start: int, count: int = 1) -> Candles:
    return Candles(EURUSD, start, candle_rows(start, count), is_backfill=False)


def position_of(written: bytes) -> Cursor | None:
    parser = EventParser()
    parser.feed(written)
    return decode_positions(parser.last_event_id, [EURUSD]).get(EURUSD)


def test_the_id_comes_with_the_last_event_that_moves_a_position() -> None:
    health = HealthChanged(EURUSD, Health(HealthState.RECEIVING, "", 300_000_000, FeedState.LIVE))

    written = writer().write([candles(5, 2), Forming(EURUSD, candle(7, 1.5)), candles(7), health])

    blocks = written.split(b"\n\n")[:-1]
    assert [block.startswith(b"id: ") for block in blocks] == [False, False, True, False]
    assert position_of(written) == Cursor("store", 7, 7 * 60_000, 1)


def test_what_moves_no_position_carries_no_id() -> None:
    written = writer().write([Forming(EURUSD, candle(7, 1.5)), CaughtUp(EURUSD, 4)])

    assert b"id:" not in written


def test_a_revision_and_a_gap_move_the_position() -> None:
    ours = writer()

    revised = ours.write([Revision(EURUSD, 2, np.array([3], np.uint64), candle_rows(3, 1))])
    passed = ours.write([Gap(EURUSD, 5, 9, "too old")])

    assert position_of(revised) == Cursor("store", 4, 240_000, 2)
    assert position_of(passed) == Cursor("store", 9, 0, 2)


def test_a_store_that_is_known_late_is_part_of_the_position_before_its_candles() -> None:
    ours = EventWriter([EURUSD], {})

    written = ours.write([StoreKnown(EURUSD, "store"), candles(1)])  # type: ignore[list-item]

    assert position_of(written) == Cursor("store", 1, 60_000, 0)


def test_after_another_store_the_stream_is_to_be_begun_and_nothing_more_is_written() -> None:
    ours = writer()

    written = ours.write([candles(5), StoreReplaced(EURUSD, "other", "why"), candles(1)])

    kinds = [kind for kind, _ in EventParser().feed(written)]
    assert kinds == ["candles", "reset"]
    assert ours.replaced
    assert position_of(written) is None


def test_of_watched_streams_the_newest_price_and_the_state_are_told() -> None:
    ours = writer()
    stalled = HealthChanged(GBPUSD, Health(HealthState.STALLED, "server up, no browser", None, FeedState.NO_BROWSER))
    events: list[Event] = [
        Forming(GBPUSD, candle(9, 1.25)),
        Candles(GBPUSD, 8, candle_rows(8, 1), is_backfill=False),
        stalled,
    ]

    told = dict(EventParser().feed(ours.write(events)))

    name = f"{GBPUSD.source_id}/{GBPUSD.symbol}/{GBPUSD.interval}"
    assert told["prices"] == {name: [1.25, 9 * 60_000]}
    assert told["state"] == {
        "stream": name,
        "state": "stalled",
        "label": "Stale",
        "reason": "server up, no browser",
        "feed_state": "no_browser",
        "age_ms": None,
    }
    assert told.keys() == {"prices", "state"}


def test_a_candle_is_a_list_of_the_fields_that_the_first_event_names() -> None:
    told = dict(EventParser().feed(writer().start() + writer().write([candles(5)])))

    row = dict(zip(told["start"]["candle"], told["candles"]["candles"][0], strict=True))
    assert (told["candles"]["sequence"], told["candles"]["backfill"]) == (5, False)
    assert row["ts_ms"] == 5 * 60_000
    assert row.keys() == {"ts_ms", "open", "high", "low", "close", "volume", "tick_count", "flags"}
    assert told["start"]["streams"] == [{"stream": NAME, "store_id": "store", "sequence": 4, "revision": 1}]
