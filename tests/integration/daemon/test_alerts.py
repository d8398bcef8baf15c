"""Alerts of a daemon that runs, to a receiver that listens on this machine: told once, and no secret anywhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.daemon.live_rig import NOBODY, DaemonProcess, Process
from tests.support.patience import await_that

USER, PASSWORD, TOKEN = "alice", "hunter2secret", "Tok3nInThePath"
ALERT_AFTER_S = 2


class Receiver:
    """A web server that keeps what is sent to it; refuses it while ``refuses`` is set."""

    def __init__(self) -> None:
        self.taken: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.refuses = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.paths.append(self.path)
                if not receiver.refuses:
                    receiver.taken.append(body)
                self.send_response(503 if receiver.refuses else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"json://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{TOKEN}"

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.taken]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_a_daemon_killed_is_told_by_the_next_one_and_its_addresses_stand_nowhere(receiver: Receiver, tmp_path: Path):
    data, environment = tmp_path / "data", {"FLUXCAP_ALERTS": receiver.address}

    def daemon(name: str) -> DaemonProcess:
        options = ("--alert-after-s", str(ALERT_AFTER_S), "--debug")
        return DaemonProcess(tmp_path / name, NOBODY, *options, data_dir=data, environment=environment)

    first = daemon("first")
    await_that(lambda: (data / "fluxcap.run.json").exists(), "the first daemon")
    first.discard()
    receiver.refuses = True
    second = daemon("second")
    try:
        await_that(lambda: receiver.paths, "a first try")
        receiver.refuses = False
        await_that(lambda: receiver.taken, "the alert")
        status = Process(tmp_path / "status", "status", "--data-dir", str(data), "--json", environment=environment)
        assert status.wait() == 0
    finally:
        second.end()

    assert receiver.titles == ["fluxcap E2E: running again after a crash"]
    assert receiver.taken[0]["type"] == "warning"
    assert receiver.paths[-1] == f"/{TOKEN}"
    (told,) = json.loads(status.out)["alerts"]["addresses"]
    assert (told["address"], told["sent"]) == ("json://****", 1)
    events = [json.loads(line)["event"] for line in second.err.splitlines()]
    assert [name for name in events if name.startswith("alert.")] == [
        "alert.told",
        "alert.send_failed",
        "alert.send_recovered",
    ]
    said = "".join(path.read_text() for path in tmp_path.rglob("std*.txt")) + (data / "alerts.json").read_text()
    assert not [secret for secret in (USER, PASSWORD, TOKEN) if secret in said]


def test_alerts_test_says_for_each_address_whether_it_was_taken(receiver: Receiver, tmp_path: Path):
    addresses = f"{receiver.address} json://{PASSWORD}@127.0.0.1:{NOBODY}/{TOKEN}"

    command = Process(tmp_path / "test", "alerts", "test", environment={"FLUXCAP_ALERTS": addresses})

    assert command.wait() == 1
    assert command.out == "1  json://****  sent\n2  json://****  not reachable, or refused\n"
    assert receiver.titles == ["fluxcap POCKETOPTION: a test"]
    assert not [secret for secret in (USER, PASSWORD, TOKEN) if secret in command.out + command.err]
