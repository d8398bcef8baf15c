"""Reads the tick journal: each asset's unbroken ranges, and where ticks are lost.

Files go when what they hold is in the store, or when there are too many; a tail may be torn. So a file's head is
believed only as far as the files before it are there: behind a hole a stretch begins after the newest tick that had
been written by then, and what was received before it and is not in the store is reported as lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path

import msgspec

from fluxcap.capture.market.feeds import SILENT_MIN_MS
from fluxcap.capture.market.market import WaitingSpan
from fluxcap.capture.pipeline.journal_file import (
    JournalEntry,
    decode_entries,
    journal_files,
    read_bytes_or_empty,
    waiting_files,
)
from fluxcap.schemas.types import Tick

_TIME = attrgetter("ts_ms")


class RecoveredSpan(msgspec.Struct, frozen=True):
    """One asset's unbroken stretch: its ticks, ascending, covered from ``from_ms`` to the last of them.

    Without ticks: all that is known is that the asset had been received until ``from_ms``.
    ``lost_from_ms``: ticks from there to ``from_ms`` could not be written, or are gone; 0: none was lost.
    """

    symbol: str
    from_ms: int
    ticks: tuple[Tick, ...]
    lost_from_ms: int = 0

    @property
    def to_ms(self) -> int:
        return max(self.ticks[-1].ts_ms, self.from_ms) if self.ticks else self.from_ms


class JournalContents(msgspec.Struct, frozen=True):
    """All that a folder holds. ``newest``: of each file, oldest first, the newest tick (UTC ms) of each asset."""

    stretches: list[RecoveredSpan]
    newest: dict[Path, dict[str, int]]


def read_journal_contents(folder: Path, published_to_ms: Callable[[str], int] = lambda symbol: 0) -> JournalContents:
    """Read all journal files. Never raises for damage in them.

    ``published_to_ms``: end (UTC ms) of an asset's newest candle in the store, 0 for none. Missing ticks before it are
    no loss; for an asset without candles a missing file is no loss either.
    """
    reading = _Reading(published_to_ms)
    for path in journal_files(folder):
        reading.read_file(path)
    return JournalContents(reading.stretches(), reading.newest)


def read_journal(folder: Path) -> list[RecoveredSpan]:
    """The unbroken stretches of every asset, an asset's oldest first."""
    return read_journal_contents(folder).stretches


def lost_ranges(stretches: Sequence[RecoveredSpan]) -> list[tuple[int, int]]:
    """Return where ticks of one asset could not be written, ``(from_ms, to_ms)``, from the last written one."""
    found = []
    for before, stretch in zip((None, *stretches), stretches, strict=False):
        if stretch.lost_from_ms:
            from_ms = min(before.to_ms, stretch.lost_from_ms) if before else stretch.lost_from_ms
            found.append((from_ms, stretch.from_ms))
    return found


def read_waiting(folder: Path) -> list[WaitingSpan]:
    """Ticks that an earlier run received while its clock was in question, an unbroken stretch each, oldest first.

    A pause of all assets ends every stretch: what was not received then cannot be told from a quiet market here.
    """
    found: dict[tuple[str, int, int], list[tuple[int, float]]] = {}
    for number, path in enumerate(waiting_files(folder)):
        last_ms, part = 0, 0
        for entry, _ in decode_entries(read_bytes_or_empty(path)):
            for symbol, since_ms, raw_ms, price in entry.ticks:
                if raw_ms - last_ms > SILENT_MIN_MS:
                    part += 1
                last_ms = max(raw_ms, last_ms)
                found.setdefault((symbol, since_ms, number << 32 | part), []).append((raw_ms, price))
    spans = []
    for (symbol, since_ms, _), ticks in found.items():
        ticks.sort(key=lambda tick: tick[0])
        spans.append(WaitingSpan(symbol, max(since_ms, ticks[0][0]), tuple(ticks)))
    return sorted(spans, key=lambda span: span.from_raw_ms)


class _Reading:
    """The files, one after another. ``newest``: see ``JournalContents``."""

    def __init__(self, published_to_ms: Callable[[str], int]) -> None:
        self._published_to_ms = published_to_ms
        self._ticks: dict[tuple[str, int], list[Tick]] = {}
        self._lost: dict[tuple[str, int], int] = {}
        self._begins: dict[str, int] = {}
        """Begin of the stretch that each asset's next tick belongs to."""
        self._floors: dict[str, int] = {}
        """No stretch of an asset begins before: ticks are missing there."""
        self._until: dict[str, int] = {}
        """The newest tick of each asset that was read of this run."""
        self._quiet: dict[str, int] = {}
        """Focused assets when the newest file began, and their newest tick then."""
        self._before = ""
        self._before_torn = False
        self.newest: dict[Path, dict[str, int]] = {}

    def read_file(self, path: Path) -> None:
        data = read_bytes_or_empty(path)
        newest: dict[str, int] = {}
        whole_bytes = 0
        for entry, end_bytes in decode_entries(data):
            if not whole_bytes:
                self._head(entry)
            elif entry.since or entry.lost:
                self._told(entry)
            whole_bytes = end_bytes
            for symbol, ts_ms, raw_ts_ms, price in entry.ticks:
                if ts_ms > newest.get(symbol, 0):
                    newest[symbol] = ts_ms
                if symbol in self._begins:
                    key = symbol, self._begins[symbol]
                    if key not in self._ticks:
                        self._ticks[key] = []
                    self._ticks[key].append(Tick(symbol, ts_ms, raw_ts_ms, price))
        for symbol, ts_ms in newest.items():
            self._until[symbol] = max(ts_ms, self._until.get(symbol, 0))
        self.newest[path] = newest
        self._before, self._before_torn = path.name, whole_bytes < len(data)

    def stretches(self) -> list[RecoveredSpan]:
        for symbol, until_ms in self._quiet.items():
            if self._until.get(symbol, 0) < until_ms:
                self._ticks.setdefault((symbol, until_ms), [])
                begin = symbol, self._begins.get(symbol, 0)
                if begin in self._lost and begin not in self._ticks:
                    self._lost[symbol, until_ms] = self._lost[begin]
        return [
            RecoveredSpan(symbol, from_ms, tuple(sorted(ticks, key=_TIME)), self._lost.get((symbol, from_ms), 0))
            for (symbol, from_ms), ticks in sorted(self._ticks.items())
        ]

    def _head(self, head: JournalEntry) -> None:
        self._quiet = {symbol: head.until[symbol] for symbol in head.focused if symbol in head.until}
        if not head.after:
            self._begins, self._until = {}, {}
        elif head.after != self._before or self._before_torn:
            self._hole(head)

    def _hole(self, head: JournalEntry) -> None:
        """Files before this one are not there, or one was not read to its end."""
        torn = head.after == self._before
        begins = self._begins if torn else {}
        self._begins = {}
        for symbol, until_ms in head.until.items():
            since_ms = head.since.get(symbol, until_ms)
            if symbol in begins and self._until.get(symbol) == until_ms:
                self._begins[symbol] = begins[symbol]  # none of its ticks was in what is missing
                continue
            self._floors[symbol] = until_ms + 1
            self._begins[symbol] = begin_ms = max(since_ms, until_ms + 1)
            published_ms = self._published_to_ms(symbol)
            lost_ms = max(since_ms, self._until.get(symbol, 0), published_ms)
            if lost_ms < begin_ms and (torn or published_ms):
                self._lost[symbol, begin_ms] = lost_ms

    def _told(self, entry: JournalEntry) -> None:
        for symbol, since_ms in entry.since.items():
            self._begins[symbol] = max(since_ms, self._floors.get(symbol, 0))
        for symbol, from_ms in entry.lost.items():
            if symbol in self._begins:
                self._lost[symbol, self._begins[symbol]] = from_ms
