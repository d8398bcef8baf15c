"""A web server whose application is made in its own thread: it listens before, and says what went wrong."""

from __future__ import annotations

import socket
import threading
from typing import Any

import httpx
import pytest

from fluxcap.capture.api.http_server import HttpServer
from tests.support.patience import PATIENCE_S


async def hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def test_who_connects_before_the_application_is_made_is_answered_once_it_is() -> None:
    may_be_made, makers = threading.Event(), []

    def make() -> Any:
        makers.append(threading.current_thread().name)
        may_be_made.wait(PATIENCE_S)
        return hello

    server = HttpServer(make, "127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", server.port)) as early:
        early.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        server.start()
        may_be_made.set()
        early.settimeout(PATIENCE_S)
        answer = b"".join(iter(lambda: early.recv(4_096), b""))
    try:
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"hello")
        assert makers == ["fluxcap-web"]
        assert server.failure is None
    finally:
        server.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_goes_wrong_while_it_is_made_is_kept() -> None:
    error = RuntimeError("no page")

    def make() -> Any:
        raise error

    server = HttpServer(make, "127.0.0.1", 0)
    server.start()
    server._thread.join(PATIENCE_S)

    assert server.failure is error
    server.stop()


def test_ended_before_the_application_is_made_it_serves_nothing() -> None:
    may_be_made = threading.Event()

    def make() -> Any:
        may_be_made.wait(PATIENCE_S)
        return hello

    server = HttpServer(make, "127.0.0.1", 0)
    server.start()
    server.stop(timeout_s=0)
    may_be_made.set()
    server._thread.join(PATIENCE_S)

    assert not server._thread.is_alive()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{server.port}/", timeout=PATIENCE_S, trust_env=False, verify=False)
