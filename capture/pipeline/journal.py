"""The tick journal: what a killed daemon needs to rebuild the bucket under way.

Accepted ticks of focused assets are appended as they are taken in. Written without fsync: a killed process loses
nothing the system has, a power cut loses the last seconds, which then are blind time like the rest of the outage. A
torn tail is expected and ends the reading; it is no damage. Files are rotated, and dropped as soon as every bucket they
could belong to is in the store, or when they are too old or too many (see ``RETENTION_MS`` and ``FOLDER_MAX_BYTES``);
journal_recovery.py says what is gone then.

A disk error is reported once and stops the journal, never the capture. Ticks that could not be written are a break like
any other: what follows them is another stretch, which says since when ticks are missing before it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from fluxcap.capture.market.clock import Correction
from fluxcap.capture.pipeline.journal_file import (
    AHEAD_SUFFIX,
    SUFFIX,
    JournalCheck,
    JournalEntry,
    check_journal,
    encode_entry,
    journal_files,
    read_bytes_or_empty,
    renamed_by,
    restamped,
    waiting_files,
)
from fluxcap.capture.pipeline.journal_recovery import (
    JournalContents,
    RecoveredSpan,
    lost_ranges,
    read_journal,
    read_journal_contents,
    read_waiting,
)
from fluxcap.capture.runtime import log
from fluxcap.schemas.types import Tick

__all__ = [
    "SUFFIX",
    "JournalCheck",
    "JournalContents",
    "JournalEntry",
    "RecoveredSpan",
    "TickJournal",
    "check_journal",
    "journal_files",
    "lost_ranges",
    "read_journal",
    "read_journal_contents",
    "read_waiting",
]

ROTATE_MS = 300_000
RETENTION_MS = 21_600_000
"""Ticks older than this are dropped though no candle of theirs is in the store."""
FOLDER_MAX_BYTES = 32 * 1024 * 1024
"""So many bytes of closed files at most, some 600,000 ticks: a start reads them in two or three seconds."""
LOOK_MS = 1_000
"""After so much time of ticks it is looked whether the file still lies where it was made."""
RETRY_MS = 1_000
"""After a disk error no other file is begun for so long."""


class TickJournal:
    """Appends to files in ``folder``.

    ``retention_ms``: see ``RETENTION_MS``. ``published_to_ms(symbol)``: end (UTC ms) of an asset's newest candle in the
    store, 0 for none; only older ticks may go before that. ``focused()``: assets that are received, though they may be
    quiet. ``closed_files``: what earlier runs left, as ``JournalContents.newest``; read here when it is not given.
    """

    def __init__(
        self,
        folder: Path,
        retention_ms: int = RETENTION_MS,
        *,
        published_to_ms: Callable[[str], int] = lambda symbol: 0,
        focused: Callable[[], Collection[str]] = tuple,
        closed_files: Mapping[Path, Mapping[str, int]] | None = None,
    ) -> None:
        self.folder = folder
        self._retention_ms = retention_ms
        self._published_to_ms = published_to_ms
        self._focused = focused
        self._closed = dict(read_journal_contents(folder).newest if closed_files is None else closed_files)
        """Files that are not written any more, and the newest tick of each asset in them, oldest first."""
        self._file: BinaryIO | None = None
        self._path = folder
        self._newest: dict[str, int] = {}
        """Newest tick of each asset in the file under way."""
        self._whole_bytes = 0
        self._after = ""
        self._rotate_at_ms = 0
        self._retry_at_ms = 0
        self._since: dict[str, int] = {}
        self._until: dict[str, int] = {}
        self._whole_from: dict[str, int] = {}
        """Behind the newest tick of an asset that could not be written."""
        self._lost_from: dict[str, int] = {}
        """The oldest one of those that no entry has yet."""
        self._has_failed = False
        self._waiting: BinaryIO | None = None
        self._look_at_ms = 0

    def append(self, ticks: Sequence[Tick], since: Mapping[str, int]) -> None:
        """Write ticks taken in together. ``since``: start of the unbroken coverage of each of their assets, ms."""
        if not ticks:
            return
        now_ms = ticks[-1].ts_ms
        if self._file is None and 0 < self._retry_at_ms - now_ms <= RETRY_MS:
            self._mark_lost(ticks)
            return
        if self._file is not None and now_ms >= self._look_at_ms:
            self._look_at_ms = now_ms + LOOK_MS
            if not self._is_in_place():
                self._file_gone()
        try:
            self._roll(now_ms)
            whole = {symbol: max(from_ms, self._whole_from.get(symbol, 0)) for symbol, from_ms in since.items()}
            changed = {symbol: from_ms for symbol, from_ms in whole.items() if self._since.get(symbol) != from_ms}
            lost = {symbol: from_ms for symbol, from_ms in self._lost_from.items() if symbol in changed}
            self._write(JournalEntry([(t.symbol, t.ts_ms, t.raw_ts_ms, t.price) for t in ticks], changed, lost))
        except OSError as error:
            self._mark_lost(ticks)
            self._truncate_and_close()
            self._retry_at_ms = now_ms + RETRY_MS
            if not self._has_failed:
                self._has_failed = True
                log.warn("journal.write_failed", reason=error.strerror, folder=str(self.folder))
            return
        self._written(ticks, changed, lost)

    def close(self) -> None:
        """Idempotent."""
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None
        self._close_file()

    def hold(self, waiting: Sequence[Tick]) -> None:
        """Keep ticks whose time is not known yet, in a file of their own; a restart has them stamped, too.

        Their ``ts_ms`` is the platform's stamp since when their asset has been received without a break.
        """
        try:
            if self._waiting is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                name = f"waiting-{waiting[0].raw_ts_ms}-{os.getpid()}-{len(waiting_files(self.folder))}{SUFFIX}"
                self._waiting = (self.folder / name).open("xb", buffering=0)
            self._waiting.write(
                encode_entry(JournalEntry([(t.symbol, t.ts_ms, t.raw_ts_ms, t.price) for t in waiting]))
            )
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warn("journal.write_failed", reason=error.strerror, folder=str(self.folder))

    def release(self) -> None:
        """Those that waited have their time by now, and were appended."""
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None
        for path in waiting_files(self.folder):
            with contextlib.suppress(OSError):
                path.unlink()

    def restamp(self, correction: Correction) -> None:
        """Ticks were stamped with a wrong offset: write their files again, with their true times."""
        by_ms = correction.wrong_ms - correction.right_ms
        self._close_file()
        renamed: dict[str, str] = {}
        closed: dict[Path, dict[str, int]] = {}
        for path, newest in self._closed.items():
            data = restamped(read_bytes_or_empty(path), correction.wrong_ms, correction.right_ms, renamed)
            if data is None:
                closed[path] = dict(newest)
                continue
            # Files are read in the order of the times in their names.
            moved = renamed_by(path, by_ms)
            try:
                moved.write_bytes(data)
                path.unlink()
            except OSError as error:
                log.warn("journal.write_failed", reason=error.strerror, folder=str(self.folder))
                closed[path] = dict(newest)
                continue
            renamed[path.name] = moved.name
            closed[moved] = {symbol: ts_ms + by_ms for symbol, ts_ms in newest.items()}
        self._closed = dict(closed)
        self._after = renamed.get(self._after, self._after)
        for times in (self._since, self._until, self._whole_from, self._lost_from):
            for symbol in times:
                times[symbol] += by_ms
        self._rotate_at_ms = self._retry_at_ms = 0

    def set_aside_after(self, ts_ms: int) -> None:
        """Rename the files of earlier runs with ticks later than a time: a clock that was wrong had stamped them."""
        for path, newest in list(self._closed.items()):
            if max(newest.values(), default=0) > ts_ms:
                del self._closed[path]
                with contextlib.suppress(OSError):
                    path.replace(path.with_name(path.name + AHEAD_SUFFIX))
                log.warn("journal.set_aside", file=path.name + AHEAD_SUFFIX, folder=str(self.folder))

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._closed[self._path] = self._newest
            self._after = self._path.name

    def _written(self, ticks: Sequence[Tick], changed: Mapping[str, int], lost: Iterable[str]) -> None:
        for tick in ticks:
            if tick.ts_ms > self._newest.get(tick.symbol, 0):
                self._newest[tick.symbol] = tick.ts_ms
                self._until[tick.symbol] = max(tick.ts_ms, self._until.get(tick.symbol, 0))
        self._since.update(changed)
        for symbol in lost:
            del self._lost_from[symbol]
        if self._has_failed:
            self._has_failed = False
            log.event("journal.write_recovered")

    def _is_in_place(self) -> bool:
        """Return whether the file that is written still lies where it was made."""
        try:
            there, ours = self._path.stat(), os.fstat(self._file.fileno()) if self._file else None
        except OSError:
            return False
        return ours is None or (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _file_gone(self) -> None:
        """The file was deleted or replaced: its ticks are lost for the next start, and a new file begins anew."""
        for symbol, newest_ms in self._newest.items():
            since_ms = self._since.get(symbol, newest_ms)
            self._lost_from[symbol] = min(since_ms, self._lost_from.get(symbol, since_ms))
            self._whole_from[symbol] = max(newest_ms + 1, self._whole_from.get(symbol, 0))
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        self._file = None
        self._since, self._until, self._newest, self._after = {}, {}, {}, ""
        self._has_failed = True
        log.warn("journal.write_failed", reason="its file was deleted", folder=str(self.folder))

    def _mark_lost(self, ticks: Sequence[Tick]) -> None:
        for tick in ticks:
            self._lost_from[tick.symbol] = min(tick.ts_ms, self._lost_from.get(tick.symbol, tick.ts_ms))
            self._whole_from[tick.symbol] = max(tick.ts_ms + 1, self._whole_from.get(tick.symbol, 0))

    def _write(self, entry: JournalEntry) -> None:
        """Raises OSError, also when only a part of it could be written: a full disk takes what fits and says so."""
        if self._file is None:
            return
        frame = encode_entry(entry)
        if self._file.write(frame) != len(frame):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._whole_bytes += len(frame)

    def _roll(self, now_ms: int) -> None:
        if self._file is not None and now_ms < self._rotate_at_ms:
            return
        self._close_file()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._drop_files(now_ms)
        named_ms = now_ms
        while (path := self.folder / f"ticks-{named_ms}-{os.getpid()}{SUFFIX}").exists():
            named_ms += 1  # what stands behind a torn frame is not read
        self._file = path.open("xb", buffering=0)
        self._path, self._newest, self._whole_bytes = path, {}, 0
        self._rotate_at_ms = now_ms + ROTATE_MS
        self._write(JournalEntry([], self._since, {}, self._after, self._until, list(self._focused())))

    def _drop_files(self, now_ms: int) -> None:
        """Delete what nothing needs any more, and of the rest the oldest when there is too much."""
        left_bytes = FOLDER_MAX_BYTES
        for path, newest in reversed(list(self._closed.items())):
            needed = any(ts_ms >= self._published_to_ms(symbol) for symbol, ts_ms in newest.items())
            if needed and max(newest.values()) >= now_ms - self._retention_ms:
                with contextlib.suppress(FileNotFoundError):
                    left_bytes -= path.stat().st_size
                if left_bytes >= 0:
                    continue
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                del self._closed[path]

    def _truncate_and_close(self) -> None:
        """A frame may be half out: whatever follows it in that file would not be read, so it is cut off."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.truncate(self._whole_bytes)
        with contextlib.suppress(OSError):
            self._file.close()
        self._file = None
        if self._newest:
            self._closed[self._path] = self._newest
            self._after = self._path.name
        else:
            with contextlib.suppress(OSError):
                self._path.unlink()
