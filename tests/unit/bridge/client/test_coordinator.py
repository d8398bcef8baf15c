"""fluxcap.bridge.client.coordinator: a turn judges, asks, stores, then tells. Over a scripted transport: the seam
holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pytest

from fluxcap.bridge.client.cache import Append, Change, NoCache
from fluxcap.bridge.client.committer import RETRY_NS
from fluxcap.bridge.client.coordinator import Coordinator
from fluxcap.bridge.client.events import Candles, CaughtUp, Event, Forming, HealthChanged
from fluxcap.bridge.client.health import HealthState
from fluxcap.bridge.client.receiver.actions import Cursor, StartFrom
from fluxcap.bridge.transport.base import (
    Connected,
    Disconnected,
    MalformedMessage,
    MessageReceived,
    ReplyReceived,
    RequestFailed,
    TransportEvent,
)
from fluxcap.bridge.transport.requests import MAX_IN_FLIGHT
from fluxcap.schemas.errors import CodecError, StoreFull, WireError, WireTimeout
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    CandleArray,
    CandleBatch,
    GetCursorRequest,
    GetCursorResponse,
    Message,
    StreamKey,
    StreamStatus,
    StreamStatusRequest,
)

KEY = StreamKey("SIM", "EURUSD", "1s")


def candles(start: int, count: int) -> CandleArray:
    rows = np.zeros(count, CANDLE_DTYPE)
    rows["ts_ms"] = 1_000 * np.arange(start, start + count)
    return rows


class Script:
    """A transport that does what it is told."""

    def __init__(self) -> None:
        self.coming: list[TransportEvent] = []
        self.later: list[list[TransportEvent]] = []
        """What comes with the looks after the next one."""
        self.looks = 0
        self.asked: dict[int, Message] = {}
        self.topics: set[bytes] = set()

    def connect(self, pub: str | None, rep: str) -> None: ...
    def subscribe(self, topics: Iterable[bytes]) -> None:
        self.topics |= set(topics)

    def unsubscribe(self, topics: Iterable[bytes]) -> None:
        self.topics -= set(topics)

    def request(self, request_id: int, message: Message, timeout_ns: int) -> None:
        assert request_id not in self.asked
        self.asked[request_id] = message

    def receive(self, timeout_ms: int) -> list[TransportEvent]:
        self.looks += 1
        coming, self.coming = self.coming, self.later.pop(0) if self.later else []
        return coming

    def wake(self) -> None: ...
    def close(self) -> None: ...


class Recorder(NoCache):
    """Notes what is merged and what was told, in one order."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[object] = []
        self.full = False

    def commit(self, changes: Sequence[Change], cursors: Mapping[StreamKey, Cursor]) -> None:
        if self.full:
            raise StoreFull("no space")
        super().commit(changes, cursors)
        self.order.append(("stored", [len(c.candles) for c in changes if isinstance(c, Append)], dict(cursors)))


class Bench:
    def __init__(self, *, is_durable: bool = False) -> None:
        self.script, self.cache, self.now_ns = Script(), Recorder(), 0
        self.coordinator = Coordinator(
            self.script,
            self.cache,
            self.emit,
            clock_ns=lambda: self.now_ns,
            random=lambda: 0.5,
            forming=True,
            page_limit=100,
            request_timeout_ns=10**9,
            is_durable=is_durable,
        )

    def emit(self, events: list[Event]) -> None:
        self.cache.order += events

    def turn(self, *coming: TransportEvent) -> list[object]:
        self.script.coming += coming
        self.cache.order.clear()
        self.coordinator.run_once(0)
        return list(self.cache.order)

    def last_request(self) -> tuple[int, Message]:
        return max(self.script.asked.items())


def status(latest: int, key: StreamKey = KEY) -> StreamStatus:
    return StreamStatus(key, latest, 1_000 * latest, 0, 1, "a", 0, 4)


def caught_up(latest: int, *, is_durable: bool = False) -> Bench:
    bench = Bench(is_durable=is_durable)
    bench.coordinator.add(KEY, StartFrom.LATEST)
    bench.turn(Connected())
    bench.turn(ReplyReceived(bench.last_request()[0], status(latest)))
    return bench


def batch(start: int) -> MessageReceived:
    return MessageReceived(KEY.topic(), CandleBatch(KEY, start, candles(start, 1)))


def test_a_stream_subscribes_to_its_topics_and_asks_for_its_status_once_connected() -> None:
    bench = Bench()
    bench.coordinator.add(KEY, StartFrom.RESUME)

    bench.turn()
    assert bench.script.asked == {}
    bench.turn(Connected())

    assert bench.script.topics == {KEY.topic(kind) for kind in ("candles", "status", "forming", "revisions")}
    assert bench.last_request()[1] == StreamStatusRequest(KEY)


def test_what_is_told_was_stored_before() -> None:
    bench = caught_up(4)

    order = bench.turn(batch(5))

    stored = order.index(("stored", [1], {KEY: Cursor("a", 5, 5_000, 0)}))
    told = next(place for place, item in enumerate(order) if isinstance(item, Candles))
    assert stored < told


def test_what_comes_in_one_turn_is_stored_in_one_transaction() -> None:
    bench = caught_up(4)

    order = bench.turn(batch(5), batch(6), batch(7))

    assert [item for item in order if isinstance(item, tuple)] == [
        ("stored", [1, 1, 1], {KEY: Cursor("a", 7, 7_000, 0)})
    ]


def stored(order: list[object]) -> list[list[int]]:
    """How many candles each transaction took in, of each batch."""
    return [item[1] for item in order if isinstance(item, tuple)]


def test_a_commit_to_disk_waits_for_what_follows_closely() -> None:
    bench = caught_up(4, is_durable=True)
    bench.coordinator.add(StreamKey("SIM", "GBPUSD", "1s"), StartFrom.LATEST)
    bench.script.later = [[batch(6)], [batch(7)]]

    order = bench.turn(batch(5))

    assert stored(order) == [[1, 1, 1]]


def test_a_commit_to_disk_waits_no_longer_once_every_stream_has_something_to_store() -> None:
    other = StreamKey("SIM", "GBPUSD", "1s")
    bench = caught_up(4, is_durable=True)
    bench.coordinator.add(other, StartFrom.LATEST)
    bench.turn()
    bench.turn(ReplyReceived(bench.last_request()[0], status(4, other)))
    bench.script.later = [[MessageReceived(other.topic(), CandleBatch(other, 5, candles(5, 1)))], [batch(6)]]
    bench.script.looks = 0

    order = bench.turn(batch(5))

    assert (bench.script.looks, stored(order)) == (2, [[1, 1]])


def test_a_commit_to_disk_does_not_wait_without_end() -> None:
    bench = caught_up(4, is_durable=True)
    bench.coordinator.add(StreamKey("SIM", "GBPUSD", "1s"), StartFrom.LATEST)
    bench.script.later = [[batch(number)] for number in range(6, 60)]
    look = bench.script.receive

    def slowly(timeout_ms: int) -> list[TransportEvent]:
        bench.now_ns += 5_000_000
        return look(timeout_ms)

    bench.script.receive = slowly  # type: ignore[method-assign]
    order = bench.turn(batch(5))

    assert stored(order) == [[1] * 5]


@pytest.mark.parametrize(("is_durable", "streams"), [(False, 2), (True, 1)])
def test_nobody_waits_where_a_commit_takes_no_time_or_one_stream_is_all(is_durable: bool, streams: int) -> None:
    bench = caught_up(4, is_durable=is_durable)
    if streams == 2:
        bench.coordinator.add(StreamKey("SIM", "GBPUSD", "1s"), StartFrom.LATEST)
    bench.script.looks = 0
    bench.script.later = [[batch(6)]]

    order = bench.turn(batch(5))

    assert (bench.script.looks, stored(order)) == (1, [[1]])


def test_nothing_is_told_of_what_could_not_be_stored() -> None:
    bench = caught_up(4)
    bench.cache.full = True

    told = bench.turn(batch(5)) + bench.turn()

    assert {type(item) for item in told} == {HealthChanged}
    health = told[-1].health  # type: ignore[attr-defined]
    assert (health.state, health.reason) == (HealthState.STALLED, "no space")


def test_when_there_is_room_again_it_goes_on_in_order_with_what_passed_meanwhile() -> None:
    bench = caught_up(4)
    bench.cache.full = True
    bench.turn(batch(5))
    bench.now_ns += 500_000_000
    bench.turn(batch(6), batch(7))
    bench.cache.full = False
    assert [item for item in bench.turn() if isinstance(item, tuple)] == []  # tried again each second only

    bench.now_ns += 600_000_000
    stored = [item for item in bench.turn() if isinstance(item, tuple)]
    bench.turn(MessageReceived(KEY.topic("status"), status(7)))
    number, request = bench.last_request()
    after = bench.turn(ReplyReceived(number, BackfillCandlesResponse(KEY, 6, candles(6, 2), False, 8)))

    assert stored == [("stored", [1], {KEY: Cursor("a", 5, 5_000, 0)})]
    assert request == BackfillCandlesRequest(KEY, 5, None, 2)
    assert [item.start_sequence for item in after if isinstance(item, Candles)] == [6]
    assert bench.coordinator.health(KEY).reason != "no space"  # type: ignore[union-attr]


def test_a_stream_left_and_taken_up_again_on_a_full_disk_is_stored_once() -> None:
    bench = caught_up(4)
    bench.turn(batch(5))
    bench.cache.full = True
    bench.turn(batch(6))

    bench.coordinator.remove(KEY)
    bench.coordinator.add(KEY, StartFrom.RESUME)
    bench.cache.full = False
    bench.now_ns += RETRY_NS
    order = bench.turn()
    order += bench.turn(ReplyReceived(bench.last_request()[0], status(6)))
    newest = BackfillCandlesResponse(KEY, 5, candles(5, 1), True, 6)
    order += bench.turn(ReplyReceived(bench.last_request()[0], newest))
    after = bench.last_request()[1]
    order += bench.turn(
        ReplyReceived(bench.last_request()[0], BackfillCandlesResponse(KEY, 6, candles(6, 1), False, 7))
    )

    assert after == BackfillCandlesRequest(KEY, 5, None, 1)
    assert [item for item in order if isinstance(item, tuple)] == [("stored", [1], {KEY: Cursor("a", 6, 6_000, 0)})]
    assert [item.start_sequence for item in order if isinstance(item, Candles)] == [6]


def test_an_answer_that_comes_while_nothing_can_be_stored_is_asked_for_again() -> None:
    bench = caught_up(4)
    bench.turn(MessageReceived(KEY.topic("status"), status(9)))
    number, request = bench.last_request()
    bench.cache.full = True
    bench.turn(batch(5))

    bench.turn(ReplyReceived(number, BackfillCandlesResponse(KEY, 5, candles(5, 5), False, 10)))
    bench.cache.full = False
    bench.now_ns += 2_000_000_000
    bench.turn()
    bench.turn(ReplyReceived(bench.last_request()[0], status(9)))

    assert request == BackfillCandlesRequest(KEY, 4, None, 5)
    assert bench.last_request()[1] == BackfillCandlesRequest(KEY, 5, None, 4)


def old_server(latest: int) -> Bench:
    """Caught up with one that knows version 1 alone."""
    bench = Bench()
    bench.coordinator.add(KEY, StartFrom.LATEST)
    bench.turn(Connected())
    bench.turn(RequestFailed(bench.last_request()[0], WireError(400, "unsupported")))
    bench.now_ns += 60_000_000
    bench.turn()
    number, request = bench.last_request()
    assert request == GetCursorRequest(KEY)
    bench.turn(ReplyReceived(number, GetCursorResponse(KEY, latest, 1_000 * latest)))
    return bench


def test_of_a_server_that_knows_no_status_the_cursor_is_asked_each_second() -> None:
    bench = old_server(4)
    bench.turn()
    asked = len(bench.script.asked)

    bench.now_ns += 1_100_000_000
    bench.turn()
    bench.turn()
    number, request = bench.last_request()
    bench.turn(ReplyReceived(number, GetCursorResponse(KEY, 6, 6_000)))

    assert len(bench.script.asked) == asked + 2
    assert request == GetCursorRequest(KEY)
    assert bench.last_request()[1] == BackfillCandlesRequest(KEY, 4, None, 2)


def test_a_poll_that_fails_disturbs_no_request_and_is_made_again() -> None:
    bench = old_server(4)
    bench.turn(batch(7))
    fetching, request = bench.last_request()
    bench.now_ns += 1_100_000_000
    bench.turn()
    bench.turn(RequestFailed(bench.last_request()[0], WireTimeout("late")))
    after = bench.turn(ReplyReceived(fetching, BackfillCandlesResponse(KEY, 5, candles(5, 2), True, 7)))
    bench.now_ns += 1_100_000_000
    bench.turn()

    assert request == BackfillCandlesRequest(KEY, 4, None, 2)
    assert [item.start_sequence for item in after if isinstance(item, Candles)] == [5, 7]
    assert bench.last_request()[1] == GetCursorRequest(KEY)


def test_a_heartbeat_or_a_new_connection_ends_the_polling() -> None:
    bench = old_server(4)
    bench.turn(MessageReceived(KEY.topic("status"), status(4)))
    asked = len(bench.script.asked)

    bench.now_ns += 5_000_000_000
    bench.turn()
    quiet = len(bench.script.asked)
    bench.turn(Disconnected("gone"), Connected())

    assert quiet == asked
    assert bench.last_request()[1] == StreamStatusRequest(KEY)


def test_the_next_page_is_asked_for_before_this_one_is_stored() -> None:
    bench = Bench()
    bench.coordinator.add(KEY, StartFrom.RESUME)
    bench.turn(Connected())
    bench.turn(ReplyReceived(bench.last_request()[0], status(150)))
    number, first = bench.last_request()
    assert first == BackfillCandlesRequest(KEY, 0, None, 100)
    asked_when_stored: list[Message] = []
    bench.cache.commit = lambda changes, cursors: asked_when_stored.append(bench.last_request()[1])  # type: ignore[method-assign]

    bench.turn(ReplyReceived(number, BackfillCandlesResponse(KEY, 1, candles(1, 100), True, 101)))

    assert asked_when_stored == [BackfillCandlesRequest(KEY, 100, None, 50)]


@pytest.mark.costly
def test_a_thousand_streams_do_not_bury_the_server_with_requests() -> None:
    bench = Bench()
    keys = [StreamKey("SIM", f"S{n}", "1s") for n in range(1_000)]
    for key in keys:
        bench.coordinator.add(key, StartFrom.RESUME)

    bench.turn(Connected())
    assert len(bench.script.asked) == MAX_IN_FLIGHT
    bench.turn(*(ReplyReceived(n, status(0, m.key)) for n, m in bench.script.asked.items()))  # type: ignore[union-attr]

    assert len(bench.script.asked) == 2 * MAX_IN_FLIGHT


def test_an_alarm_asks_again_after_the_backoff() -> None:
    bench = caught_up(4)
    bench.turn(MessageReceived(KEY.topic("status"), status(5)))
    number, _ = bench.last_request()
    bench.turn(RequestFailed(number, WireError(500, "no")))
    assert bench.last_request()[0] == number

    bench.now_ns += 60_000_000
    bench.turn()

    assert bench.last_request()[1] == StreamStatusRequest(KEY)


def test_messages_of_other_streams_and_of_the_wrong_kind_are_dropped() -> None:
    bench = caught_up(4)
    other = StreamKey("SIM", "EURUSD", "1m")

    order = bench.turn(
        MessageReceived(other.topic(), CandleBatch(other, 5, candles(5, 1))),
        MessageReceived(KEY.topic(), CandleBatch(other, 5, candles(5, 1))),
        MessageReceived(KEY.topic(), status(9)),
        MessageReceived(KEY.topic() + b"x", CandleBatch(KEY, 5, candles(5, 1))),
        MalformedMessage(CodecError("noise")),
    )

    assert [item for item in order if isinstance(item, Candles)] == []
    assert bench.coordinator.counters["garbled"] == 3


def test_an_answer_of_the_wrong_kind_counts_as_none() -> None:
    bench = caught_up(4)
    bench.turn(MessageReceived(KEY.topic("status"), status(5)))

    bench.turn(ReplyReceived(bench.last_request()[0], CandleBatch(KEY, 5, candles(5, 1))))

    assert bench.coordinator.counters["garbled"] == 1
    assert bench.coordinator.receiver(KEY).wake_ns is not None  # type: ignore[union-attr]


def test_caught_up_is_said_once_per_connection() -> None:
    bench = caught_up(4)

    again = bench.turn(batch(5), Disconnected("gone"), Connected())
    number, _ = bench.last_request()
    once_more = bench.turn(ReplyReceived(number, status(5)))

    assert not any(isinstance(item, CaughtUp) for item in again)
    assert [item for item in once_more if isinstance(item, CaughtUp)] == [CaughtUp(KEY, 5)]


def test_a_candle_under_way_is_told_but_never_stored() -> None:
    bench = caught_up(4)

    order = bench.turn(MessageReceived(KEY.topic("forming"), CandleBatch(KEY, 0, candles(5, 1))))

    assert [type(item) for item in order if not isinstance(item, HealthChanged)] == [Forming]


def test_a_stream_that_was_left_is_silent() -> None:
    bench = caught_up(4)

    bench.coordinator.remove(KEY)

    assert bench.script.topics == set()
    assert bench.turn(batch(5)) == []
    assert bench.coordinator.health(KEY) is None


def test_a_start_that_is_no_resume_begins_the_cache_anew() -> None:
    bench = Bench()
    bench.cache.commit([], {KEY: Cursor("a", 9, 9_000, 0)})

    bench.coordinator.add(KEY, 3)
    bench.turn(Connected())
    bench.turn(ReplyReceived(bench.last_request()[0], status(20)))

    assert bench.last_request()[1] == BackfillCandlesRequest(KEY, 2, None, 18)
