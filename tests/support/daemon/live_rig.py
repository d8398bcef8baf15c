"""What the end-to-end tests share: daemons and clients as processes, and what the candles must be by the truth alone.

``Expectation`` knows nothing of the product's rules but the words of the flags: it works out from the simulator's truth
which candles there must be and how each must say that it came about.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from fluxcap.bridge.client.cache import CandleCache
from fluxcap.bridge.http.run_file import RunFile, read_run_file
from fluxcap.bridge.store.store import Store
from fluxcap.capture.simulator import Truth
from fluxcap.schemas.types import Candle, CandleFlags, Gap, StreamKey, candles_from
from tests.support.daemon.forked_daemons import COMMAND, ForkedProcess, forked_daemons
from tests.support.patience import PATIENCE_S, await_that

SOURCE = "E2E"
NOBODY = 9
"""The discard port, on which no browser listens."""


class Process:
    """A fluxcap command as a process of its own; what it prints is in ``out_path`` and ``err_path``.

    ``module``: another program in place of the command line. ``fresh``: started by an interpreter of its own, and not
    forked from one that has imported everything.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        module: str = COMMAND,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        fresh: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.out_path, self.err_path = folder / "stdout.txt", folder / "stderr.txt"
        for path in (self.out_path, self.err_path):
            path.write_bytes(b"")
        self._process: subprocess.Popen[bytes] | ForkedProcess
        if sys.platform != "win32" and not fresh:
            forked = forked_daemons()
            self._process = forked.start(arguments, self.out_path, self.err_path, environment, cwd, module)
            return
        with self.out_path.open("wb") as out, self.err_path.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env=os.environ | (environment or {}),
                cwd=cwd,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def out(self) -> str:
        return self.out_path.read_text()

    @property
    def err(self) -> str:
        return self.err_path.read_text()

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Signal it; its exit code and the seconds it took to leave."""
        begin_s = time.monotonic()
        if self.running:
            self._process.send_signal(how)
        try:
            code = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"still there after {PATIENCE_S:g} s: {self.err[-2000:]}") from None
        return code, time.monotonic() - begin_s

    def wait(self) -> int:
        """Its exit code, when it ends by itself."""
        return self._process.wait(PATIENCE_S)

    def discard(self) -> None:
        """End it whatever it does."""
        if self.running:
            self._process.kill()
        self._process.wait()


def run_command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself: what it said, and its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        process = Process(Path(folder), *arguments, cwd=cwd)
        try:
            code = process.wait()
        finally:
            process.discard()
        return subprocess.CompletedProcess(arguments, code, process.out, process.err)


def ask_status(url: str) -> dict[str, Any]:
    """What a daemon says of itself; one that is too busy to answer is asked again."""

    def found() -> dict[str, Any] | None:
        answer = httpx.get(url, timeout=PATIENCE_S, trust_env=False, verify=False)
        return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer.raise_for_status().json()

    return await_that(found, "a status")


class DaemonProcess(Process):
    """``fluxcap run`` with free ports, 1 s candles unless told otherwise, and logs as JSON."""

    def __init__(
        self,
        folder: Path,
        chrome_port: int,
        *options: str,
        interval: str = "1s",
        data_dir: Path | None = None,
        module: str = COMMAND,
        environment: Mapping[str, str] | None = None,
        fresh: bool = False,
    ) -> None:
        self.data_dir = data_dir or folder / "data"
        self.interval = interval
        super().__init__(
            folder,
            *("run", "--chrome", f"127.0.0.1:{chrome_port}", "--data-dir", str(self.data_dir), "--log-json"),
            *("--interval", interval, "--source", SOURCE, "--no-web", "--control-port", "0"),
            *("--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0"),
            *options,
            module=module,
            environment=environment,
            fresh=fresh,
        )

    def key(self, symbol: str) -> StreamKey:
        return StreamKey(SOURCE, symbol, self.interval)

    def run_file(self) -> RunFile:
        """Where it can be reached, once it says so."""

        def found() -> RunFile | None:
            assert self.running, self.err[-2000:]
            run = read_run_file(self.data_dir)
            return run if run is not None and run.pid == self.pid else None

        return await_that(found, "the run file")

    def status(self) -> dict[str, Any]:
        return ask_status(f"{self.run_file().control}/api/status")

    def await_status(self, holds: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """The first status of which ``holds`` is true."""

        def found() -> dict[str, Any] | None:
            status = self.status()
            return status if holds(status) else None

        return await_that(found, what)

    def events(self) -> list[dict[str, Any]]:
        """Its log, line by line; every line must be JSON."""
        return [json.loads(line) for line in self.err.splitlines()]


def stored(data_dir: Path, key: StreamKey) -> list[Candle]:
    """The candles of a store that nobody has open, in order of sequence."""
    with Store.open(data_dir / "fluxcap.duckdb") as store:
        page = store.reader().page(key, 0, None, 1_000_000)
        assert page.start_sequence == 1
        return list(candles_from(page.candles))


def stored_gaps(data_dir: Path, symbol: str) -> list[Gap]:
    with Store.open(data_dir / "fluxcap.duckdb") as store:
        return store.reader().gaps(SOURCE, symbol, 0, 2**62)


def kept(client_dir: Path, key: StreamKey) -> list[Candle]:
    """The candles of a client's copy, in order of sequence."""
    cache = CandleCache(client_dir)
    try:
        return list(candles_from(cache.candles(key)[1]))
    finally:
        cache.close()


class Archive(DaemonProcess):
    """A daemon that ended, started again at its old addresses without a browser: clients fetch what they still lack.

    A client drops what was under way when its connection ends, and heals when the server is back.
    """

    def __init__(self, folder: Path, ended: DaemonProcess, where: RunFile) -> None:
        endpoints = ("--pub", where.pub, "--rep", where.rep)
        super().__init__(folder, NOBODY, *endpoints, interval=ended.interval, data_dir=ended.data_dir)

    def latest_sequence(self, symbol: str) -> int:
        streams = {stream["stream"]: stream for stream in self.status()["streams"]}
        return int(streams[str(self.key(symbol))]["latest_sequence"])

    def await_client(self, client: Process, number: int, symbol: str) -> None:
        """Client ``number`` of a ``tests.support.daemon.recording_client`` has everything."""
        latest = self.latest_sequence(symbol)

        def has_all() -> bool:
            lines = [json.loads(line) for line in client.out.splitlines(keepends=True) if line.endswith("\n")]
            ends = [line[2] + line[3] - 1 for line in lines if line[:2] == [number, symbol] and len(line) == 5]
            return max(ends, default=0) >= latest

        await_that(has_all, f"candle {latest} of {symbol} at client {number}")


class Expectation:
    """What one asset's candles must be, when they were received without a break.

    ``live_from_ms``: since when every tick was received; ``history_from_ms``: since when they are known from the
    page's history, or None.
    """

    def __init__(
        self, truth: Truth, symbol: str, interval_ms: int, live_from_ms: int, history_from_ms: int | None = None
    ) -> None:
        self._truth = truth
        self._symbol = symbol
        self._interval_ms = interval_ms
        self._live_from_ms = live_from_ms
        self._history_from_ms = history_from_ms

    def candles(self, end_ms: int) -> list[Candle]:
        """All that begin before ``end_ms``, flags included."""
        known_from_ms = self._live_from_ms if self._history_from_ms is None else self._history_from_ms
        first_ms = -(-known_from_ms // self._interval_ms) * self._interval_ms
        whole = self._truth.candles(self._symbol, self._interval_ms, first_ms, end_ms)
        return [msgspec.structs.replace(candle, flags=self._flags(candle.ts_ms)) for candle in whole]

    def _flags(self, start_ms: int) -> int:
        if start_ms >= self._live_from_ms:
            return 0
        joined = start_ms + self._interval_ms > self._live_from_ms
        return int(CandleFlags.FILLED | (CandleFlags.JOINED_LATE if joined else 0))


def expectation_from_page_load(truth: Truth, symbol: str, interval_ms: int, after_ms: float = 0) -> Expectation:
    """For a daemon that was there before the page, which was opened after ``after_ms``: live from the first tick sent,
    or from the end of its history."""
    history = [e for e in truth.of_kind("history_sent") if e["symbol"] == symbol and e["at_ms"] > after_ms]
    if not history:
        return Expectation(truth, symbol, interval_ms, truth.sent(symbol)[0].ts_ms)
    until_ms, count = history[0]["until_ts_ms"], history[0]["ticks"]
    known = [tick.ts_ms for tick in truth.ticks(symbol) if tick.ts_ms <= until_ms][-count:]
    return Expectation(truth, symbol, interval_ms, known[-1], known[0])


def differences(expected: list[Candle], found: list[Candle]) -> list[str]:
    """What differs, in words; nothing when the two are equal."""
    wanted, seen = ({candle.ts_ms: candle for candle in candles} for candles in (expected, found))
    assert len(seen) == len(found), "a time stamp occurs twice"
    return list(_differences(wanted, seen))


def _differences(wanted: dict[int, Candle], seen: dict[int, Candle]) -> Iterator[str]:
    for ts_ms in sorted(wanted.keys() | seen.keys()):
        if wanted.get(ts_ms) != seen.get(ts_ms):
            yield f"{ts_ms}: expected {wanted.get(ts_ms)}, found {seen.get(ts_ms)}"
