"""The daemon's REST API as its clients see it: answers, and errors as they came."""

from __future__ import annotations

import http.server
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fluxcap.bridge.http.daemon_client import DaemonClient
from fluxcap.schemas.errors import FluxcapError, NotAnswering, UnknownAsset

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that gives every request one answer; returns its address."""
    servers: list[tuple[http.server.HTTPServer, threading.Thread]] = []

    def start(status: int, body: bytes, paths: list[str] | None = None) -> str:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if paths is not None:
                    paths.append(self.path)
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


def test_an_answer_is_returned(serve: Serve):
    with DaemonClient(serve(200, b'{"mode": "all"}')) as daemon:
        assert daemon.focus() == {"mode": "all"}


def test_nobody_there_is_said_with_the_next_step():
    nobody = re.escape("No fluxcap answers at http://127.0.0.1:9; start one")
    with DaemonClient("127.0.0.1:9") as daemon, pytest.raises(NotAnswering, match=nobody):
        daemon.status()


def test_what_is_no_json_is_no_fluxcap(serve: Serve):
    with DaemonClient(serve(200, b"<html>")) as daemon, pytest.raises(NotAnswering, match="is not fluxcap"):
        daemon.status()


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
    with DaemonClient(serve(status, json.dumps(body).encode())) as daemon, pytest.raises(error) as caught:
        daemon.set_focus("lock")

    assert type(caught.value) is error
    assert str(caught.value) == (body.get("error") or body.get("detail") or "HTTP 500")


def test_gaps_are_asked_for_by_what_was_named_alone(serve: Serve):
    paths: list[str] = []
    with DaemonClient(serve(200, b"[]", paths)) as daemon:
        daemon.gaps()
        daemon.gaps("DEMO", "EURUSD", 5)

    assert paths == ["/api/gaps?from_ms=0", "/api/gaps?source=DEMO&symbol=EURUSD&from_ms=5"]


@pytest.mark.parametrize(("url", "loads"), [("http://127.0.0.1:1", False), ("https://desk.example", True)])
def test_certificates_are_loaded_where_the_address_has_a_use_for_them(
    monkeypatch: pytest.MonkeyPatch, url: str, loads: bool
) -> None:
    loaded = []
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: loaded.append(True))

    DaemonClient(url)

    assert bool(loaded) == loads
