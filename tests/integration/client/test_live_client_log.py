"""The live client by way of the log, a real nats-server: it ends up with what was put there, whatever happens."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from nats.aio.msg import Msg

from fluxcap import (
    Candles,
    CaughtUp,
    Event,
    Gap,
    HealthChanged,
    HealthState,
    LiveClient,
    Revision,
    SlowConsumer,
    StartFrom,
    StoreReplaced,
    StreamKey,
    Via,
    backfill,
    fetch_status,
    list_streams,
)
from fluxcap.bridge.jetstream.consumer import CHUNK_MESSAGES, PullConsumer
from fluxcap.bridge.jetstream.read import revisions as log_revisions
from fluxcap.bridge.jetstream.read.inbox import Inbox
from fluxcap.bridge.jetstream.read.transport import JetStreamTransport
from fluxcap.bridge.jetstream.subjects import MAX_FILTERS
from fluxcap.bridge.transport.base import Connected, MessageReceived
from fluxcap.schemas.errors import ConfigError, WireError, WireTimeout
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, CandleBatch
from tests.support.nats.log_rig import LogFeeder
from tests.support.nats.nats_rig import NatsServer
from tests.support.patience import PATIENCE_S, await_that

NO_CONSUMER = 10014
KEY = StreamKey("SIM", "EURUSD_otc", "1s")
OTHER = StreamKey("DESK2", "#AAPL/x y", "1s")
SHORT_S = 0.3


def candles(start: int, count: int, price: float = 0.0) -> CandleArray:
    """Candles that tell their own sequence by their time."""
    rows = np.zeros(count, CANDLE_DTYPE)
    rows["ts_ms"] = 1_000 * np.arange(start, start + count)
    for name in ("open", "high", "low", "close"):
        rows[name] = np.arange(start, start + count) + price
    return rows


@pytest.fixture
def server(nats_server: Callable[..., NatsServer]) -> NatsServer:
    return nats_server()


@pytest.fixture
def feeder(server: NatsServer) -> Iterator[LogFeeder]:
    with LogFeeder(server.url) as found:
        yield found


def add(feeder: LogFeeder, count: int, key: StreamKey = KEY, batch: int = 1) -> None:
    """So many more candles, in messages of ``batch``."""
    have = feeder.positions[key].latest_sequence if key in feeder.positions else 0
    for first in range(have + 1, have + count + 1, batch):
        feeder.add(key, candles(first, min(batch, have + count + 1 - first)))


def until(client: LiveClient, wanted: Callable[[Event], bool], feeder: LogFeeder | None = None) -> list[Event]:
    """Events up to and with the first that is wanted; heartbeats go out meanwhile."""
    seen: list[Event] = []
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        for event in client.events(timeout=SHORT_S):
            seen.append(event)
            if wanted(event):
                return seen
        if feeder is not None:
            feeder.beat()
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


def test_history_then_live_in_one_unbroken_sequence(server: NatsServer, feeder: LogFeeder, tmp_path: Path) -> None:
    add(feeder, 12_000, batch=500)
    add(feeder, 20)
    add(feeder, 3, OTHER)
    with LiveClient(data_dir=tmp_path, streams=[KEY, OTHER], via=server.url) as client:
        events = until(client, reaches(12_020))
        add(feeder, 1)
        events += until(client, reaches(12_021), feeder)
        add(feeder, 1, OTHER)
        events += until(client, lambda e: isinstance(e, Candles) and e.key == OTHER and e.end_sequence == 4)
        table = client.candles(KEY)

    assert sequences(events) == list(range(1, 12_022))
    assert sequences(events, OTHER) == [1, 2, 3, 4]
    assert table[0].tolist() == list(range(1, 12_022))
    assert table[1].tobytes() == candles(1, 12_021).tobytes()


def test_a_restarted_client_goes_on_where_it_stopped(server: NatsServer, feeder: LogFeeder, tmp_path: Path) -> None:
    add(feeder, 10)
    with LiveClient(data_dir=tmp_path, streams=[KEY], via=server.url) as client:
        until(client, is_a(CaughtUp))
    add(feeder, 5)

    with LiveClient(data_dir=tmp_path, streams=[KEY], via=server.url) as client:
        events = until(client, is_a(CaughtUp))

    assert sequences(events) == [11, 12, 13, 14, 15]


def test_a_log_that_is_killed_and_comes_back_costs_nothing(
    server: NatsServer, feeder: LogFeeder, tmp_path: Path
) -> None:
    add(feeder, 3)
    with LiveClient(data_dir=tmp_path, streams=[KEY], via=server.url) as client:
        events = until(client, reaches(3))
        for _ in range(3):
            server.kill()
            events += until(
                client, lambda e: isinstance(e, HealthChanged) and e.health.state is HealthState.DISCONNECTED
            )
            server.start()
            feeder.open()
            add(feeder, 4)
            events += until(client, reaches(feeder.positions[KEY].latest_sequence), feeder)
        table = client.candles(KEY)

    assert sequences(events) == list(range(1, 16))
    assert table[1].tobytes() == candles(1, 15).tobytes()


@pytest.mark.parametrize("way", ["read", "searched for"])
def test_revisions_come_live_and_older_ones_are_in_the_pages(
    way: str, server: NatsServer, feeder: LogFeeder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "searched for":
        monkeypatch.setattr(log_revisions, "READ_ANYWAY", 0)
        monkeypatch.setattr(log_revisions, "READ_A_REVISION", 0)
    add(feeder, 30)
    feeder.revise(KEY, [5, 6], candles(5, 2, 0.25))
    add(feeder, 30)
    feeder.revise(KEY, [5, 58], np.concatenate([candles(5, 1, 0.5), candles(58, 1, 0.5)]))
    truth = candles(1, 60)
    for sequence, price in ((5, 0.5), (6, 0.25), (58, 0.5)):
        truth[sequence - 1] = candles(sequence, 1, price)[0]

    with LiveClient(streams=[KEY], start_from=-10, via=server.url) as client:
        recent = until(client, reaches(60))
        feeder.revise(KEY, [60], candles(60, 1, 0.75))
        live = until(client, is_a(Revision))
    with LiveClient(data_dir=tmp_path, streams=[KEY], via=server.url) as client:
        until(client, is_a(CaughtUp))
        table = client.candles(KEY)

    shown = np.concatenate([e.candles for e in recent if isinstance(e, Candles)])
    assert shown.tobytes() == truth[50:].tobytes()
    assert [e.sequences.tolist() for e in live if isinstance(e, Revision)] == [[60]]
    truth[59] = candles(60, 1, 0.75)[0]
    assert table[1].tobytes() == truth.tobytes()
    assert backfill(KEY, via=server.url).tobytes() == truth.tobytes()


def test_another_store_on_the_same_stream_begins_it_anew(server: NatsServer, feeder: LogFeeder, tmp_path: Path) -> None:
    add(feeder, 6)
    with LiveClient(data_dir=tmp_path, streams=[KEY], via=server.url) as client:
        events = until(client, reaches(6))
        feeder.replace_store("store-2")
        for sequence in range(1, 10):  # its sequence 7 is not the seventh candle of the old one
            feeder.add(KEY, candles(sequence, 1, 0.5))
        events += until(client, reaches(9))
        table = client.candles(KEY)

    assert [e.store_id for e in events if isinstance(e, StoreReplaced)] == ["store-2"]
    assert table[1].tobytes() == candles(1, 9, 0.5).tobytes()


def test_what_the_log_has_forgotten_is_told_as_a_gap(server: NatsServer, feeder: LogFeeder, tmp_path: Path) -> None:
    add(feeder, 10)
    with LiveClient(data_dir=tmp_path, streams=[KEY], via=server.url) as client:
        until(client, reaches(10))
    add(feeder, 20)
    feeder.keep_from(26)

    with LiveClient(data_dir=tmp_path, streams=[KEY], via=server.url) as client:
        events = until(client, reaches(30))

    assert [(e.from_sequence, e.to_sequence) for e in events if isinstance(e, Gap)] == [(11, 25)]
    assert sequences(events) == [26, 27, 28, 29, 30]
    assert fetch_status(KEY, via=server.url).first_sequence == 26


def test_a_backfill_passes_over_a_hole_in_the_log(server: NatsServer, feeder: LogFeeder) -> None:
    feeder.add(KEY, candles(1, 10))
    feeder.add(KEY, candles(21, 10), start=21)
    progress: list[tuple[int, int]] = []

    everything = backfill(KEY, via=server.url, on_progress=lambda done, total: progress.append((done, total)))
    some = backfill(KEY, via=server.url, limit=15)

    truth = np.concatenate([candles(1, 10), candles(21, 10)])
    assert everything.tobytes() == truth.tobytes()
    assert some.tobytes() == truth[:15].tobytes()
    assert progress == [(10, 30), (20, 20)]


def test_a_log_made_anew_is_read_anew(server: NatsServer, feeder: LogFeeder, tmp_path: Path) -> None:
    add(feeder, 5)
    with LiveClient(data_dir=tmp_path, streams=[KEY], via=server.url) as client:
        events = until(client, reaches(5))
        feeder.ask("STREAM.DELETE.FLUX", {})
        events += until(client, lambda e: isinstance(e, HealthChanged) and e.health.state is HealthState.DISCONNECTED)
        with LogFeeder(server.url, "store-1") as again:
            add(again, 8)
            events += until(client, reaches(8))

    assert sequences(events) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert not [e for e in events if isinstance(e, StoreReplaced)]


def test_a_slow_consumer_holds_up_nobody_and_gets_everything(server: NatsServer, feeder: LogFeeder) -> None:
    add(feeder, 1)
    with LiveClient(
        streams=[KEY], via=server.url, queue_candles=10, slow_consumer=SlowConsumer.BLOCK, page_limit=50
    ) as client:
        events = until(client, is_a(CaughtUp))
        add(feeder, 600)  # nobody takes an event meanwhile
        events += until(client, reaches(601))

    assert sequences(events) == list(range(1, 602))


def test_what_nobody_takes_stays_in_the_log(server: NatsServer, feeder: LogFeeder) -> None:
    transport, bound, count = JetStreamTransport(), 100, 7_000
    transport._inbox = inbox = Inbox(full_messages=bound)
    add(feeder, 1)
    transport.subscribe([KEY.topic()])
    transport.connect(server.url, server.url)
    while not any(isinstance(event, Connected) for event in transport.receive(1_000)):
        pass
    feeder.add_many(KEY, candles(2, count))
    end_s = time.monotonic() + PATIENCE_S
    while len(inbox._messages) < bound and time.monotonic() < end_s:
        time.sleep(0.02)
    time.sleep(0.3)  # for whatever else would come

    waiting, taken = len(inbox._messages), []
    while len(taken) < count and time.monotonic() < end_s:
        for event in transport.receive(200):
            if isinstance(event, MessageReceived) and isinstance(event.message, CandleBatch):
                taken.append(event.message.start_sequence)
    transport.close()

    assert bound <= waiting <= bound + CHUNK_MESSAGES
    assert taken == list(range(2, count + 2))


def test_a_reader_that_the_server_forgot_is_made_again(server: NatsServer, feeder: LogFeeder) -> None:
    add(feeder, 5)
    with LiveClient(streams=[KEY], via=server.url) as client:
        events = until(client, reaches(5))
        for n in range(3):
            for name in feeder.ask("CONSUMER.NAMES.FLUX", {})["consumers"]:
                feeder.ask(f"CONSUMER.DELETE.FLUX.{name}", {}, absent=NO_CONSUMER)  # one of a page may have ended
            add(feeder, 5)
            events += until(client, reaches(10 + 5 * n))

    assert sequences(events) == list(range(1, 21))
    assert not [e for e in events if isinstance(e, HealthChanged) and e.health.state is HealthState.DISCONNECTED]
    assert not [e for e in events if isinstance(e, Candles) and e.start_sequence > 5 and e.is_backfill]


def test_messages_lost_on_their_way_are_read_again(
    server: NatsServer, feeder: LogFeeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeder.add_many(KEY, candles(1, 3_000))
    take, count = PullConsumer._on_message, itertools.count()

    async def lossy(reader: PullConsumer, message: Msg) -> None:
        if next(count) % 700 != 699:
            await take(reader, message)

    monkeypatch.setattr(PullConsumer, "_on_message", lossy)

    assert backfill(KEY, via=server.url).tobytes() == candles(1, 3_000).tobytes()
    assert next(count) > 3_000


def test_start_from_the_latest_gives_only_what_comes(server: NatsServer, feeder: LogFeeder) -> None:
    add(feeder, 20)
    with LiveClient(streams=[KEY], via=server.url, start_from=StartFrom.LATEST) as client:
        until(client, is_a(CaughtUp))
        add(feeder, 2)
        events = until(client, reaches(22))

    assert sequences(events) == [21, 22]


def test_the_health_tells_of_the_feed_as_the_forwarder_does(server: NatsServer, feeder: LogFeeder) -> None:
    add(feeder, 2)
    with LiveClient(streams=[KEY], via=server.url) as client:
        until(client, lambda e: isinstance(e, HealthChanged) and e.health.feed_state.name == "LIVE", feeder)
        events = until(client, lambda e: isinstance(e, HealthChanged) and e.health.state is HealthState.STALLED)

    [*_, last] = events
    assert isinstance(last, HealthChanged)
    assert last.health.reason == "no heartbeat from the server"


def test_many_streams_are_listed_and_followed_with_few_readers(server: NatsServer, feeder: LogFeeder) -> None:
    keys = [StreamKey(f"DESK{n % 3}", f"S{n:03}", "1s") for n in range(60)]
    for key in keys:
        add(feeder, 2, key)
    with LiveClient(streams=keys, via=server.url) as client:
        seen = {key: 0 for key in keys}
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s and min(seen.values()) < 2:
            for event in client.events(timeout=SHORT_S):
                if isinstance(event, Candles):
                    seen[event.key] = event.end_sequence
        for key in keys:
            add(feeder, 1, key)
        while time.monotonic() < end_s and min(seen.values()) < 3:
            for event in client.events(timeout=SHORT_S):
                if isinstance(event, Candles):
                    seen[event.key] = event.end_sequence
        # Those that read the pages take their leave by and by; the server would keep them for half a minute.
        await_that(lambda: feeder.consumers <= MAX_FILTERS, "few readers")

    assert set(seen.values()) == {3}
    assert [status.key for status in list_streams(via=server.url)] == sorted(keys)


def test_errors_are_one_clear_sentence(server: NatsServer, feeder: LogFeeder, tmp_path: Path) -> None:
    add(feeder, 1)
    with pytest.raises(WireError, match="no stream") as unknown:
        fetch_status(OTHER, via=server.url)
    with pytest.raises(WireTimeout, match="no stream NONE"):
        list_streams(via=Via(server.url, stream="NONE"))
    with pytest.raises(ConfigError, match="cannot be read"):
        list_streams(via=Via(server.url, tmp_path / "absent"))
    server.stop()
    with pytest.raises(WireTimeout, match="No NATS server answers"):
        list_streams(via=server.url)
    assert unknown.value.code == 404
