"""Finding the browser: the three ways it is not there, each within its second and with the next step."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from fluxcap.capture.chrome.endpoint import (
    BrowserInfo,
    ConsentBrowser,
    active_port,
    find,
    find_by_consent,
    parse_endpoint,
    probe,
)
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError, ConsentRequired
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


CONSENT = b"HTTP/1.1 404 Not Found\r\nContent-Length:0\r\nContent-Type:text/html\r\n\r\n"
"""As Chromium 156 answers every path once its user has to let programs in."""
HOST_NAME = "Host header is specified and is not an IP address or localhost."


def saying(answer: bytes) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        connection.recv(4_096)
        connection.sendall(answer)

    return handle


def test_a_browser_that_lets_in_by_consent_is_told_with_the_command_that_asks(serve: Serve) -> None:
    port = serve(saying(CONSENT))

    with pytest.raises(ConsentRequired, match="only by your consent; `fluxcap run --consent` asks for it"):
        probe("127.0.0.1", port, timeout_s=PATIENCE_S)


@pytest.mark.parametrize("separator", [" ", ""])
def test_a_404_with_a_page_is_something_else(serve: Serve, separator: str) -> None:
    answer = f"HTTP/1.1 404 Not Found\r\nContent-Length:{separator}9\r\n\r\nnot found".encode()

    with pytest.raises(ChromeUnavailable, match="Something other than Chrome"):
        probe("127.0.0.1", serve(saying(answer)), timeout_s=PATIENCE_S)


def test_a_host_name_that_chrome_refuses_is_told_as_that(serve: Serve) -> None:
    head = f"HTTP/1.1 500 Internal Server Error\r\nContent-Length:{len(HOST_NAME)}\r\n\r\n"
    port = serve(saying(f"{head}{HOST_NAME}".encode()))

    with pytest.raises(ChromeUnavailable, match=r"no host name; write its IP address in place of 127\.0\.0\.1"):
        probe("127.0.0.1", port, timeout_s=PATIENCE_S)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_consent_on_ipv6_alone_is_told_although_another_program_answers_on_ipv4(serve: Serve, host: str) -> None:
    port = serve(saying(CONSENT), "::1")
    with socket.create_server(("127.0.0.1", port)) as other:
        thread = threading.Thread(target=lambda: other.accept()[0].close())
        thread.start()
        with pytest.raises(ConsentRequired, match=r"(\[::1\]|localhost)"):
            find(host, port, timeout_s=PATIENCE_S)
        if host == "localhost":  # which may have been asked on ::1 at once
            socket.create_connection(("127.0.0.1", port)).close()
        thread.join()


def test_of_two_profiles_the_browser_started_last_is_taken(serve: Serve, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("Chrome", "Edge")}
    for started_s, (name, folder) in enumerate(folders.items()):
        folder.mkdir()
        port_file(folder, serve(saying(CONSENT)), f"/devtools/browser/{name}")
        os.utime(folder / "DevToolsActivePort", (started_s, started_s))

    found = find_by_consent(folders, PATIENCE_S)

    assert isinstance(found, ConsentBrowser)
    assert (found.label, found.websocket_url.endswith("/devtools/browser/Edge")) == ("Edge", True)


def test_a_profile_inside_the_folder_of_profiles_is_understood(serve: Serve, tmp_path: Path) -> None:
    port_file(tmp_path, serve(saying(CONSENT)))

    assert isinstance(find_by_consent({"Chrome": tmp_path / "Default"}, PATIENCE_S), ConsentBrowser)


def test_each_start_of_a_browser_has_its_own_mark(serve: Serve, tmp_path: Path) -> None:
    port = serve(saying(CONSENT))
    marks = set()
    for path, started_s in (("a", 1), ("b", 1), ("b", 2)):
        port_file(tmp_path, port, f"/devtools/browser/{path}")
        os.utime(tmp_path / "DevToolsActivePort", (started_s, started_s))
        found = find_by_consent({"Chrome": tmp_path}, PATIENCE_S)
        assert isinstance(found, ConsentBrowser)
        marks.add(found.start)

    assert len(marks) == 3


def test_a_profile_whose_browser_needs_no_consent_is_taken_as_it_is(serve: Serve, tmp_path: Path) -> None:
    port_file(tmp_path, serve(browser_named("plain")))

    found = find_by_consent({"Chrome": tmp_path}, PATIENCE_S)

    assert isinstance(found, BrowserInfo)
    assert found.product == "plain"


@pytest.mark.parametrize("left", [True, False])
def test_where_no_profile_lets_programs_in_it_is_said_how(tmp_path: Path, left: bool) -> None:
    if left:
        port_file(tmp_path, free_port())

    with pytest.raises(ChromeUnavailable, match=r"open chrome://inspect/#remote-debugging in it and tick"):
        find_by_consent({"Chrome": tmp_path}, PATIENCE_S)
