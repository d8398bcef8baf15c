"""CURVE from the command line: who has the right keys is served, nobody else learns anything, and each is told why."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from fluxcap import list_streams
from fluxcap.bridge.devserver.panel import PanelSession
from fluxcap.bridge.devserver.process import READY_PREFIX
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.bridge.transport.curve import client_keys, create_keys
from fluxcap.bridge.web.reader import ReaderTarget
from fluxcap.bridge.web.readers import Readers
from fluxcap.schemas.errors import WireTimeout
from fluxcap.schemas.types import Candle, StreamKey
from tests.support.daemon.live_rig import NOBODY, SOURCE, DaemonProcess, Process, run_command
from tests.support.patience import PATIENCE_S, await_that

SYMBOL = "EURUSD_otc"
SERVED = ("SIM", SYMBOL, "1s")
ANY_PORT = "tcp://127.0.0.1:0"

Address = tuple[str, str]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each holds: ``server`` lets in the desk; ``stranger`` is on no list; ``mistaken`` knows another server."""
    root = tmp_path_factory.mktemp("keys")
    create_keys(root / "made", ("server", "desk"))
    create_keys(root / "stranger", ("me",))
    create_keys(root / "other", ("server",))
    holdings = {
        "server": ("made/server.key_secret", "made/server.key", "made/desk.key"),
        "desk": ("made/server.key", "made/desk.key", "made/desk.key_secret"),
        "stranger": ("made/server.key",),
        "mistaken": ("other/server.key", "made/desk.key_secret"),
    }
    for folder, files in holdings.items():
        (root / folder).mkdir(exist_ok=True)
        for file in files:
            shutil.copy(root / file, root / folder)
    return root


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Address]:
    """``fluxcap devserver --curve``: its PUB and request endpoints."""
    folder = tmp_path_factory.mktemp("devserver")
    where = ("--pub", ANY_PORT, "--rep", ANY_PORT, "--port", "0", "--data-dir", str(folder / "data"))
    server = Process(folder, "devserver", "--curve", str(keys / "server"), "--tick-ms", "50", *where)
    try:
        await_that(lambda: READY_PREFIX in server.out, "the dev server's start")
        addresses = json.loads(server.out.partition(READY_PREFIX)[2])
        yield addresses["pub"], addresses["rep"]
    finally:
        server.end()


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """``fluxcap tail --json`` with these endpoints and keys."""
    running: list[Process] = []

    def start(address: Address, *options: str, stream: tuple[str, ...] = SERVED) -> Process:
        where = ("--pub", address[0], "--rep", address[1], "--json", *options)
        running.append(Process(tmp_path / f"tail-{len(running)}", "tail", *stream, *where))
        return running[-1]

    yield start
    for process in running:
        process.end()


def lines(process: Process, kind: str) -> list[dict[str, Any]]:
    """What it has told of one type, whole lines only."""
    told = [json.loads(line) for line in process.out.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in told if line["type"] == kind]


def reason(process: Process) -> str:
    """Why there is no connection, once it is told."""

    def found() -> str:
        return next((h["reason"] for h in lines(process, "health") if h["state"] == "disconnected"), "")

    return await_that(found, "the refusal")


def backfill(address: Address, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["backfill", *SERVED, "--rep", address[1], "--out", str(out), *options]
    return run_command(*words)


# --- the commands ----------------------------------------------------------------------------------------------------


def test_with_its_keys_a_client_is_served_on_both_sockets(
    served: Address, keys: Path, tail: Callable[..., Process], tmp_path: Path
):
    live = tail(served, "--keys", str(keys / "desk"))
    fetched = backfill(served, tmp_path / "a.csv", "--keys", str(keys / "desk" / "desk.key_secret"), "--limit", "20")

    await_that(lambda: [c for c in lines(live, "candle") if not c["is_backfill"]], "a live candle")
    assert (fetched.returncode, fetched.stderr) == (0, "")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 21


def test_keys_may_come_from_the_environment(
    served: Address, keys: Path, tail: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLUXCAP_KEYS", str(keys / "desk"))

    live = tail(served)

    await_that(lambda: lines(live, "candle"), "a candle")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "the server requires keys, or is not a fluxcap server"),
        (("--keys", "mistaken"), "the server has another key than the one given, or none"),
        (
            ("--keys", "stranger"),
            "the server does not know this client's key; add its public file there",
        ),
    ],
    ids=["no keys", "another server's key", "not on the list"],
)
def test_who_lacks_the_right_keys_is_told_why_and_gets_nothing(
    served: Address, keys: Path, tail: Callable[..., Process], tmp_path: Path, options: tuple[str, ...], why: str
):
    named = [str(keys / word) if word in ("mistaken", "stranger") else word for word in options]

    live = tail(served, *named)
    fetched = backfill(served, tmp_path / "a.csv", *named)

    assert reason(live).endswith(why)
    assert lines(live, "candle") == []
    assert fetched.returncode == 1
    assert fetched.stdout == ""
    assert len(fetched.stderr.splitlines()) == 1
    assert fetched.stderr.startswith(f"fluxcap: No connection to {served[1]}: the ")
    assert not (tmp_path / "a.csv").exists()


def test_a_folder_without_keys_is_wrong_use(served: Address, tmp_path: Path):
    fetched = backfill(served, tmp_path / "a.csv", "--keys", str(tmp_path))

    assert fetched.returncode == 2
    assert fetched.stderr == (
        f"fluxcap: {tmp_path} should hold one client's .key_secret file and server.key, but has none.\n"
    )


# --- what others see -------------------------------------------------------------------------------------------------


class Eavesdropper:
    """Passes bytes on to an endpoint, and keeps them."""

    def __init__(self, endpoint: str) -> None:
        self._target = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard = bytearray()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        try:
            near, _ = self._listener.accept()
        except OSError:
            return
        far = socket.create_connection(self._target)
        for source, sink in ((near, far), (far, near)):
            self._threads.append(threading.Thread(target=self._pass_on, args=(source, sink)))
            self._threads[-1].start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                self.heard += data
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def __enter__(self) -> Eavesdropper:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)


def heard_on_the_way(address: Address, curve: Any) -> bytes:
    """All bytes of a SUB connection until some messages have come."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with Eavesdropper(address[0]) as eavesdropper:
        feed = context.socket(zmq.SUB)
        feed.setsockopt(zmq.SUBSCRIBE, b"")
        feed.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1_000))
        if curve is not None:
            curve.secure(feed)
        feed.connect(eavesdropper.endpoint)
        for _ in range(5):
            topic, _ = feed.recv_multipart()
            assert SYMBOL.encode() in topic
        feed.close(linger=0)
        context.term()
    return bytes(eavesdropper.heard)


def test_who_listens_on_the_way_reads_no_name(served: Address, keys: Path, tmp_path: Path):
    with WireServer(tmp_path / "open.duckdb", ANY_PORT, ANY_PORT) as plain:
        plain.ensure_stream(StreamKey(*SERVED))
        stop = threading.Event()
        beating = threading.Thread(target=lambda: [plain.heartbeat(0) for _ in iter(lambda: stop.wait(0.02), True)])
        beating.start()
        without = heard_on_the_way((plain.pub_endpoint, plain.rep_endpoint), None)
        stop.set()
        beating.join()

    with_keys = heard_on_the_way(served, client_keys(keys / "desk"))

    assert SYMBOL.encode() in without  # the eavesdropper can hear
    assert len(with_keys) > 500
    assert SYMBOL.encode() not in with_keys


def test_sockets_without_keys_hear_nothing_while_others_are_served(
    served: Address, keys: Path, tail: Callable[..., Process]
):
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    feed = context.socket(zmq.SUB)
    feed.setsockopt(zmq.SUBSCRIBE, b"")
    feed.connect(served[0])

    live = tail(served, "--keys", str(keys / "desk"))
    await_that(lambda: len(lines(live, "candle")) > 20, "candles")
    leaked = feed.poll(200)
    feed.close(linger=0)
    context.term()

    assert leaked == 0


# --- servers of the product -------------------------------------------------------------------------------------------


def test_the_daemon_beyond_loopback_wants_keys_and_serves_who_has_them(
    keys: Path, tail: Callable[..., Process], tmp_path: Path
):
    everywhere = ("--pub", "tcp://0.0.0.0:0", "--rep", "tcp://0.0.0.0:0", "--focus", SYMBOL)
    key = StreamKey(SOURCE, SYMBOL, "1s")
    with WireServer(tmp_path / "with" / "data" / STORE_FILE, ANY_PORT, ANY_PORT) as before:
        before.publish({key: [Candle(1_000 * n, 1.0, 1.0, 1.0, 1.0) for n in range(1, 8)]})

    refused = DaemonProcess(tmp_path / "without", NOBODY, *everywhere)
    code = refused.wait()
    daemon = DaemonProcess(tmp_path / "with", NOBODY, *everywhere, "--curve", str(keys / "server"))
    try:
        run = await_that(daemon.run_file, "the daemon's start")
        live = tail((run.pub, run.rep), "--keys", str(keys / "desk"), "--from", "1", stream=(SOURCE, SYMBOL, "1s"))
        await_that(lambda: len(lines(live, "candle")) == 7, "the candles of before")
        words = ["export", "candles", "--data-dir", str(daemon.data_dir)]
        out = tmp_path / "a.csv"
        exported = run_command(*words, "-o", str(out), "--keys", str(keys / "desk"))
        with pytest.raises(WireTimeout, match="requires keys"):
            list_streams(run.rep)
    finally:
        daemon.end()

    assert code == 2
    assert json.loads(refused.err)["reason"] == (
        "tcp://0.0.0.0:0 can be reached from other machines, which needs keys: make them with `fluxcap keys "
        "keys` and add `--curve keys`, or bind to 127.0.0.1."
    )
    assert exported.returncode == 0
    assert len(out.read_text().splitlines()) == 8


def test_the_panels_own_client_is_let_in_also_after_a_move(keys: Path, tmp_path: Path):
    settings = DevSettings(
        symbols=(SYMBOL,), data_dir=str(tmp_path), pub=ANY_PORT, rep=ANY_PORT, curve=str(keys / "server")
    )
    desk = PanelSession(settings)
    readers = Readers(lambda: ReaderTarget(*desk.engine.endpoints, desk.own_curve))
    try:
        before = desk.engine.endpoints
        assert [status.key for status in readers.reader.streams()] == [StreamKey(*SERVED)]
        desk.rebind(ANY_PORT, ANY_PORT)
        assert [status.key for status in readers.reader.streams()] == [StreamKey(*SERVED)]
    finally:
        readers.close()
        desk.close()

    assert before != desk.engine.endpoints
