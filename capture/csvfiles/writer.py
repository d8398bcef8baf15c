"""Collects ticks and candles to rotating CSV files, in the original's folders, names and columns (format.py).

A listener of the pipeline with a thread of its own: what was published is put on a bounded queue, and the thread
appends it line by line. Nothing here can hold up or fail the capture.

- **Kill**: what is written is with the system line by line, unbuffered; at most the line being written is lost, and
  lines that still waited on the queue (none, unless the disk is slower than the market).
- **Restart**: a session begins new files under a new stamp; a name that is taken is passed over. Nothing is truncated
  or overwritten, ever.
- **Disk trouble** is reported once. The lines wait, up to ``PENDING_MAX`` of a kind, and are written in order when
  the disk works again; what goes beyond is counted as lost. The store and the wire know nothing of it.
- **Candles are as they were first published.** A later revision changes no line and adds none: the files ascend
  strictly, and what read a line once may rely on it. They carry no quality flags, as the original's do not. The store
  has the revised candles with their flags: ``fluxcap export`` writes those.
- **Longer intervals** go to files of their own where they are asked for; else candles are those of the base interval.
- **Ticks** are the live ones of focused assets, each once. The page's history of ticks is not among them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

import msgspec

from fluxcap.capture.csvfiles.format import CsvKind, candle_line, file_name, series_folder, session_stamp, tick_line
from fluxcap.capture.csvfiles.rotation import FileSystem, RotatingCsv, Series
from fluxcap.capture.pipeline.listeners import Listener, PublishedUpdate
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import CollectMode
from fluxcap.schemas.types import CandleBatch, candles_from

QUEUE_MAX = 100_000
PENDING_MAX = 100_000
RETRY_S = 1.0
_KINDS = {
    CollectMode.TICK: frozenset({CsvKind.TICK}),
    CollectMode.CANDLE: frozenset({CsvKind.CANDLE}),
    CollectMode.BOTH: frozenset(CsvKind),
    CollectMode.NONE: frozenset[CsvKind](),
}


class CsvStatus(msgspec.Struct, frozen=True):
    """The state of collecting, as ``status`` serves it. ``error``: why nothing can be written now, else ""."""

    mode: str
    tick_chunk_size: int
    candle_chunk_size: int
    folder: str
    ticks: int = 0
    """Lines written since the start."""
    candles: int = 0
    files: int = 0
    waiting: int = 0
    """Lines kept until the disk works again."""
    lost: int = 0
    error: str = msgspec.field(default="", name="trouble")


class CsvSettingsChange(msgspec.Struct, frozen=True):
    """A change of collecting; None leaves a field unchanged."""

    mode: CollectMode | None = None
    tick_chunk_size: int | None = None
    candle_chunk_size: int | None = None


class _CsvSeriesWriter:
    """One kind's files, and the lines that wait while they cannot be written."""

    def __init__(self, kind: CsvKind, parts: RotatingCsv, folder: Path, clock_s: Callable[[], float]) -> None:
        self.kind = kind
        self.parts = parts
        self._folder = folder
        self._clock_s = clock_s
        self._pending: deque[tuple[Series, bytes]] = deque()
        self._retry_at_s = 0.0
        self._lost_before = 0
        self.lines = 0
        self.lost = 0
        self.error = ""

    @property
    def pending(self) -> int:
        return len(self._pending)

    def add(self, series: Series, line: bytes) -> None:
        """Write a line, or keep it for later."""
        if self.error:
            self._keep(series, line)
            return
        try:
            self.parts.write(series, line)
            self.lines += 1
        except OSError as error:
            self._failed(error)
            self._keep(series, line)

    def retry(self, *, at_once: bool = False) -> None:
        """Write what waits, if it is time to try."""
        if not self.error or (self._clock_s() < self._retry_at_s and not at_once):
            return
        try:
            while self._pending:
                self.parts.write(*self._pending[0])
                self.lines += 1
                self._pending.popleft()
        except OSError as error:
            self._failed(error)
            return
        self.error = ""
        log.event("csv.write_recovered", kind=self.kind.value, lines_lost=self.lost - self._lost_before)

    def _keep(self, series: Series, line: bytes) -> None:
        if len(self._pending) >= PENDING_MAX:
            self._pending.popleft()
            self.lost += 1
        self._pending.append((series, line))

    def _failed(self, error: OSError) -> None:
        self._retry_at_s = self._clock_s() + RETRY_S
        if not self.error:
            self._lost_before = self.lost
            reason = error.strerror or str(error)
            log.warn("csv.write_failed", kind=self.kind.value, folder=str(self._folder), reason=reason)
        self.error = error.strerror or str(error)


class CsvWriter(Listener):
    """The listener. ``start`` runs the thread, ``change`` switches it, ``stop`` writes what it has and ends.

    Parameters
    ----------
    data_dir
        The data folder; files go below ``data_output/`` in it.
    mode, tick_chunk_size, candle_chunk_size
        As the settings of the same names; sizes in lines a file.
    timeframes
        Longer intervals whose candles are written, too.
    now_ms
        Wall clock, for the stamp in file names.
    disk
        Where tests put a failing one.
    """

    def __init__(
        self,
        data_dir: Path,
        mode: CollectMode,
        tick_chunk_size: int = 1_000,
        candle_chunk_size: int = 100,
        *,
        timeframes: Collection[str] = (),
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock_s: Callable[[], float] = time.monotonic,
        disk: FileSystem | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._timeframes = frozenset(timeframes)
        self._now_ms = now_ms
        self._stamp = session_stamp(now_ms())
        self._accepting = self._mode = mode
        self._queue: queue.Queue[PublishedUpdate | tuple[CsvSettingsChange, Future[None]] | None] = queue.Queue(
            QUEUE_MAX
        )
        self._overrun = 0
        self._thread = threading.Thread(target=self._run, name="fluxcap-csv", daemon=True)
        self._limit = log.RateLimit()
        sizes = {CsvKind.TICK: tick_chunk_size, CsvKind.CANDLE: candle_chunk_size}
        self._series = {
            kind: _CsvSeriesWriter(
                kind,
                RotatingCsv(kind.header, sizes[kind], self._path_maker(kind), disk),
                data_dir / series_folder(kind, "1m"),
                clock_s,
            )
            for kind in CsvKind
        }

    # --- from other threads ---------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 1.5) -> None:
        """Write what is queued, then end; a disk that hangs is not waited for longer than this."""
        if self._thread.is_alive():
            try:
                self._queue.put(None, timeout=timeout_s)
            except queue.Full:
                return
            self._thread.join(timeout_s)

    def published(self, update: PublishedUpdate) -> None:
        """Listener."""
        if self._accepting is CollectMode.NONE or not (update.ticks or update.batches or self._longer(update)):
            return
        try:
            self._queue.put_nowait(update)
        except queue.Full:
            batches = (*update.batches, *self._longer(update))
            self._overrun += len(update.ticks) + sum(len(batch.candles) for batch in batches)
            self._limit.warn("csv.rows_dropped", hint="the disk is too slow", lines=self._overrun)

    def change(self, change: CsvSettingsChange, timeout_s: float = 2.0) -> CsvStatus:
        """Take a new mode or sizes, in order with what is published; returns what holds then.

        It lasts until the daemon ends. A part that already has as many lines as the new size is left at the next line.
        """
        done: Future[None] = Future()
        if change.mode is not None and change.mode is not CollectMode.NONE:
            self._accepting = change.mode  # before: what comes after the change must be on the queue
        try:
            self._queue.put((change, done), timeout=timeout_s)
            done.result(timeout_s)
        except (queue.Full, FutureTimeout):
            self._limit.warn("csv.writer_slow", hint="the change takes effect when the disk answers again")
        if change.mode is not None:
            self._accepting = change.mode
        return self.view()

    def view(self) -> CsvStatus:
        """A snapshot, from any thread."""
        ticks, candles = self._series[CsvKind.TICK], self._series[CsvKind.CANDLE]
        return CsvStatus(
            mode=self._mode.value,
            tick_chunk_size=ticks.parts.chunk_size,
            candle_chunk_size=candles.parts.chunk_size,
            folder=str(self._data_dir / series_folder(CsvKind.TICK, "1m").parent),
            ticks=ticks.lines,
            candles=candles.lines,
            files=ticks.parts.files + candles.parts.files,
            waiting=ticks.pending + candles.pending,
            lost=ticks.lost + candles.lost + self._overrun,
            error=ticks.error or candles.error,
        )

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            in_trouble = any(series.error for series in self._series.values())
            try:
                item = self._queue.get(timeout=RETRY_S / 2 if in_trouble else None)
            except queue.Empty:
                self._retry()
                continue
            if item is None:
                break
            self._guarded(item)
            self._retry()
        self._end()

    def _guarded(self, item: Any) -> None:
        try:
            if isinstance(item, PublishedUpdate):
                self._write(item)
            else:
                change, done = item
                self._apply(change)
                done.set_result(None)
        except Exception as error:
            self._limit.failure("csv.writer_error", error)

    def _write(self, update: PublishedUpdate) -> None:
        kinds = _KINDS[self._mode]
        if CsvKind.TICK in kinds:
            series = self._series[CsvKind.TICK]
            for tick in update.ticks:
                series.add((tick.symbol, ""), tick_line(tick))
        if CsvKind.CANDLE in kinds:
            series = self._series[CsvKind.CANDLE]
            for batch in (*update.batches, *self._longer(update)):
                key = (batch.key.symbol, batch.key.interval)
                for candle in candles_from(batch.candles):
                    series.add(key, candle_line(candle))

    def _longer(self, update: PublishedUpdate) -> list[CandleBatch]:
        """The candles of longer intervals that are written."""
        if not self._timeframes:
            return []
        batches = [one for one in update.derived if isinstance(one, CandleBatch)]
        return [batch for batch in batches if batch.key.interval in self._timeframes]

    def _apply(self, change: CsvSettingsChange) -> None:
        if change.tick_chunk_size is not None:
            self._series[CsvKind.TICK].parts.chunk_size = change.tick_chunk_size
        if change.candle_chunk_size is not None:
            self._series[CsvKind.CANDLE].parts.chunk_size = change.candle_chunk_size
        if change.mode is None or change.mode is self._mode:
            return
        self._stamp = session_stamp(self._now_ms())
        for kind in _KINDS[change.mode] - _KINDS[self._mode]:
            self._series[kind].parts.begin_session(self._path_maker(kind))
        for kind in _KINDS[self._mode] - _KINDS[change.mode]:
            self._series[kind].parts.close()
        log.event("csv.mode_changed", before=self._mode.value, now=change.mode.value)
        self._mode = change.mode

    def _path_maker(self, kind: CsvKind) -> Callable[[Series, int], Path]:
        stamp = self._stamp

        def path(series: Series, part: int) -> Path:
            symbol, interval = series
            return self._data_dir / series_folder(kind, interval) / file_name(kind, symbol, interval, stamp, part)

        return path

    def _retry(self) -> None:
        for series in self._series.values():
            series.retry()

    def _end(self) -> None:
        for series in self._series.values():
            series.retry(at_once=True)
            series.parts.close()
            if series.pending:
                log.warn("csv.rows_dropped", kind=series.kind.value, lines=series.pending, hint=series.error)
