"""What a local web server takes from its peers, on real sockets: bounded in size, in time and in number."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, WebSocket
from websockets.sync.client import connect

from fluxcap.bridge.http import serving
from fluxcap.bridge.http.serving import MAX_BODY_BYTES, BoundedServer, server_config
from fluxcap.bridge.system.ports import listening_socket
from tests.support.patience import PATIENCE_S, await_that

GET = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"


def app() -> FastAPI:
    made = FastAPI()

    @made.get("/ok")
    async def ok() -> str:
        return "ok"

    @made.put("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @made.put("/json")
    async def parsed(body: list[str]) -> int:
        return len(body)

    @made.websocket("/ws")
    async def echo(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send_text(await ws.receive_text())

    return made


@contextmanager
def serving_on_a_port() -> Iterator[int]:
    with listening_socket("127.0.0.1", 0) as listener:
        server = uvicorn.Server(server_config(app(), log_config=None))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            await_that(lambda: server.started, "the server")
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving_on_a_port() as port:
        yield port


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server whose patience is short."""
    monkeypatch.setattr(serving, "HEAD_TIMEOUT_S", 0.2)
    monkeypatch.setattr(serving, "BODY_TIMEOUT_S", 0.2)
    with serving_on_a_port() as port:
        yield port


def peer(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def read_to_end(connection: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    content = b""
    try:
        while chunk := connection.recv(65_536):
            content += chunk
    except ConnectionResetError:
        pass
    return content


@pytest.mark.parametrize("path", ["/size", "/json"])
@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "in chunks"])
def test_a_body_beyond_the_bound_is_413_whether_its_length_is_declared_or_not(
    port: int, path: str, is_declared: bool
) -> None:
    body = json.dumps(["x" * MAX_BODY_BYTES]).encode()
    chunks = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]

    answer = httpx.put(
        f"http://127.0.0.1:{port}{path}",
        content=body if is_declared else iter(chunks),
        trust_env=False,
        verify=False,
        timeout=PATIENCE_S,
    )

    assert (answer.status_code, answer.json()["error"]) == (413, "The request is larger than 4 MiB.")


def test_a_body_up_to_the_bound_is_taken(port: int) -> None:
    answer = httpx.put(
        f"http://127.0.0.1:{port}/size",
        content=bytes(MAX_BODY_BYTES),
        trust_env=False,
        verify=False,
        timeout=PATIENCE_S,
    )

    assert answer.json() == MAX_BODY_BYTES


def test_headers_without_end_end_the_connection(port: int) -> None:
    with peer(port) as connection:
        connection.sendall(b"GET /ok HTTP/1.1\r\nHost: x\r\n")
        try:
            for number in range(5_000):
                connection.sendall(f"X-{number}: {'y' * 100}\r\n".encode())
        except OSError:
            pass

        assert b" 200 " not in read_to_end(connection)


@pytest.mark.costly
@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"\r\n",
        b"GET /ok HTTP/1.1\r\nHos",
        GET + b"GET /ok HT",
        b"PUT /size HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this",
        b"PUT /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"PUT /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
    ids=["nothing", "blank", "half a head", "half a second head", "half a body", "endless chunks", "of a refused one"],
)
def test_what_is_begun_and_never_ended_is_given_up(hasty: int, begun: bytes) -> None:
    with peer(hasty) as connection:
        connection.sendall(begun)

        read_to_end(connection)  # and not a time-out of ours


@pytest.mark.costly
def test_a_slow_but_steady_request_has_one_deadline_for_all_of_its_head(hasty: int) -> None:
    with peer(hasty) as connection, ExitStack() as stack:
        ended = threading.Event()
        stack.callback(ended.set)

        def drip() -> None:
            while not ended.wait(0.02):
                try:
                    connection.sendall(b"X")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        connection.sendall(b"GET /ok HTTP/1.1\r\nA")
        thread.start()
        read_to_end(connection)
        ended.set()
        thread.join()


def answer(sock: socket.socket) -> bytes:
    """All of the answer to a request, in however many parts it comes."""
    sock.sendall(GET)
    received = b""
    while not received.endswith(b'"ok"'):
        part = sock.recv(1_000)
        assert part, received
        received += part
    return received


@pytest.mark.costly
def test_requests_one_after_the_other_and_websockets_outlast_the_deadlines(hasty: int) -> None:
    with connect(f"ws://127.0.0.1:{hasty}/ws", proxy=None) as ws, peer(hasty) as idle:
        read_to_end(idle)  # a deadline has passed, the WebSocket's own was earlier
        ws.send("still there")
        assert ws.recv(PATIENCE_S) == "still there"

    with httpx.Client(
        base_url=f"http://127.0.0.1:{hasty}", trust_env=False, verify=False, timeout=PATIENCE_S
    ) as client:
        assert [client.get("/ok").json() for _ in range(3)] == ["ok"] * 3


def test_connections_beyond_the_bound_are_ended_and_those_within_are_served(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MAX_CONNECTIONS", 3)
    with ExitStack() as stack:
        within = [stack.enter_context(peer(port)) for _ in range(3)]
        for each in within:
            assert answer(each).startswith(b"HTTP/1.1 200 ")

        beyond = stack.enter_context(peer(port))
        assert read_to_end(beyond) == b""
        assert answer(within[0]).startswith(b"HTTP/1.1 200 ")


def test_a_server_that_is_to_end_does_not_wait_for_its_next_look_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "DATE_S", 4 * PATIENCE_S)
    made = app()
    with listening_socket("127.0.0.1", 0) as listener:
        server = BoundedServer(made, server_config(made, log_config=None))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        await_that(lambda: server._loop, "the loop")

        server.should_exit = True
        thread.join(PATIENCE_S)

    assert not thread.is_alive()


def test_a_server_told_to_end_before_its_loop_runs_serves_nothing() -> None:
    made = app()
    with listening_socket("127.0.0.1", 0) as listener:
        server = BoundedServer(made, server_config(made, log_config=None))
        server.should_exit = True

        server.run([listener])

        assert not server.started or not server.servers[0].is_serving()
