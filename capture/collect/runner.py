"""The collection that a daemon was asked for: one at a time, in a process of its own, with progress and outcome.

In: an order, by the control port. Out: a ``CollectionView`` for whoever asks. Nothing here touches the page or market
state: the worker drives the page as ``fluxcap collect`` beside a daemon does, and its candles come in by that route.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TextIO, cast

import msgspec

from fluxcap.bridge.system.processes import detached
from fluxcap.capture.collect.orders import FailedFile, WorkerNote, WorkOrder
from fluxcap.capture.collect.plan import DEFAULT_TIMEFRAMES, FAVOURITES, parse_assets, parse_timeframes
from fluxcap.capture.runtime import log
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import AlreadyRunning, FluxcapError, PageUnavailable

COMMAND = (sys.executable, "-m", "fluxcap.capture.collect.worker")
"""A process of its own, so that what drives the browser costs the daemon nothing, not even its imports."""


class CollectionState(StrEnum):
    """The states of a collection; NONE before the first."""

    NONE = "none"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class CollectionView(msgspec.Struct, frozen=True):
    """The newest collection. ``done`` of ``total`` histories; ``failed``: those that are missing.

    ``told``: what is to be clicked, or at the end what was saved. ``error``: why nothing was, or what else went wrong.
    """

    state: CollectionState = CollectionState.NONE
    done: int = 0
    total: int = 0
    told: str = ""
    error: str = ""
    failed: tuple[FailedFile, ...] = ()
    begun_ms: int = 0
    ended_ms: int = 0


class CollectionRunner:
    """Starts collections, and knows how far the newest is. Its methods may be called from any thread.

    ``obstacle``: why the page cannot be collected from now, "" when it can. ``command``: the worker's.
    """

    def __init__(self, settings: Settings, obstacle: Callable[[], str], command: Sequence[str] = COMMAND) -> None:
        self._settings = settings
        self._obstacle = obstacle
        self._command = tuple(command)
        self._lock = threading.Lock()
        self._view = CollectionView()
        self._process: subprocess.Popen[str] | None = None

    def view(self) -> CollectionView:
        return self._view

    def start(
        self, assets: str = FAVOURITES, timeframes: str = DEFAULT_TIMEFRAMES, *, restart: bool = False
    ) -> CollectionView:
        """Begin. Raises ConfigError, AlreadyRunning, PageUnavailable with what to do, NotAnswering."""
        parse_assets(assets)
        parse_timeframes(timeframes)
        told = self._settings.model_dump(mode="json", exclude={"alerts"})  # those are secret, and of no use there
        order = msgspec.json.encode(WorkOrder(assets, timeframes, restart, told)).decode() + "\n"
        with self._lock:
            if self._process is not None:
                raise AlreadyRunning("History is being collected already; wait until that has ended, or stop it.")
            obstacle = self._obstacle()
            if obstacle:
                raise PageUnavailable(obstacle)
            try:
                process = subprocess.Popen(  # noqa: S603 - ourselves
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    **detached(),  # Ctrl-C is the daemon's, which ends it in order
                )
            except OSError as error:
                raise FluxcapError(f"A collection cannot be started: {error.strerror}.") from None
            self._process = process
            self._view = CollectionView(CollectionState.RUNNING, begun_ms=_now_ms())
            log.event("collect.started", assets=assets, timeframes=timeframes)
        threading.Thread(target=self._follow, args=(process, order), name="fluxcap-collection", daemon=True).start()
        return self._view

    def stop(self) -> CollectionView:
        """Ask it to put the page back and end. Nothing happens where none runs."""
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._view = msgspec.structs.replace(self._view, state=CollectionState.STOPPING)
                with contextlib.suppress(OSError, ValueError):
                    self._process.stdin.close()
        return self._view

    def _follow(self, process: subprocess.Popen[str], order: str) -> None:
        """Read what the worker says, to its end."""
        stdin, stdout = cast(TextIO, process.stdin), cast(TextIO, process.stdout)
        with self._lock, contextlib.suppress(OSError, ValueError):  # it may have been stopped, or have ended
            stdin.write(order)
            stdin.flush()
        last, broken = WorkerNote(), deque[str](maxlen=1)
        for line in stdout:
            try:
                last = msgspec.json.decode(line, type=WorkerNote)
            except (msgspec.DecodeError, msgspec.ValidationError):
                broken.extend([line.strip()] if line.strip() else [])
                continue
            self._note(last)
        code = process.wait()
        stdout.close()
        if not last.is_last:
            why = broken[0] if broken else f"code {code}"
            last = msgspec.structs.replace(last, error=f"The collection ended before its time: {why}")
        with self._lock:
            self._process = None
            with contextlib.suppress(OSError, ValueError):
                stdin.close()
            self._view = msgspec.structs.replace(
                self._shown(last), state=CollectionState.ENDED, error=last.error, failed=last.failed, ended_ms=_now_ms()
            )
        log.event("collect.ended", said=last.error or last.told, failed=len(last.failed))

    def _note(self, note: WorkerNote) -> None:
        with self._lock:
            self._view = self._shown(note)

    def _shown(self, note: WorkerNote) -> CollectionView:
        return msgspec.structs.replace(self._view, done=note.done, total=note.total or self._view.total, told=note.told)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
