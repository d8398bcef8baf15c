"""The reader thread against a real WebSocket server: order, stamps, back pressure, and exactly one end."""

from __future__ import annotations

import itertools
import queue
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.chrome.events import ArrivalTime
from fluxcap.schemas.errors import BrowserGone
from tests.support.patience import PATIENCE_S, await_that

Handler = Callable[[ServerConnection], None]


class Consumer:
    """Takes what the connection hands over."""

    def __init__(self) -> None:
        self.messages: queue.Queue[tuple[bytes, ArrivalTime]] = queue.Queue()
        self.idle: queue.Queue[ArrivalTime] = queue.Queue()
        self.ends: queue.Queue[str] = queue.Queue()

    def on_message(self, message: bytes, stamp: ArrivalTime) -> None:
        self.messages.put((message, stamp))

    def message(self) -> bytes:
        return self.messages.get(timeout=PATIENCE_S)[0]


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def browser(consumer: Consumer) -> Iterator[Callable[..., Connection]]:
    """``browser(handler, **options) -> Connection`` to a server that runs the handler for it."""
    with ExitStack() as stack:

        def start(handler: Handler, **options: object) -> Connection:
            server = stack.enter_context(serve(handler, "127.0.0.1", 0, max_size=None))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            port = server.socket.getsockname()[1]
            callbacks = {"on_message": consumer.on_message, "on_end": consumer.ends.put, "on_idle": consumer.idle.put}
            connection = Connection(f"ws://127.0.0.1:{port}/", **{**callbacks, **options})
            stack.callback(connection.close)
            return connection

        yield start


def stay(server: ServerConnection) -> None:
    """Keep the connection until the client ends it."""
    try:
        for _ in server:
            pass
    except ConnectionClosed:
        pass


def sending(*messages: str) -> Handler:
    def handle(server: ServerConnection) -> None:
        for message in messages:
            server.send(message)
        stay(server)

    return handle


def test_messages_arrive_whole_and_in_order(browser, consumer: Consumer) -> None:
    large = "ü" * 4_000_000
    browser(sending("one", large, "three"))

    assert [consumer.message() for _ in range(3)] == [b"one", large.encode(), b"three"]


def test_fragmented_message_arrives_whole(browser, consumer: Consumer) -> None:
    def handle(server: ServerConnection) -> None:
        server.send(["frag", "ment", "ed"])
        stay(server)

    browser(handle)

    assert consumer.message() == b"fragmented"


def test_message_that_pauses_half_way_is_kept_over_the_idle_time(browser, consumer: Consumer) -> None:
    go_on = threading.Event()

    def parts() -> Iterator[str]:
        yield "first half, "
        go_on.wait(PATIENCE_S)
        yield "second half"

    def handle(server: ServerConnection) -> None:
        server.send(parts())
        stay(server)

    browser(handle)
    consumer.idle.get(timeout=PATIENCE_S)
    go_on.set()

    assert consumer.message() == b"first half, second half"


def test_stamps_are_the_clocks_at_arrival(browser, consumer: Consumer) -> None:
    browser(sending("x"), wall_ns=lambda: 1_700, mono_ns=lambda: 42)

    _, stamp = consumer.messages.get(timeout=PATIENCE_S)

    assert (stamp.wall_ns, stamp.mono_ns) == (1_700, 42)


def arrived_bytes(connection: Connection) -> int:
    """What has arrived and was not handed over: with the system, and read ahead."""
    ahead = sum(map(len, connection._socket.frame_buffer.recv_buffer))
    is_there = bool(select.select([connection._raw], [], [], 0)[0])
    return ahead + (len(connection._raw.recv(65_536, socket.MSG_PEEK)) if is_there else 0)


def test_only_the_last_message_of_a_backlog_is_drained(browser, consumer: Consumer) -> None:
    # The consumer holds the reader at the first message until the backlog has surely arrived.
    sent, release = threading.Event(), threading.Event()

    def handle(server: ServerConnection) -> None:
        server.send("first")
        for number in range(50):
            server.send(f"backlog {number}")
        sent.set()
        stay(server)

    def hold(message: bytes, stamp: ArrivalTime) -> None:
        if message == b"first":
            sent.wait(PATIENCE_S)
            release.wait(PATIENCE_S)
        consumer.on_message(message, stamp)

    connection = browser(handle, on_message=hold)
    assert sent.wait(PATIENCE_S)
    await_that(lambda: arrived_bytes(connection) >= 50 * len("backlog 1"), "the backlog")
    release.set()

    stamps = [consumer.messages.get(timeout=PATIENCE_S)[1] for _ in range(51)]

    assert [s.drained for s in stamps[1:-1]] == [False] * 49
    assert stamps[-1].drained


@pytest.mark.costly
def test_quiet_connection_says_so_again_and_again(browser, consumer: Consumer) -> None:
    ticks = itertools.count(1)
    browser(stay, mono_ns=lambda: next(ticks))

    first, second = consumer.idle.get(timeout=PATIENCE_S), consumer.idle.get(timeout=PATIENCE_S)

    assert first.drained
    assert first.mono_ns < second.mono_ns


def test_commands_reach_the_browser_whole_from_many_threads(browser, consumer: Consumer) -> None:
    def echo(server: ServerConnection) -> None:
        for message in server:
            server.send(message)

    connection = browser(echo)
    texts = [f"{number}:" + "x" * 5_000 for number in range(100)]
    threads = [threading.Thread(target=connection.send, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(consumer.message() for _ in texts) == sorted(text.encode() for text in texts)


def test_no_origin_is_sent(browser, consumer: Consumer) -> None:
    # Chrome answers any Origin but the exact http://127.0.0.1:PORT with 403.
    def handle(server: ServerConnection) -> None:
        assert server.request is not None
        server.send(str(server.request.headers.get("Origin")))
        stay(server)

    browser(handle)

    assert consumer.message() == b"None"


def test_end_by_the_browser_is_told_once(browser, consumer: Consumer) -> None:
    connection = browser(lambda server: server.send("bye"))

    assert consumer.message() == b"bye"
    assert consumer.ends.get(timeout=PATIENCE_S) == "closed by the browser"
    connection.close()
    assert consumer.ends.empty()


def test_connection_that_breaks_without_a_word_is_told_once(browser, consumer: Consumer) -> None:
    def handle(server: ServerConnection) -> None:
        server.socket.shutdown(socket.SHUT_RDWR)

    connection = browser(handle)

    assert consumer.ends.get(timeout=PATIENCE_S)
    connection.close()
    assert consumer.ends.empty()


def test_close_ends_once_and_wakes_a_waiting_reader(browser, consumer: Consumer) -> None:
    connection = browser(stay)

    connection.close()
    connection.close()

    assert consumer.ends.get(timeout=PATIENCE_S) == "closed"
    assert consumer.ends.empty()
    assert not connection.alive


def test_close_from_within_a_callback_does_not_wait_for_itself(browser, consumer: Consumer) -> None:
    holder: list[Connection] = []
    ready = threading.Event()

    def on_message(_message: bytes, _stamp: ArrivalTime) -> None:
        ready.wait(PATIENCE_S)
        holder[0].close()

    holder.append(browser(sending("x"), on_message=on_message))
    ready.set()

    assert consumer.ends.get(timeout=PATIENCE_S) == "closed"


def test_sending_after_the_end_says_that_the_browser_has_gone(browser, consumer: Consumer) -> None:
    connection = browser(lambda server: None)
    consumer.ends.get(timeout=PATIENCE_S)

    with pytest.raises(BrowserGone, match="ended"):
        connection.send("x")


def test_slow_consumer_loses_nothing(browser, consumer: Consumer) -> None:
    texts = [f"{number} " + "x" * 20_000 for number in range(500)]
    bounded: queue.Queue[bytes] = queue.Queue(maxsize=1)
    browser(sending(*texts), on_message=lambda message, _stamp: bounded.put(message))

    assert [bounded.get(timeout=PATIENCE_S) for _ in texts] == [text.encode() for text in texts]


def test_no_connection_is_one_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(BrowserGone, match="No DevTools connection"):
        Connection(f"ws://127.0.0.1:{port}/", lambda _m, _s: None, lambda _r: None)
