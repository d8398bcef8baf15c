"""Finding the daemon that runs, and what its answers mean."""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxcap.capture.runtime.discovery import RunningDaemon, control_address
from fluxcap.capture.runtime.run_file import RunFile, write_run_file
from fluxcap.schemas.errors import FluxcapError, NotAnswering, UnknownAsset

Serve = Callable[[int, bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that gives every request one answer; returns its address."""
    servers: list[tuple[http.server.HTTPServer, threading.Thread]] = []

    def start(status: int, body: bytes) -> str:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_GET

            def log_message(self, *_: Any) -> None: ...

        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_address_given_goes_before_everything(tmp_path: Path):
    assert control_address(tmp_path, "127.0.0.1:4711") == "http://127.0.0.1:4711"
    assert control_address(tmp_path, "http://box:4711") == "http://box:4711"


def test_the_data_folder_tells_where_its_daemon_is(tmp_path: Path):
    write_run_file(tmp_path, RunFile(os.getpid(), "http://127.0.0.1:4711", "", ""))

    assert control_address(tmp_path, None) == "http://127.0.0.1:4711"


def test_without_a_run_file_it_is_the_default_port(tmp_path: Path):
    assert control_address(tmp_path, None) == "http://127.0.0.1:3001"


def test_a_run_file_that_a_kill_left_behind_is_said_to_be_one(tmp_path: Path):
    write_run_file(tmp_path, RunFile(2**22, "http://127.0.0.1:4711", "", ""))

    with pytest.raises(NotAnswering, match="ended without leave; start one with `fluxcap run`"):
        control_address(tmp_path, None)


def test_an_answer_is_returned(serve: Serve):
    assert RunningDaemon(control=serve(200, b'{"mode": "all"}')).get("/api/focus") == {"mode": "all"}


def test_nobody_there_is_said_with_the_next_step():
    with pytest.raises(NotAnswering, match=re.escape("No fluxcap answers at http://127.0.0.1:9; start one")):
        RunningDaemon(control="127.0.0.1:9").get("/api/status")


def test_what_is_no_json_is_no_fluxcap(serve: Serve):
    with pytest.raises(NotAnswering, match="is not fluxcap"):
        RunningDaemon(control=serve(200, b"<html>")).get("/api/status")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, {"error": "Unknown asset 'X'. Did you mean Y?", "nearest": ["Y"]}, UnknownAsset),
        (503, {"error": "fluxcap is stopping."}, NotAnswering),
        (422, {"detail": "Name at least one asset to lock."}, FluxcapError),
        (500, {}, FluxcapError),
    ],
)
def test_its_errors_come_as_they_were(serve: Serve, status: int, body: dict[str, Any], error: type[FluxcapError]):
    daemon = RunningDaemon(control=serve(status, json.dumps(body).encode()))

    with pytest.raises(error) as caught:
        daemon.put("/api/focus", {})

    assert type(caught.value) is error
    assert str(caught.value) == (body.get("error") or body.get("detail") or "HTTP 500")
