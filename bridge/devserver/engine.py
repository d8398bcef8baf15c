"""The dev server's engine: one thread that owns a WireServer, makes candles, and obeys.

Commands come from any thread, are carried out between two ticks, and return when they are in force. The candles go
through the same number → commit → publish path as the daemon's; faults sit between that path and the network.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

import msgspec
import numpy as np

from fluxcap.bridge.devserver.fault_injection import FaultyPublisher, FaultyRequestHandler
from fluxcap.bridge.devserver.faults import FaultInjector, Faults
from fluxcap.bridge.devserver.generator import CandleSource, GeneratedCandles, ReplayedCandles, read_candles
from fluxcap.bridge.devserver.settings import MAX_BATCH, DevSettings
from fluxcap.bridge.server.server import FeedInfo, WireServer
from fluxcap.bridge.store.universe import Listing, read_universe
from fluxcap.bridge.system.files import remove_file
from fluxcap.bridge.transport.curve import ServerCurve, server_keys
from fluxcap.schemas.errors import AlreadyRunning, ConfigError, FluxcapError
from fluxcap.schemas.types import CANDLE_DTYPE, Candle, CandleArray, FeedState, StreamKey, StreamStatus, candles_from

log = logging.getLogger(__name__)

FORMING_NS = 250_000_000
REVISE_BACK = 5
"""A revision corrects the candle so many before the newest."""
UNIVERSE_CSV = "data/universe.csv"

_Result = TypeVar("_Result")


class _Stop(Exception):
    """Ends the engine's thread."""


class DevEngine:
    """Serves from ``start`` to ``close``. ``start`` raises ConfigError, AlreadyRunning, StoreError.

    ``curve``: keys, in place of those that the settings name.
    """

    def __init__(self, settings: DevSettings, curve: ServerCurve | None = None) -> None:
        self._settings = settings.validate()
        self._curve = curve or (server_keys(Path(settings.curve)) if settings.curve else None)
        self._replayed = read_candles(Path(settings.replay)) if settings.replay else None
        self._gate = FaultInjector(settings.seed)
        self._endpoints = (settings.pub, settings.rep)
        self._broadcasting = settings.broadcasting
        self._commands: SimpleQueue[tuple[Callable[[], object], Future[object]]] = SimpleQueue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._server: WireServer | None = None
        self._publisher: FaultyPublisher | None = None
        self._sources: dict[StreamKey, CandleSource] = {}
        self._forming: dict[StreamKey, Candle] = {}
        self._batches = 0
        self._last_tick_ts_ms = 0
        self._due_ns = {"tick": 0, "beat": 0, "forming": 0}

    # --- from any thread -------------------------------------------------------------------------------------------

    def start(self) -> DevEngine:
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="devserver", daemon=True)
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self._thread.join()
            raise
        return self

    def close(self) -> None:
        """Idempotent."""
        self._closing.set()
        if self._thread is not None and self._thread.is_alive():
            self._commands.put((_stop, Future()))
            self._thread.join()

    @property
    def endpoints(self) -> tuple[str, str]:
        """Feed and request socket as bound."""
        return self._endpoints

    @property
    def settings(self) -> DevSettings:
        return self._settings

    @property
    def faults(self) -> Faults:
        return self._gate.faults

    @property
    def broadcasting(self) -> bool:
        return self._broadcasting

    def set_faults(self, faults: Faults) -> Faults:
        """Returns them, in force. Raises ConfigError."""
        return self._call(functools.partial(self._set_faults, faults.check()))

    def set_broadcasting(self, on: bool) -> bool:
        """Start or stop making candles; heartbeats and answers go on."""
        return self._call(functools.partial(self._set_broadcasting, on))

    def set_streams(self, settings: DevSettings) -> DevSettings:
        """Generate these streams at this pace from now on; others are still served.

        Endpoints, folder and seed cannot change. Raises ConfigError.
        """
        return self._call(functools.partial(self._set_streams, settings.validate()))

    def restart(self, *, new_store: bool, down_ms: int = 200) -> str:
        """Close the server, wait, and open it again on the same endpoints; returns the store's id."""
        return self._call(functools.partial(self._restart, new_store, down_ms))

    def prune(self, keep: int) -> int:
        """Forget all but about the newest ``keep`` candles of the stream with the oldest; returns how many went."""
        return self._call(functools.partial(self._prune, keep))

    def streams(self) -> list[StreamStatus]:
        return self._call(lambda: list(self._open_server.status().values()))

    def counters(self) -> dict[str, int]:
        """Those of the server, and ``dropped_<kind>``: messages that a fault kept back."""
        return self._call(self._counters)

    def universe(self) -> list[Listing]:
        """The universe table of the store; filled from ``data/universe.csv`` when it is empty and the file is there."""
        return self._call(self._universe)

    def truth(self, key: StreamKey) -> tuple[int, CandleArray]:
        """Return a stream's candles in the store, untouched by faults: (first sequence, candles)."""
        return self._call(functools.partial(self._truth, key))

    def _call(self, command: Callable[[], _Result]) -> _Result:
        done: Future[object] = Future()
        if self._closing.is_set():
            raise ConfigError("The dev server has stopped.")
        self._commands.put((command, done))
        return done.result()  # type: ignore[return-value]

    # --- the engine's thread ---------------------------------------------------------------------------------------

    @property
    def _open_server(self) -> WireServer:
        if self._server is None:
            raise ConfigError("The dev server is not open.")
        return self._server

    def _run(self, ready: Future[None]) -> None:
        try:
            self._open()
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        try:
            while True:
                self._obey(self._idle_timeout_s())
                self._work(time.monotonic_ns())
        except _Stop:
            pass
        except Exception:
            log.exception("the dev server failed")
        finally:
            self._closing.set()
            self._open_server.close()
            self._fail_waiting()

    def _idle_timeout_s(self) -> float:
        due = list(self._due_ns.values())
        if self._publisher is not None and self._publisher.next_due_ns is not None:
            due.append(self._publisher.next_due_ns)
        return max(0.0, (min(due) - time.monotonic_ns()) / 1e9)

    def _obey(self, timeout_s: float) -> None:
        try:
            command, done = self._commands.get(timeout=timeout_s) if timeout_s else self._commands.get_nowait()
        except Empty:
            return
        try:
            done.set_result(command())
        except BaseException as error:
            done.set_exception(error)
            if not isinstance(error, FluxcapError):
                raise

    def _fail_waiting(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._commands.get_nowait()[1].set_exception(ConfigError("The dev server has stopped."))

    def _work(self, now_ns: int) -> None:
        if self._publisher is not None:
            self._publisher.release(now_ns)
        if self._is_due("beat", now_ns, self._settings.heartbeat_ms * 1_000_000):
            self._open_server.heartbeat(_wall_ms(), lambda key: self._feed())
        if self._is_due("tick", now_ns, self._settings.tick_ms * 1_000_000) and self._broadcasting:
            self._tick()
        if self._is_due("forming", now_ns, FORMING_NS) and self._broadcasting and self._settings.forming:
            for key, candle in self._forming.items():
                self._open_server.forming(key, candle, now_ns)

    def _is_due(self, name: str, now_ns: int, every_ns: int) -> bool:
        if now_ns < self._due_ns[name]:
            return False
        # In step with the past unless far behind it: a machine that slept does not catch up.
        late = now_ns - self._due_ns[name] > 10 * every_ns
        self._due_ns[name] = (now_ns if late else self._due_ns[name]) + every_ns
        return True

    def _feed(self) -> FeedInfo:
        return FeedInfo(self._gate.faults.feed_state, self._last_tick_ts_ms)

    def _tick(self) -> None:
        if self._gate.faults.feed_state != FeedState.LIVE:
            return
        self._last_tick_ts_ms = _wall_ms()
        sealed = {key: self._sources[key].next(self._settings.batch_size) for key in self._settings.keys}
        for batch in self._open_server.publish(sealed):
            last = next(candles_from(batch.candles[-1:]))
            after = last.ts_ms + batch.key.interval_ms
            self._forming[batch.key] = Candle(after, last.close, last.close, last.close, last.close, 1.0, 1)
        self._batches += 1
        if self._settings.revise_every and self._batches % self._settings.revise_every == 0:
            self._revise()

    def _revise(self) -> None:
        reader = self._open_server.store.reader()
        for key in self._settings.keys:
            rows = reader.newest(key, REVISE_BACK).candles[:1].copy()
            if len(rows):
                rows["high"] += 0.001
                rows["tick_count"] += 1
                self._open_server.revise({key: rows})

    # --- commands --------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        pub, rep = self._endpoints
        self._server = WireServer(
            self._settings.store_path,
            pub,
            rep,
            curve=self._curve,
            publisher=self._make_publisher,
            handler=self._make_handler,
        )
        self._endpoints = (self._server.pub_endpoint, self._server.rep_endpoint)
        self._sources.clear()
        self._forming.clear()
        self._due_ns = dict.fromkeys(self._due_ns, time.monotonic_ns())
        self._begin_streams()

    def _make_publisher(self, *arguments: object) -> FaultyPublisher:
        self._publisher = FaultyPublisher(self._gate, time.monotonic_ns, *arguments)  # type: ignore[arg-type]
        return self._publisher

    def _make_handler(self, *arguments: object) -> FaultyRequestHandler:
        return FaultyRequestHandler(self._gate, self._closing, *arguments)

    def _begin_streams(self) -> None:
        server, settings = self._open_server, self._settings
        for key in settings.keys:
            if key in self._sources:
                continue
            server.ensure_stream(key)
            mark = server.watermark(key)
            after_ms = mark.latest_ts_ms or self._begin_ts_ms(key) - key.interval_ms
            if self._replayed is not None:
                self._sources[key] = ReplayedCandles(self._replayed, mark.latest_ts_ms)
            else:
                last = server.store.reader().newest(key, 1).candles
                price = float(last["close"][0]) if len(last) else 0.0
                self._sources[key] = GeneratedCandles(key, settings.seed, after_ms, price)
            for begin in range(mark.latest_sequence, settings.history, MAX_BATCH):
                server.publish({key: self._sources[key].next(min(MAX_BATCH, settings.history - begin))})

    def _begin_ts_ms(self, key: StreamKey) -> int:
        if self._settings.start_ts_ms:
            return self._settings.start_ts_ms
        return _wall_ms() // key.interval_ms * key.interval_ms - self._settings.history * key.interval_ms

    def _set_faults(self, faults: Faults) -> Faults:
        self._gate.faults = faults
        return faults

    def _set_broadcasting(self, on: bool) -> bool:
        self._broadcasting = on
        self._due_ns["tick"] = time.monotonic_ns()
        return on

    def _set_streams(self, settings: DevSettings) -> DevSettings:
        fixed = ("data_dir", "pub", "rep", "curve", "seed", "api_port", "replay", "start_ts_ms", "broadcasting")
        now = {name: getattr(self._settings, name) for name in fixed}
        self._settings = msgspec.structs.replace(settings, **now)
        self._begin_streams()
        self._due_ns["tick"] = time.monotonic_ns()
        return self._settings

    def _restart(self, new_store: bool, down_ms: int) -> str:
        self._open_server.close()
        if new_store:
            for ending in ("", ".wal"):
                remove_file(Path(f"{self._settings.store_path}{ending}"))
        self._closing.wait(down_ms / 1000)
        for attempt in range(50):
            try:
                self._open()
                break
            except AlreadyRunning:  # the system may hold a port for a moment after its socket was closed
                if attempt == 49:
                    raise
                time.sleep(0.05)
        return self._open_server.store_id

    def _prune(self, keep: int) -> int:
        first_ts_ms = min(
            status.latest_ts_ms - keep * key.interval_ms for key, status in self._open_server.status().items()
        )
        return self._open_server.prune(first_ts_ms)

    def _counters(self) -> dict[str, int]:
        return self._open_server.counters | {f"dropped_{kind}": n for kind, n in self._gate.dropped.items()}

    def _universe(self) -> list[Listing]:
        listings = self._open_server.store.reader().universe()
        if not listings:
            for csv in (Path(UNIVERSE_CSV), Path(__file__).parents[2] / UNIVERSE_CSV):
                if csv.is_file():
                    listings = read_universe(csv)
                    self._open_server.store.replace_universe(listings)
                    break
        return listings

    def _truth(self, key: StreamKey) -> tuple[int, CandleArray]:
        reader = self._open_server.store.reader()
        mark = reader.watermarks().get(key)
        if mark is None or not mark.latest_sequence:
            return 1, np.empty(0, CANDLE_DTYPE)
        page = reader.page(key, None, None, mark.latest_sequence)
        return page.start_sequence, page.candles


def _stop() -> None:
    raise _Stop


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
