"""What a reader asks for by name, and how its feed begins."""

from __future__ import annotations

import asyncio

import pytest

from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.bridge.web.feed import SharedFeed
from fluxcap.bridge.web.positions import encode_positions
from fluxcap.bridge.web.reader import CandleReader, ReaderTarget
from fluxcap.bridge.web.readers import FeedRequest, Readers, open_feed, parse_feed, parse_stream
from fluxcap.schemas.errors import ConfigError, NotAnswering
from fluxcap.schemas.types import StreamKey
from tests.support.wire.event_reader import EventParser
from tests.support.wire.memory_server import MemoryConnection, MemoryServer, MemoryTransport
from tests.support.wire.samples import candle

KEY, OTHER = StreamKey("DESK", "EUR/USD OTC", "1m"), StreamKey("DESK", "GBPUSD_otc", "5m")


def test_a_stream_is_named_by_source_symbol_and_interval() -> None:
    assert parse_stream("DESK/EUR/USD OTC/1m") == KEY


@pytest.mark.parametrize("text", ["", "DESK", "DESK/A", "DESK/A/", "DESK/A/1x", "/A/1m", "DESK//1m", "D/" + "A" * 300])
def test_what_names_no_stream_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_stream(text)


def test_watched_streams_may_be_any_of_a_kind() -> None:
    wanted = parse_feed(["DESK/GBPUSD_otc/5m"], ["DESK/*/1m", "DESK/GBPUSD_otc/5m"], 10, "id")

    assert wanted == FeedRequest((OTHER,), (OTHER,), (StreamKey("DESK", "*", "1m"),), 10, "id")
    assert wanted.matching([KEY, OTHER]) == [KEY]
    assert parse_feed([], ["*"], 0, "").matching([KEY, OTHER]) == [KEY, OTHER]


def test_a_feed_of_nothing_or_of_too_much_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        parse_feed([], [], 0, "")
    with pytest.raises(ConfigError, match="200 streams"):
        parse_feed([f"D/S{number}/1m" for number in range(201)], [], 0, "")
    with pytest.raises(ConfigError):
        parse_feed([], ["*/1m"], 0, "")


class Bench:
    def __init__(self) -> None:
        self.server = MemoryServer([KEY, OTHER])
        self.server.publish(KEY, [candle(minute, 1.5) for minute in range(1, 11)])
        self.pages = CandleReader(ReaderTarget("", ""), lambda: MemoryConnection(self.server))  # type: ignore[arg-type, return-value]
        self.feed = SharedFeed(MemoryTransport(self.server), ("", ""), 10**9, lambda: 0)

    def opening(self, wanted: FeedRequest) -> tuple[list[tuple[str, object]], str]:
        _, _, opening = open_feed(wanted, self.pages, self.feed)
        parser = EventParser()
        return parser.feed(opening), parser.last_event_id


def test_a_feed_begins_where_the_stream_stands_with_its_newest_candles() -> None:
    events, event_id = Bench().opening(FeedRequest((KEY, OTHER), last=3))

    told = [data for kind, data in events if kind == "snapshot"]
    assert [kind for kind, _ in events] == ["start", "snapshot", "snapshot", "ready"]
    assert [(len(data["candles"]), data["sequences"]) for data in told] == [(3, [8, 9, 10]), (0, [])]  # type: ignore[index]
    assert event_id == encode_positions(
        [KEY, OTHER], {KEY: Cursor("store-1", 10, 600_000, 0), OTHER: Cursor("store-1", 0, 0, 0)}
    )


def test_a_reader_that_comes_again_is_not_begun_anew() -> None:
    event_id = encode_positions([KEY], {KEY: Cursor("store-1", 4, 240_000, 0)})

    events, last = Bench().opening(FeedRequest((KEY,), last=3, event_id=event_id))

    assert [kind for kind, _ in events] == ["start", "ready"]
    assert last == event_id


def test_an_id_of_another_store_is_a_reset_of_its_stream_alone() -> None:
    positions = {KEY: Cursor("an older one", 4, 240_000, 0), OTHER: Cursor("store-1", 0, 0, 0)}

    events, _ = Bench().opening(FeedRequest((KEY, OTHER), last=3, event_id=encode_positions([KEY, OTHER], positions)))

    assert [(kind, data["stream"]) for kind, data in events if kind in ("reset", "snapshot")] == [  # type: ignore[index]
        ("reset", "DESK/EUR/USD OTC/1m"),
        ("snapshot", "DESK/EUR/USD OTC/1m"),
    ]


def test_a_server_that_is_away_is_an_end_that_a_browser_comes_back_from() -> None:
    readers = Readers(lambda: ReaderTarget("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"))
    readers.close()

    async def told() -> bytes:
        return b"".join([chunk async for chunk in await readers.join(FeedRequest((KEY,)))])

    assert EventParser().feed(asyncio.run(told())) == [("end", {"reason": "This server is stopping."})]
    with pytest.raises(NotAnswering):
        _ = readers.reader


def test_a_server_that_moved_is_asked_at_its_new_place() -> None:
    targets = [ReaderTarget("tcp://127.0.0.1:1", "tcp://127.0.0.1:2")] * 2
    targets.append(ReaderTarget("tcp://127.0.0.1:3", "tcp://127.0.0.1:4"))
    readers = Readers(lambda: targets.pop(0))

    first, same, moved = readers.reader, readers.reader, readers.reader

    assert first is same
    assert moved is not first
    readers.close()
