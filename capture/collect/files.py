"""The collected files, and the note by which an interrupted run goes on.

Under ``<data folder>/data_output/assets_data/data_collect/``::

    {1H,15M,5M,1M}_candles/{asset}_{60m,15m,5m,1m}_{stamp}.csv     timestamp,open,close,high,low     (mind the order)
    unfinished.json                                                what a run that is not done yet has saved
    running.pid                                                    the process that collects now
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from fluxcap.bridge.system.files import remove_file
from fluxcap.bridge.system.processes import command_line, has_ended
from fluxcap.capture.collect.plan import Job
from fluxcap.capture.csvfiles.collected import COLLECT_FOLDER, write_collected, write_whole
from fluxcap.schemas.errors import AlreadyRunning, ConfigError
from fluxcap.schemas.types import Candle

UNFINISHED = "unfinished.json"
RUNNING = "running.pid"


class _ResumeState(msgspec.Struct):
    day: str = ""
    saved: dict[str, str] = {}


class CollectedFiles:
    """The folder ``data_collect`` of a data folder. Raises ConfigError when it cannot be made.

    ``restart``: forget what an unfinished run of today has saved.
    """

    def __init__(self, data_dir: Path, *, restart: bool = False, now_s: float | None = None) -> None:
        self.folder = data_dir / COLLECT_FOLDER
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"The folder {self.folder} cannot be made: {error.strerror}.") from None
        today = _day(time.time() if now_s is None else now_s)
        before = _ResumeState() if restart else _read(self.folder / UNFINISHED)
        self._note = before if before.day == today else _ResumeState(today, {})

    @property
    def screenshot(self) -> Path:
        """Path of the screenshot of a page on which something was not found."""
        return self.folder / "page.png"

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Collect alone while held: two that turn one page would each get the other's history.

        Raises AlreadyRunning, ConfigError.
        """
        note = self.folder / RUNNING
        for is_last_try in (False, True):
            try:
                with note.open("x") as out:
                    out.write(str(os.getpid()))
                break
            except FileExistsError:
                pid = _collecting_pid(note)
                if pid or is_last_try:
                    raise AlreadyRunning(
                        f"History is being collected already (process {pid}); wait until that has ended."
                    ) from None
                remove_file(note)  # of one that was killed
            except OSError as error:
                raise ConfigError(f"{note} cannot be written: {error.strerror}.") from None
        try:
            yield
        finally:
            with suppress(OSError):
                remove_file(note)

    def is_saved(self, job: Job) -> bool:
        """Return whether an unfinished run of today has saved it, and the file still exists."""
        name = self._note.saved.get(_key(job))
        return name is not None and (self.folder / name).is_file()

    def save(self, job: Job, symbol: str, candles: Sequence[Candle], now_ms: int) -> Path:
        """Write the file in one piece. Raises StoreFull, StoreError."""
        timeframe = job.timeframe
        path = write_collected(self.folder, timeframe.folder, timeframe.suffix, symbol, candles, now_ms)
        self._note.saved[_key(job)] = path.relative_to(self.folder).as_posix()
        write_whole(self.folder / UNFINISHED, msgspec.json.encode(self._note))
        return path

    def finish(self) -> None:
        """All is saved: the next run starts again."""
        remove_file(self.folder / UNFINISHED)


def _read(path: Path) -> _ResumeState:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_ResumeState)
    except (OSError, msgspec.DecodeError):
        return _ResumeState()


def _collecting_pid(note: Path) -> int:
    """Return the process that a note names, if it still collects; else 0. Numbers of processes come again."""
    try:
        pid = int(note.read_text())
    except (OSError, ValueError):
        return 0
    words = " ".join(command_line(pid)) if pid != os.getpid() else "collect"
    return pid if not has_ended(pid) and "collect" in words else 0


def _key(job: Job) -> str:
    return f"{job.label} {job.timeframe.interval}"


def _day(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).date().isoformat()
