"""The live client against the real wire server, over real ZeroMQ."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fluxcap import (
    Candle,
    Candles,
    CaughtUp,
    Event,
    Forming,
    Gap,
    HealthChanged,
    HealthState,
    LiveClient,
    Revision,
    SlowConsumer,
    StartFrom,
    StoreReplaced,
    Ticks,
    backfill,
    fetch_status,
    list_streams,
)
from fluxcap.bridge.server.publisher import Publisher
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.transport.curve import ClientCurve, ServerCurve, new_keys
from fluxcap.bridge.transport.zeromq import ZmqTransport
from fluxcap.schemas.errors import ConfigError, StoreLocked, WireError, WireTimeout
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, CandleBatch, FeedState, StreamKey, TickBatch
from tests.support.patience import PATIENCE_S

KEY = StreamKey("SIM", "EURUSD", "1s")
OTHER = StreamKey("SIM", "EURUSD", "15s")
SHORT_S = 0.3


def candles(start: int, count: int) -> CandleArray:
    """Candles that tell their own sequence by their time."""
    rows = np.zeros(count, CANDLE_DTYPE)
    rows["ts_ms"] = 1_000 * np.arange(start, start + count)
    for name in ("open", "high", "low", "close"):
        rows[name] = np.arange(start, start + count)
    return rows


class Mute(Publisher):
    """Loses batches while ``silent``."""

    silent = False

    def batch(self, batch: CandleBatch) -> None:
        if not Mute.silent:
            super().batch(batch)


class Server:
    """A wire server that can be closed and opened again on its endpoints."""

    def __init__(self, folder: Path, pub: str = "tcp://127.0.0.1:0", rep: str = "tcp://127.0.0.1:0") -> None:
        self.wire = WireServer(folder / "server.duckdb", pub, rep, publisher=Mute)
        self.pub, self.rep = self.wire.pub_endpoint, self.wire.rep_endpoint

    def add(self, count: int, key: StreamKey = KEY) -> None:
        start = self.wire.watermark(key).latest_sequence + 1
        self.wire.publish({key: candles(start, count)})

    def beat(self, feed_state: int = FeedState.LIVE) -> None:
        self.wire.heartbeat(1_000_000, lambda _: (feed_state, 0, 0))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "server")
    yield running
    running.wire.close()


def until(client: LiveClient, wanted: Callable[[Event], bool], server: Server | None = None) -> list[Event]:
    """Events up to and with the first that is wanted; heartbeats go out meanwhile."""
    seen: list[Event] = []
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for event in client.events(timeout=SHORT_S):
            seen.append(event)
            if wanted(event):
                return seen
        if server is not None:
            server.beat()
    raise AssertionError(f"it did not come; the last were {seen[-10:]}")


def is_a(*kinds: type[Event]) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, kinds)


def reaches(sequence: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Candles) and event.end_sequence == sequence


def sequences(events: list[Event], key: StreamKey = KEY) -> list[int]:
    return [
        sequence
        for event in events
        if isinstance(event, Candles) and event.key == key
        for sequence in range(event.start_sequence, event.end_sequence + 1)
    ]


def test_history_then_live_in_one_unbroken_sequence(server: Server, tmp_path: Path) -> None:
    server.add(25_000)
    with LiveClient(server.pub, server.rep, tmp_path, streams=[KEY]) as client:
        events = until(client, is_a(CaughtUp))
        server.add(1)
        events += until(client, reaches(25_001), server)
        table = client.candles(KEY)

    assert sequences(events) == list(range(1, 25_002))
    assert table[0].tolist() == list(range(1, 25_002))
    assert table[1].tobytes() == candles(1, 25_001).tobytes()


def test_a_restarted_client_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.add(10)
    with LiveClient(server.pub, server.rep, tmp_path, streams=[KEY]) as client:
        until(client, is_a(CaughtUp))
    server.add(5)

    with LiveClient(server.pub, server.rep, tmp_path, streams=[KEY]) as client:
        events = until(client, is_a(CaughtUp))

    assert sequences(events) == [11, 12, 13, 14, 15]


def test_a_lost_last_batch_is_noticed_by_the_next_heartbeat(server: Server) -> None:
    server.add(3)
    with LiveClient(server.pub, server.rep, streams=[KEY]) as client:
        until(client, is_a(CaughtUp))
        Mute.silent = True
        server.add(1)
        Mute.silent = False
        events = until(client, reaches(4), server)

    assert [event.is_backfill for event in events if isinstance(event, Candles)] == [True]


def test_streams_share_one_pair_of_sockets_and_come_and_go(server: Server) -> None:
    server.add(2)
    server.add(3, OTHER)
    with LiveClient(server.pub, server.rep, streams=[KEY]) as client:
        until(client, is_a(CaughtUp))
        client.subscribe(OTHER)
        events = until(client, lambda event: isinstance(event, CaughtUp) and event.key == OTHER)
        client.unsubscribe(KEY)
        server.add(1)
        server.add(1, OTHER)
        events += until(client, lambda event: isinstance(event, Candles) and event.end_sequence == 4, server)

    assert sequences(events, OTHER) == [1, 2, 3, 4]
    assert sequences(events, KEY) == []


def test_a_server_restart_with_its_store_goes_unnoticed_but_for_health(server: Server, tmp_path: Path) -> None:
    server.add(3)
    with LiveClient(server.pub, server.rep, streams=[KEY]) as client:
        until(client, is_a(CaughtUp))
        server.wire.close()
        events = until(client, is_a(HealthChanged))
        again = Server(tmp_path / "server", server.pub, server.rep)
        again.add(2)
        events += until(client, reaches(5))
        again.wire.close()

    states = [event.health.state for event in events if isinstance(event, HealthChanged)]
    assert states[0] is HealthState.DISCONNECTED
    assert sequences(events) == [4, 5]


def test_a_store_created_anew_starts_the_stream_over(server: Server, tmp_path: Path) -> None:
    server.add(30)
    with LiveClient(server.pub, server.rep, tmp_path / "client", streams=[KEY]) as client:
        until(client, is_a(CaughtUp))
        server.wire.close()
        other = Server(tmp_path / "other", server.pub, server.rep)
        other.add(4)
        events = until(client, is_a(CaughtUp))
        table = client.candles(KEY)[0].tolist()
        other.wire.close()

    assert any(isinstance(event, StoreReplaced) for event in events)
    assert sequences(events) == [1, 2, 3, 4]
    assert table == [1, 2, 3, 4]


def test_another_address_is_another_server(server: Server, tmp_path: Path) -> None:
    server.add(3)
    other = Server(tmp_path / "other")
    other.add(7)
    with LiveClient(server.pub, server.rep, streams=[KEY]) as client:
        until(client, is_a(CaughtUp))
        client.reconnect(other.pub, other.rep)
        events = until(client, is_a(CaughtUp))
        with pytest.raises(ConfigError, match="no endpoint"):
            client.reconnect("nonsense", other.rep)
    other.wire.close()

    assert sequences(events) == [1, 2, 3, 4, 5, 6, 7]


def test_with_one_address_of_two_there_is_no_server(server: Server) -> None:
    with contextlib.closing(ZmqTransport()) as transport:
        with pytest.raises(ConfigError, match="no endpoint"):
            transport.connect("nonsense", server.rep)

        assert transport._links() == []


def test_revisions_reach_table_and_consumer(server: Server, tmp_path: Path) -> None:
    server.add(5)
    with LiveClient(server.pub, server.rep, tmp_path, streams=[KEY]) as client:
        until(client, is_a(CaughtUp))
        better = candles(2, 1)
        better["high"] = 99.0
        server.wire.revise({KEY: better})
        event = until(client, is_a(Revision), server)[-1]
        table = client.candles(KEY)[1]

    assert isinstance(event, Revision)
    assert event.sequences.tolist() == [2]
    assert table["high"].tolist() == [1.0, 99.0, 3.0, 4.0, 5.0]
    assert table["flags"].tolist() == [0, 8, 0, 0, 0]


def test_the_candle_under_way_is_told_and_can_be_left_out(server: Server) -> None:
    server.add(1)
    under_way = Candle(2_000, 1.0, 2.0, 0.5, 1.5, 3.0, 3)
    with (
        LiveClient(server.pub, server.rep, streams=[KEY]) as client,
        LiveClient(server.pub, server.rep, streams=[KEY], forming=False) as without,
    ):
        until(client, is_a(CaughtUp))
        until(without, is_a(CaughtUp))
        server.wire.forming(KEY, under_way, 10**12)
        server.add(1)
        events = until(client, reaches(2), server)
        others = until(without, reaches(2), server)

    assert [event.candle for event in events if isinstance(event, Forming)] == [under_way]
    assert not any(isinstance(event, Forming) for event in others)


def test_ticks_are_told_to_who_asks_for_them(server: Server) -> None:
    server.add(1)
    with (
        LiveClient(server.pub, server.rep, streams=[KEY], ticks=True) as client,
        LiveClient(server.pub, server.rep, streams=[KEY]) as without,
    ):
        until(client, is_a(CaughtUp))
        until(without, is_a(CaughtUp))
        server.wire.ticks(TickBatch(KEY, 7, np.array([1_100, 1_600]), np.array([1.5, 1.25])))
        told = until(client, is_a(Ticks))[-1]
        server.add(1)
        quiet = until(without, is_a(Candles))

    assert isinstance(told, Ticks)
    assert (told.start_sequence, told.ts_ms.tolist(), told.price.tolist()) == (7, [1_100, 1_600], [1.5, 1.25])
    assert not any(isinstance(event, Ticks) for event in quiet)


def test_health_follows_the_servers_feed_and_notices_silence(server: Server) -> None:
    server.add(1)
    with LiveClient(server.pub, server.rep, streams=[KEY]) as client:
        until(client, is_a(CaughtUp))
        server.beat(FeedState.NO_BROWSER)
        no_browser = until(client, lambda e: isinstance(e, HealthChanged) and "browser" in e.health.reason)[-1]
        began = time.monotonic()
        until(client, lambda e: isinstance(e, HealthChanged) and "heartbeat" in e.health.reason)
        noticed_s = time.monotonic() - began

    assert isinstance(no_browser, HealthChanged)
    assert no_browser.health.reason == "server up, no browser"
    assert noticed_s > 1.0


def test_a_stream_that_comes_later_is_awaited(server: Server) -> None:
    with LiveClient(server.pub, server.rep, streams=[KEY]) as client:
        until(client, lambda e: isinstance(e, HealthChanged) and "no such stream" in e.health.reason)
        server.add(2)
        events = until(client, reaches(2), server)

    assert sequences(events) == [1, 2]


def test_a_client_may_be_there_before_its_server(tmp_path: Path) -> None:
    first = Server(tmp_path / "server")
    first.add(2)
    first.wire.close()
    with LiveClient(first.pub, first.rep, streams=[KEY]) as client:
        until(client, lambda e: isinstance(e, HealthChanged) and e.health.state is HealthState.DISCONNECTED)
        again = Server(tmp_path / "server", first.pub, first.rep)
        events = until(client, is_a(CaughtUp))
        again.wire.close()

    assert sequences(events) == [1, 2]


@pytest.mark.parametrize(("start", "expected"), [(StartFrom.LATEST, []), (3, [3, 4, 5]), (-2, [4, 5])])
def test_where_it_begins_can_be_chosen(server: Server, start: StartFrom | int, expected: list[int]) -> None:
    server.add(5)
    with LiveClient(server.pub, server.rep, streams=[KEY], start_from=start) as client:
        events = until(client, is_a(CaughtUp))

    assert sequences(events) == expected


def test_the_three_faces_tell_the_same(server: Server) -> None:
    server.add(12)
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()

    async def listen(client: LiveClient) -> list[Event]:
        seen = []
        async for event in client.stream():
            seen.append(event)
            if isinstance(event, CaughtUp):
                break
        return seen

    with (
        LiveClient(server.pub, server.rep, streams=[KEY], page_limit=5) as one,
        LiveClient(server.pub, server.rep, streams=[KEY], page_limit=5) as two,
        LiveClient(server.pub, server.rep, streams=[KEY], page_limit=5, on_event=heard.put),
    ):
        iterated = until(one, is_a(CaughtUp))
        awaited = asyncio.run(asyncio.wait_for(listen(two), PATIENCE_S))
        called = [heard.get(timeout=PATIENCE_S)]
        while not isinstance(called[-1], CaughtUp):
            called.append(heard.get(timeout=PATIENCE_S))

    assert sequences(iterated) == sequences(awaited) == sequences(called) == list(range(1, 13))


def test_an_async_stream_ends_with_the_client(server: Server) -> None:
    async def all_of(client: LiveClient) -> int:
        threading.Timer(SHORT_S, client.close).start()
        return len([event async for event in client.stream()])

    with LiveClient(server.pub, server.rep, streams=[KEY]) as client:
        assert asyncio.run(asyncio.wait_for(all_of(client), PATIENCE_S)) > 0


def test_what_a_callback_raises_is_logged_and_the_next_event_comes(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.add(1)
    done = threading.Event()

    def on_event(event: Event) -> None:
        if isinstance(event, CaughtUp):
            done.set()
        raise ValueError("a fault of the consumer's")

    with LiveClient(server.pub, server.rep, streams=[KEY], on_event=on_event):
        assert done.wait(PATIENCE_S)

    assert "on_event failed" in caplog.text


def test_a_slow_consumer_may_skip_to_the_latest_while_the_cache_keeps_all(server: Server, tmp_path: Path) -> None:
    server.add(200)
    client = LiveClient(
        server.pub,
        server.rep,
        tmp_path,
        streams=[KEY],
        page_limit=10,
        queue_candles=40,
        slow_consumer=SlowConsumer.SKIP_TO_LATEST,
    )
    with client:
        end = time.monotonic() + PATIENCE_S
        while (client.cursor(KEY) is None or client.cursor(KEY).latest_sequence < 200) and time.monotonic() < end:  # type: ignore[union-attr]
            threading.Event().wait(0.02)
        events = until(client, is_a(CaughtUp))
        kept = len(client.candles(KEY)[0])

    gaps = [event for event in events if isinstance(event, Gap)]
    assert kept == 200
    assert gaps[0].from_sequence == 1
    assert sequences(events)[0] == gaps[-1].to_sequence + 1
    assert sequences(events)[-1] == 200


def test_one_cache_serves_one_client_at_a_time(server: Server, tmp_path: Path) -> None:
    with LiveClient(server.pub, server.rep, tmp_path), pytest.raises(StoreLocked):
        LiveClient(server.pub, server.rep, tmp_path).start()


def test_commands_need_a_running_client(server: Server) -> None:
    client = LiveClient(server.pub, server.rep)

    with pytest.raises(ConfigError, match="not running"):
        client.subscribe(KEY)
    with pytest.raises(ConfigError, match="not subscribed"):
        client.health(KEY)
    with pytest.raises(ConfigError, match="start_from"):
        LiveClient(start_from=0)


def test_keys_are_used_and_a_wrong_one_is_refused_with_a_reason(tmp_path: Path) -> None:
    keys, mine = new_keys(), new_keys()
    with WireServer(tmp_path / "s.duckdb", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0", curve=ServerCurve(keys)) as wire:
        wire.publish({KEY: candles(1, 3)})
        right = ClientCurve(mine, keys.public)
        with LiveClient(wire.pub_endpoint, wire.rep_endpoint, streams=[KEY], curve=right) as client:
            assert sequences(until(client, is_a(CaughtUp))) == [1, 2, 3]
        assert fetch_status(KEY, wire.rep_endpoint, curve=right).latest_sequence == 3
        with pytest.raises(WireTimeout):
            fetch_status(KEY, wire.rep_endpoint, timeout=0.5)


def test_one_shot_questions(server: Server) -> None:
    server.add(12_345)
    server.add(1, OTHER)
    progress: list[tuple[int, int]] = []

    array = backfill(KEY, server.rep, on_progress=lambda done, total: progress.append((done, total)))

    assert array.tobytes() == candles(1, 12_345).tobytes()
    assert progress == [(10_000, 12_345), (12_345, 12_345)]
    assert len(backfill(KEY, server.rep, from_sequence_exclusive=12_000, limit=5)) == 5
    assert fetch_status(KEY, server.rep).latest_sequence == 12_345
    assert [status.key for status in list_streams(server.rep)] == [OTHER, KEY]


def test_one_shot_questions_fail_in_plain_words(server: Server) -> None:
    with pytest.raises(WireError, match="404"):
        fetch_status(KEY, server.rep)
    with pytest.raises(WireTimeout, match="No server answers at tcp"):
        fetch_status(KEY, "tcp://127.0.0.1:9", timeout=0.3)


def test_hundreds_of_streams_all_get_their_live_candles(server: Server) -> None:
    """More topics than libzmq's default mark, beyond which it drops subscriptions without a word."""
    keys = [StreamKey("SIM", f"S{number}", "1s") for number in range(400)]
    server.wire.publish({key: candles(1, 1) for key in keys})
    with LiveClient(server.pub, server.rep, streams=keys, start_from=StartFrom.LATEST) as client:
        live: set[StreamKey] = set()
        sequence = 1
        end = time.monotonic() + PATIENCE_S
        # A PUB socket reads its subscriptions while it sends, so the first rounds may miss some.
        while len(live) < len(keys) and time.monotonic() < end:
            sequence += 1
            server.wire.publish({key: candles(sequence, 1) for key in keys})
            events = list(client.events(timeout=SHORT_S))
            live = {event.key for event in events if isinstance(event, Candles) and not event.is_backfill}

    assert live == set(keys)
