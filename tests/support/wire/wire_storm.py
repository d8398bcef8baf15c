"""Faults against a live client: a dev server as its own process, real ZeroMQ, and the proof that both ends agree.

A scenario is a list of phases, each with faults and perhaps an event (the server restarts, the client is replaced).
After the last one the faults are lifted, and the client's table must become the server's store: every sequence, in
order, once each, byte for byte.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np

from fluxcap import Candles, Event, Gap, LiveClient, Revision, StoreReplaced
from fluxcap.bridge.devserver.faults import Faults
from fluxcap.bridge.devserver.process import READY_PREFIX
from fluxcap.schemas.types import CANDLE_DTYPE, CandleArray, StreamKey
from tests.support.paths import ROOT
from tests.support.patience import PATIENCE_S

SETTLED_WITHIN_S = 5.0
"""What is promised on a machine that is not busy with other things, from the end of the faults to the whole table."""


class DevServerProcess:
    """``python -m fluxcap.bridge.devserver`` and its control API."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        wanted = {"pub": "tcp://127.0.0.1:0", "rep": "tcp://127.0.0.1:0", "api_port": 0, "data_dir": str(data_dir)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fluxcap.bridge.devserver", json.dumps(wanted | settings)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        hello = self._process.stdout.readline()
        if not hello.startswith(READY_PREFIX):
            self._process.wait(PATIENCE_S)
            raise AssertionError(f"the dev server did not start: {hello!r}")
        addresses = json.loads(hello.removeprefix(READY_PREFIX))
        self.pub, self.rep, self._api = addresses["pub"], addresses["rep"], addresses["api"]

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request of the control API; returns once it is in force."""
        data = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(self._api + path, data, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def truth(self, key: StreamKey) -> tuple[int, CandleArray]:
        """What the server's store holds: (first sequence, candles)."""
        query = f"source={key.source_id}&symbol={key.symbol}&interval={key.interval}"
        answer = self.call("GET", f"/truth?{query}")
        return answer["first_sequence"], np.frombuffer(base64.b64decode(answer["rows"]), CANDLE_DTYPE)

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE_S)

    def __enter__(self) -> DevServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Phase(msgspec.Struct, frozen=True):
    """``event`` happens first: restart, new store, new client, prune, or nothing."""

    faults: Faults = Faults()
    seconds: float = 0.25
    event: str = ""


class Scenario(msgspec.Struct, frozen=True):
    name: str
    phases: tuple[Phase, ...]
    tick_ms: int = 10
    batch_size: int = 1
    history: int = 0
    revise_every: int = 0
    page_limit: int = 10_000


class Ledger:
    """Listens to a client's events and checks their promises: in order, once each, gaps announced."""

    def __init__(self) -> None:
        self.next_sequence = 0
        self.candles = 0
        self.gaps: list[Gap] = []
        self.restarts = 0

    def note(self, event: Event) -> None:
        match event:
            case Candles(_, start, candles, _):
                assert self.next_sequence in (0, start), f"{start} came where {self.next_sequence} was due"
                self.next_sequence = start + len(candles)
                self.candles += len(candles)
            case Gap(_, first, last, _):
                assert self.next_sequence in (0, first)
                self.next_sequence = last + 1
                self.gaps.append(event)
            case StoreReplaced():
                self.next_sequence = 0
                self.restarts += 1
            case Revision(_, _, sequences, _):
                assert self.next_sequence == 0 or int(sequences.max()) < self.next_sequence
            case _:
                pass


class Outcome(msgspec.Struct, frozen=True):
    """candles: in the table at the end. settled_s: from the end of the faults to the whole table."""

    candles: int
    settled_s: float
    counters: dict[str, int]


def run_scenario(server: DevServerProcess, scenario: Scenario, symbol: str, data_dir: Path) -> Outcome:
    """Raises AssertionError when a promise is broken."""
    key = StreamKey("SIM", symbol, "1s")
    pace = {
        "symbols": [symbol],
        "tick_ms": scenario.tick_ms,
        "batch_size": scenario.batch_size,
        "history": scenario.history,
        "revise_every": scenario.revise_every,
    }
    server.call("PUT", "/streams", pace)
    server.call("POST", "/start")
    ledger = Ledger()
    client = _client(server, key, data_dir, scenario)
    try:
        for phase in scenario.phases:
            if phase.event == "new client":
                client.close()
                client, ledger = _client(server, key, data_dir, scenario), Ledger()
            _happen(server, phase)
            _listen(client, ledger, phase.seconds)
        server.call("POST", "/stop")
        server.call("DELETE", "/faults")
        began = time.monotonic()
        first, truth = server.truth(key)
        _await_end(client, ledger, key, first + len(truth) - 1, server)
        settled_s = time.monotonic() - began
        _compare(client, key, first, truth)
        return Outcome(len(truth), settled_s, client.counters)
    finally:
        client.close()


def _client(server: DevServerProcess, key: StreamKey, data_dir: Path, scenario: Scenario) -> LiveClient:
    client = LiveClient(
        server.pub, server.rep, data_dir, streams=[key], page_limit=scenario.page_limit, request_timeout=1.0
    )
    return client.start()


def _happen(server: DevServerProcess, phase: Phase) -> None:
    server.call("PUT", "/faults", phase.faults)
    match phase.event:
        case "restart":
            server.call("POST", "/restart", {"store": "keep", "down_ms": 50})
        case "new store":
            server.call("POST", "/restart", {"store": "new", "down_ms": 50})
        case "prune":
            server.call("POST", "/prune", {"keep": 20})
        case _:
            pass


def _listen(client: LiveClient, ledger: Ledger, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for event in client.events(timeout=left):
            ledger.note(event)
            if time.monotonic() >= end:
                return


def _await_end(client: LiveClient, ledger: Ledger, key: StreamKey, latest: int, server: DevServerProcess) -> None:
    """Until the client stands where the server stands, revisions included."""
    status = next(s for s in server.call("GET", "/status")["streams"] if s["key"]["symbol"] == key.symbol)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        cursor = client.cursor(key)
        if cursor is None and latest == 0:
            return
        if cursor is not None and cursor.store_id == status["store_id"]:
            have = (cursor.latest_sequence, cursor.latest_revision)
            # Stored is a moment before told.
            if have == (latest, status["latest_revision"]) and ledger.next_sequence in (0, latest + 1):
                return
        for event in client.events(timeout=0.05):
            ledger.note(event)
            break
    raise AssertionError(f"not settled: {client.cursor(key)}, server {status}, {client.counters}")


def _compare(client: LiveClient, key: StreamKey, first: int, truth: CandleArray) -> None:
    sequences, table = client.candles(key, from_sequence_exclusive=first - 1)
    assert sequences.tolist() == list(range(first, first + len(truth)))
    assert table.tobytes() == truth.tobytes(), "a candle differs from the server's store"


def random_scenario(seed: int) -> Scenario:
    """A mixture of faults and events; the same for the same seed."""
    random = Random(seed)
    phases = tuple(_random_phase(random) for _ in range(random.randint(1, 3)))
    return Scenario(
        f"mixture {seed}",
        phases,
        tick_ms=random.choice((5, 10, 20)),
        batch_size=random.choice((1, 1, 3, 20)),
        history=random.choice((0, 0, 50, 2_000)),
        revise_every=random.choice((0, 4, 9)),
        page_limit=random.choice((50, 500, 10_000)),
    )


_MILD = {
    "drop_percent": (5, 30, 80),
    "skip_every": (2, 5),
    "jitter_ms": (5, 60),
    "reorder_percent": (10, 50),
    "duplicate_percent": (10, 60),
    "garbage_percent": (5, 30),
    "stall": (True,),
    "answer_delay_ms": (20, 150),
    "answer_fail_percent": (30, 100),
    "answer_empty_percent": (30, 100),
}


def _random_phase(random: Random) -> Phase:
    names = random.sample(sorted(_MILD), random.randint(0, 5))
    faults = Faults(**{name: random.choice(_MILD[name]) for name in names})
    event = random.choice(("", "", "", "restart", "new store", "new client"))
    return Phase(faults, random.uniform(0.1, 0.5), event)


@contextlib.contextmanager
def dev_server(data_dir: Path) -> Iterator[DevServerProcess]:
    """A dev server with quick heartbeats, not yet making candles."""
    with DevServerProcess(data_dir, heartbeat_ms=200, broadcasting=False, symbols=["idle"]) as server:
        yield server
