"""Each message goes out on its topic; heartbeats and forming candles only to whoever asks, 5 of these a second."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from fluxcap.bridge.server.publisher import FORMING_AGAIN_NS, FORMING_SPACING_NS, Publisher
from fluxcap.schemas.codec import decode
from fluxcap.schemas.errors import AlreadyRunning, ConfigError
from fluxcap.schemas.types import CandleBatch, CandleRevision, StreamStatus, TickBatch
from tests.support.patience import await_that
from tests.support.wire.samples import ANY_PORT, EURUSD, GBPUSD, candle, candle_rows, subscribed


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.term()


@pytest.fixture
def publisher(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[Publisher]:
    publisher = Publisher(context, ANY_PORT)
    yield publisher
    publisher.close()


@pytest.fixture
def heard(publisher: Publisher) -> Iterator[zmq.Socket[bytes]]:
    """A subscriber of everything, whose subscription has arrived."""
    with subscribed(publisher.endpoint) as socket:
        for _ in range(10_000):
            publisher.heartbeats({GBPUSD: StreamStatus(GBPUSD)}, 0)
            if socket.poll(10):
                break
        while socket.poll(200):
            socket.recv_multipart()
        yield socket


def test_every_kind_of_message_has_its_topic(publisher: Publisher, heard: zmq.Socket[bytes]) -> None:
    publisher.batch(CandleBatch(EURUSD, 3, candle_rows(3, 2)))
    publisher.heartbeats({EURUSD: StreamStatus(EURUSD, 4)}, 0)
    publisher.revision(CandleRevision(EURUSD, 1, np.array([3], dtype=np.uint64), candle_rows(3, 1)))
    publisher.ticks(TickBatch(EURUSD, 1, np.array([5], dtype=np.int64), np.array([1.5])))
    publisher.forming(EURUSD, candle(5), 0)

    received = [heard.recv_multipart() for _ in range(5)]

    assert [topic for topic, _ in received] == [
        f"{kind}.SIM.EURUSD_otc.1m".encode() for kind in ("candles", "status", "revisions", "ticks", "forming")
    ]
    versions = [decode(payload).schema_version for _, payload in received]
    assert versions == [1, 2, 2, 2, 1]


def test_the_forming_candle_is_a_batch_without_a_sequence(publisher: Publisher, heard: zmq.Socket[bytes]) -> None:
    publisher.forming(EURUSD, candle(5), 0)

    message = decode(heard.recv_multipart()[1]).message

    assert isinstance(message, CandleBatch)
    assert (message.start_sequence, len(message.candles)) == (0, 1)


def test_forming_candles_go_out_five_times_a_second_per_stream(publisher: Publisher, heard: zmq.Socket[bytes]) -> None:
    second = range(0, 1_000_000_000, 10_000_000)

    sent = sum(publisher.forming(EURUSD, candle(number), now_ns) for number, now_ns in enumerate(second))

    assert sent == 5
    assert publisher.forming(GBPUSD, candle(5), 1_000_000)
    assert publisher.forming(EURUSD, candle(5), 800_000_000 + FORMING_SPACING_NS)


def test_a_forming_candle_that_has_not_changed_goes_out_once_a_second(
    publisher: Publisher, heard: zmq.Socket[bytes]
) -> None:
    three_seconds = range(0, 3_000_000_000, 10_000_000)

    sent = [now_ns for now_ns in three_seconds if publisher.forming(EURUSD, candle(5), now_ns)]

    assert sent == [0, FORMING_AGAIN_NS, 2 * FORMING_AGAIN_NS]
    assert publisher.forming(EURUSD, candle(6), 2 * FORMING_AGAIN_NS + FORMING_SPACING_NS)


SAYS = {
    "a stream's": (b"forming.SIM.EURUSD_otc.1m", (True, False, True)),
    "a source's": (b"forming.SIM.", (True, True, True)),
    "all candles under way": (b"forming", (True, True, True)),
    "everything": (b"", (True, True, True)),
    "another kind": (b"status.SIM.EURUSD_otc.1m", (False, False, False)),
    "a longer name": (b"forming.SIM.EURUSD_otc.1m.more", (False, False, True)),
}


@pytest.mark.parametrize(("topic", "heard"), SAYS.values(), ids=SAYS.keys())
def test_only_what_somebody_subscribes_to_is_heard(
    publisher: Publisher, topic: bytes, heard: tuple[bool, bool, bool]
) -> None:
    with subscribed(publisher.endpoint, [topic, b"status.known"]):
        await_that(lambda: publisher._subscriptions.include_some(b"status.known"), "the subscriptions")

        found = (
            publisher.is_heard(EURUSD, "forming"),
            publisher.is_heard(GBPUSD, "forming"),
            publisher.is_forming_heard,
        )

    assert found == heard


def test_what_nobody_hears_is_not_sent(publisher: Publisher, heard: zmq.Socket[bytes]) -> None:
    heard.setsockopt(zmq.UNSUBSCRIBE, b"")
    await_that(lambda: not publisher.is_heard(EURUSD, "status"), "the end of the subscription")
    before = dict(publisher.counters)

    publisher.heartbeats({EURUSD: StreamStatus(EURUSD, 4)}, 0)
    publisher.batches([CandleBatch(EURUSD, 1, candle_rows(1, 1))])

    assert not publisher.forming(EURUSD, candle(5), 0)
    assert dict(publisher.counters) == before


def test_a_topic_is_heard_until_the_last_of_its_subscribers_is_gone(publisher: Publisher) -> None:
    with subscribed(publisher.endpoint, [b"forming.", b"status.one"]):
        with subscribed(publisher.endpoint, [b"forming.", b"status.two"]):
            for subscription in (b"status.one", b"status.two"):
                await_that(lambda it=subscription: publisher._subscriptions.include_some(it), "both subscribers")
        await_that(lambda: not publisher._subscriptions.include_some(b"status.two"), "the first one's end")
        still = publisher.is_forming_heard
    await_that(lambda: not publisher.is_forming_heard, "the last one's end")

    assert still


def test_of_many_heartbeats_those_go_out_that_somebody_hears_and_they_tell_the_time(
    publisher: Publisher, heard: zmq.Socket[bytes]
) -> None:
    heard.setsockopt(zmq.SUBSCRIBE, EURUSD.topic("status"))
    heard.setsockopt(zmq.UNSUBSCRIBE, b"")
    await_that(lambda: not publisher.is_heard(GBPUSD, "status"), "the end of the subscription")
    before = publisher.counters["status"]

    publisher.heartbeats({GBPUSD: StreamStatus(GBPUSD, 3), EURUSD: StreamStatus(EURUSD, 4)}, 77)

    assert publisher.counters["status"] == before + 1
    assert decode(heard.recv_multipart()[1]).message == StreamStatus(EURUSD, 4, server_time_ms=77)


def test_of_some_streams_those_are_heard_that_somebody_subscribes_to(publisher: Publisher) -> None:
    with subscribed(publisher.endpoint, [b"forming.SIM.GBP", b"status.known"]):
        await_that(lambda: publisher._subscriptions.include_some(b"status.known"), "the subscriptions")

        found = [publisher.heard([EURUSD, GBPUSD], kind) for kind in ("forming", "status", "ticks")]

    assert found == [[GBPUSD], [], []]


def test_of_many_sealed_candles_those_go_out_that_somebody_hears(
    publisher: Publisher, heard: zmq.Socket[bytes]
) -> None:
    heard.setsockopt(zmq.SUBSCRIBE, EURUSD.topic())
    heard.setsockopt(zmq.UNSUBSCRIBE, b"")
    await_that(lambda: not publisher.is_heard(GBPUSD, "candles"), "the end of the subscription")
    before = publisher.counters["candles"]

    publisher.batches([CandleBatch(key, 1, candle_rows(1, 1)) for key in (GBPUSD, EURUSD)])

    assert publisher.counters["candles"] == before + 1
    assert heard.recv_multipart()[0] == EURUSD.topic()


def test_whoever_comes_later_hears_the_next_sealed_candle(publisher: Publisher, heard: zmq.Socket[bytes]) -> None:
    heard.setsockopt(zmq.UNSUBSCRIBE, b"")
    await_that(lambda: not publisher.is_heard(EURUSD, "candles"), "the end of the subscription")
    publisher.batches([CandleBatch(EURUSD, 1, candle_rows(1, 1))])

    heard.setsockopt(zmq.SUBSCRIBE, EURUSD.topic())
    await_that(lambda: publisher.is_heard(EURUSD, "candles"), "the subscription")
    publisher.batches([CandleBatch(EURUSD, 2, candle_rows(2, 1))])

    assert decode(heard.recv_multipart()[1]).message.start_sequence == 2


def test_sending_without_a_subscriber_is_no_error(publisher: Publisher) -> None:
    publisher.batch(CandleBatch(EURUSD, 1, candle_rows(1, 1)))

    assert publisher.counters == {"candles": 1}


def test_an_endpoint_in_use_names_itself(context: zmq.Context[zmq.Socket[bytes]], publisher: Publisher) -> None:
    with pytest.raises(AlreadyRunning, match=publisher.endpoint):
        Publisher(context, publisher.endpoint)


def test_beyond_loopback_keys_are_needed(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    with pytest.raises(ConfigError, match="keys"):
        Publisher(context, "tcp://0.0.0.0:0")


def test_closing_twice_does_no_harm(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    publisher = Publisher(context, ANY_PORT)
    publisher.close()
    publisher.close()
