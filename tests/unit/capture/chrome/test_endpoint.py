"""Finding the browser: the three ways it is not there, each within its second and with the next step."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from fluxcap.capture.chrome.endpoint import active_port, find, parse_endpoint, probe
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError
from tests.support.patience import PATIENCE_S

VERSION = {
    "Browser": "Chrome/156.0.8078.79",
    "Protocol-Version": "1.3",
    "User-Agent": "Mozilla/5.0",
    "webSocketDebuggerUrl": "ws://127.0.0.1:9222/devtools/browser/abc",
}


class Serve(Protocol):
    """``serve(handler) -> port``."""

    def __call__(self, handler: Callable[[socket.socket], None], host: str = "127.0.0.1") -> int: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(handler) -> port``: one thread that accepts one connection at a time and hands it to the handler."""
    with ExitStack() as stack:

        def start(handler: Callable[[socket.socket], None], host: str = "127.0.0.1") -> int:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = stack.enter_context(socket.create_server((host, 0), family=family))
            stopping = threading.Event()

            def run() -> None:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        if stopping.is_set():
                            return
                        with contextlib.suppress(OSError):  # the client has hung up
                            handler(connection)

            thread = threading.Thread(target=run)
            thread.start()
            port = int(listener.getsockname()[1])

            def stop() -> None:
                stopping.set()
                socket.create_connection((host, port)).close()
                thread.join()

            stack.callback(stop)
            return port

        yield start


def answering(
    body: bytes, status: str = "200 OK", *, length: bool = True, hang: float = 0
) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        size = f"Content-Length: {len(body)}\r\n" if length else ""
        connection.sendall(f"HTTP/1.1 {status}\r\n{size}\r\n".encode() + body)
        if hang:
            connection.settimeout(hang)
            connection.recv(1)  # Chrome keeps the connection open; ends when the client has closed

    return handle


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9222", ("127.0.0.1", 9222)),
        ("9333", ("127.0.0.1", 9333)),
        (" localhost:1 ", ("localhost", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_endpoint_is_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        "host:0",
        "host:65536",
        "http://host:1",
        "a:b:1",
        "::1:9222",
        "host:9222/x",
        "0.0.0.0:1",
        "[::]:1",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9222"):
        parse_endpoint(text)


@pytest.mark.parametrize("length", [True, False])
def test_probe_says_who_answers(serve: Serve, length: bool) -> None:
    port = serve(answering(json.dumps(VERSION).encode(), length=length))

    info = probe("127.0.0.1", port, timeout_s=PATIENCE_S)

    assert (info.product, info.protocol_version) == ("Chrome/156.0.8078.79", "1.3")


def test_websocket_url_is_the_one_reachable_from_here(serve: Serve) -> None:
    # A forwarded port: the browser names its own host and port, not ours.
    port = serve(answering(json.dumps(VERSION).encode()))

    assert probe("127.0.0.1", port, timeout_s=PATIENCE_S).websocket_url == f"ws://127.0.0.1:{port}/devtools/browser/abc"


@pytest.mark.parametrize("ipv4", ["nobody", "another program"])
def test_a_browser_that_could_open_its_port_on_ipv6_alone_is_found(serve: Serve, ipv4: str) -> None:
    port = serve(answering(json.dumps(VERSION).encode()), "::1")
    with ExitStack() as stack:
        if ipv4 == "another program":
            other = stack.enter_context(socket.create_server(("127.0.0.1", port)))
            thread = threading.Thread(target=lambda: other.accept()[0].close())
            thread.start()
            stack.callback(thread.join)

        info = find("127.0.0.1", port, timeout_s=PATIENCE_S)

    assert info.websocket_url == f"ws://[::1]:{port}/devtools/browser/abc"


def test_probe_does_not_wait_for_the_browser_to_hang_up(serve: Serve) -> None:
    port = serve(answering(json.dumps(VERSION).encode(), hang=60))

    started = time.monotonic()
    probe("127.0.0.1", port, timeout_s=50)

    assert time.monotonic() - started < 30


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(ChromeUnavailable, match=f"Nothing answers on 127.0.0.1:{port} .*fluxcap chrome --port {port}"):
        probe("127.0.0.1", port)


@pytest.mark.parametrize(
    "handler",
    [
        answering(b"{}"),
        answering(b"[]"),
        answering(b"not json"),
        answering(b"\xff"),
        answering(b"not found", "404 Not Found"),
        answering(json.dumps(VERSION).encode(), "500 Broken"),
        answering(json.dumps({"webSocketDebuggerUrl": "https://elsewhere.test/"}).encode()),
        answering(json.dumps({"webSocketDebuggerUrl": 5}).encode()),
        answering(b"[" * 60_000),
        lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
        lambda connection: connection.close(),
    ],
)
def test_something_else_answers(serve: Serve, handler: Callable[[socket.socket], None]) -> None:
    port = serve(handler)

    with pytest.raises(ChromeUnavailable, match=f"Something other than Chrome answers on 127.0.0.1:{port}"):
        probe("127.0.0.1", port, timeout_s=PATIENCE_S)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_endless_answer_is_cut(serve: Serve, head: bytes) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"x" * 10_000)

    with pytest.raises(ChromeUnavailable):
        probe("127.0.0.1", serve(flood), timeout_s=PATIENCE_S)


def test_silent_port_ends_in_time(serve: Serve) -> None:
    done = threading.Event()
    port = serve(lambda _connection: (done.wait(PATIENCE_S), None)[1])

    with pytest.raises(ChromeUnavailable, match=r"did not answer .* within 0.2 s"):
        probe("127.0.0.1", port, timeout_s=0.2)
    done.set()


@pytest.mark.costly
def test_answer_that_drips_has_one_deadline_for_all_of_it(serve: Serve) -> None:
    gone = threading.Event()

    def drip(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"H")
                time.sleep(0.05)
        finally:
            gone.set()

    with pytest.raises(ChromeUnavailable, match="within"):
        probe("127.0.0.1", serve(drip), timeout_s=0.3)
    assert gone.wait(PATIENCE_S)


def test_every_message_is_one_line_with_a_next_step() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(ChromeUnavailable) as caught:
        probe("127.0.0.1", port)

    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("41234\n/devtools/browser/abc", (41234, "/devtools/browser/abc")),
        ("41234\n/devtools/browser/abc\n", (41234, "/devtools/browser/abc")),
        ("41234\n", None),
        ("41234", None),
        ("", None),
        ("0\n/devtools/browser/abc", None),
        ("99999\n/devtools/browser/abc", None),
        ("port\n/devtools/browser/abc", None),
        ("41234\nelsewhere", None),
        ("ü\n", None),
    ],
)
def test_port_file_of_a_profile(tmp_path: Path, content: str, expected: tuple[int, str] | None) -> None:
    (tmp_path / "DevToolsActivePort").write_text(content, encoding="utf-8")

    assert active_port(tmp_path) == expected


def test_profile_without_a_port_file(tmp_path: Path) -> None:
    assert active_port(tmp_path) is None


def port_file(folder: Path, port: int, path: str = "/devtools/browser/abc") -> Path:
    (folder / "DevToolsActivePort").write_text(f"{port}\n{path}")
    return folder


def browser_named(product: str) -> Callable[[socket.socket], None]:
    return answering(json.dumps(VERSION | {"Browser": product}).encode())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_profile_that_leads_goes_before_the_port(serve: Serve, tmp_path: Path) -> None:
    given, moved = serve(browser_named("given")), serve(browser_named("moved"))
    profile = port_file(tmp_path, moved)

    assert find("127.0.0.1", given, profile, profile_leads=True, timeout_s=PATIENCE_S).product == "moved"
    assert find("127.0.0.1", given, profile, timeout_s=PATIENCE_S).product == "given"


def test_where_nothing_answers_on_the_port_the_profile_helps(serve: Serve, tmp_path: Path) -> None:
    profile = port_file(tmp_path, serve(browser_named("moved")))

    assert find("127.0.0.1", free_port(), profile, timeout_s=PATIENCE_S).product == "moved"


@pytest.mark.parametrize("leads", [False, True])
def test_a_stale_port_file_is_not_followed_to_another_browser(serve: Serve, tmp_path: Path, leads: bool) -> None:
    profile = port_file(tmp_path, serve(browser_named("another")), "/devtools/browser/ended-long-ago")
    given = free_port()

    with pytest.raises(ChromeUnavailable, match=f"Nothing answers on 127.0.0.1:{given}"):
        find("127.0.0.1", given, profile, profile_leads=leads, timeout_s=PATIENCE_S)


def test_a_profile_says_nothing_of_another_machine(serve: Serve, tmp_path: Path) -> None:
    profile = port_file(tmp_path, serve(browser_named("moved")))

    with pytest.raises(ChromeUnavailable):
        find("127.0.0.2", free_port(), profile, profile_leads=True)


def test_without_a_port_file_the_port_counts(serve: Serve, tmp_path: Path) -> None:
    given = serve(browser_named("given"))

    assert find("127.0.0.1", given, tmp_path, profile_leads=True, timeout_s=PATIENCE_S).product == "given"
