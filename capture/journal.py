"""The tick journal: what a killed daemon needs to rebuild the bucket under way.

Accepted ticks of focused assets are appended as they are taken in, in frames of ``length, CRC-32, msgpack``. Written
without fsync: a killed process loses nothing the system has, a power cut loses the last seconds, which then are blind
time like the rest of the outage. A torn tail is expected and ends the reading; it is no damage. Files are rotated, and
dropped as soon as every bucket they could belong to is in the store.

Disk trouble is reported once and stops the journal, never the capture. Ticks that could not be written are a break like
any other: what follows them is another stretch, which says since when ticks are missing before it.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from capture import log
from schemas.types import Tick

_HEAD = struct.Struct("<II")
_MAX_FRAME = 16 * 1024 * 1024
SUFFIX = ".journal"
ROTATE_MS = 300_000


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """Ticks as ``(symbol, ts_ms, raw_ts_ms, price)``, and since when (ms) an asset has been covered without a break,
    told where it is new. ``lost``: since when (ms) ticks could not be written before these."""

    ticks: list[tuple[str, int, int, float]]
    since: dict[str, int] = {}
    lost: dict[str, int] = {}


class Remembered(msgspec.Struct, frozen=True):
    """One asset's unbroken stretch: its ticks, ascending, covered from ``from_ms`` to the last of them.

    ``lost_from_ms``: ticks from there to ``from_ms`` could not be written; 0: none was lost.
    """

    symbol: str
    from_ms: int
    ticks: tuple[Tick, ...]
    lost_from_ms: int = 0

    @property
    def to_ms(self) -> int:
        return self.ticks[-1].ts_ms if self.ticks else self.from_ms


class JournalCheck(msgspec.Struct, frozen=True):
    """What ``verify`` finds in one file. ``torn_bytes``: after the last whole frame, as a kill leaves them."""

    path: Path
    frames: int
    ticks: int
    torn_bytes: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


class TickJournal:
    """Appends to files in ``folder``. ``keep_ms``: how long a tick may be needed (some intervals)."""

    def __init__(self, folder: Path, keep_ms: int) -> None:
        self.folder = folder
        self._keep_ms = keep_ms
        self._file: BinaryIO | None = None
        self._rotate_at_ms = 0
        self._since: dict[str, int] = {}
        self._whole_from: dict[str, int] = {}
        """Behind the newest tick of an asset that could not be written."""
        self._lost_from: dict[str, int] = {}
        """The oldest one of those that no entry has told of yet."""
        self._trouble = False

    def append(self, ticks: Sequence[Tick], since: Mapping[str, int]) -> None:
        """Write ticks taken in together. ``since``: start of the unbroken coverage of each of their assets, ms."""
        if not ticks:
            return
        try:
            self._roll(ticks[-1].ts_ms)
            whole = {symbol: max(from_ms, self._whole_from.get(symbol, 0)) for symbol, from_ms in since.items()}
            changed = {symbol: from_ms for symbol, from_ms in whole.items() if self._since.get(symbol) != from_ms}
            lost = {symbol: from_ms for symbol, from_ms in self._lost_from.items() if symbol in changed}
            self._write(Entry([(t.symbol, t.ts_ms, t.raw_ts_ms, t.price) for t in ticks], changed, lost))
            self._since.update(changed)
            for symbol in lost:
                del self._lost_from[symbol]
            if self._trouble:
                self._trouble = False
                log.event("journal works again")
        except OSError as error:
            for tick in ticks:
                self._lost_from[tick.symbol] = min(tick.ts_ms, self._lost_from.get(tick.symbol, tick.ts_ms))
                self._whole_from[tick.symbol] = max(tick.ts_ms + 1, self._whole_from.get(tick.symbol, 0))
            if not self._trouble:
                self._trouble = True
                log.warn("journal cannot be written", reason=error.strerror, folder=str(self.folder))
            self._abandon_file()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, entry: Entry) -> None:
        payload = _encoder.encode(entry)
        if self._file is not None:
            self._file.write(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)

    def _roll(self, now_ms: int) -> None:
        if self._file is not None and now_ms < self._rotate_at_ms:
            return
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in journal_files(self.folder):
            if old.stat().st_mtime * 1_000 < now_ms - self._keep_ms - ROTATE_MS:
                old.unlink(missing_ok=True)
        named_ms = now_ms
        while (path := self.folder / f"ticks-{named_ms}-{os.getpid()}{SUFFIX}").exists():
            named_ms += 1  # what stands behind a torn frame is not read
        self._file = path.open("xb", buffering=0)
        self._rotate_at_ms = now_ms + ROTATE_MS
        self._write(Entry([], self._since))

    def _abandon_file(self) -> None:
        """A frame may be half out: whatever follows it in that file would not be read."""
        try:
            self.close()
        except OSError:
            self._file = None


def journal_files(folder: Path) -> list[Path]:
    """The journal's files, oldest first."""
    return sorted(folder.glob(f"ticks-*{SUFFIX}"), key=lambda path: (len(path.name), path.name))


def read_journal(folder: Path) -> list[Remembered]:
    """The unbroken stretches of every asset, an asset's oldest first. Never raises for what the files hold."""
    stretches: dict[tuple[str, int], list[Tick]] = {}
    since: dict[str, int] = {}
    lost: dict[tuple[str, int], int] = {}
    for path in journal_files(folder):
        for entry in _entries(path):
            since |= entry.since
            lost |= {(symbol, since[symbol]): from_ms for symbol, from_ms in entry.lost.items() if symbol in since}
            for symbol, ts_ms, raw_ts_ms, price in entry.ticks:
                if symbol in since:
                    found = stretches.setdefault((symbol, since[symbol]), [])
                    found.append(Tick(symbol, ts_ms, raw_ts_ms, price))
    return [
        Remembered(symbol, from_ms, tuple(sorted(ticks, key=lambda tick: tick.ts_ms)), lost.get((symbol, from_ms), 0))
        for (symbol, from_ms), ticks in sorted(stretches.items())
    ]


def losses(stretches: Sequence[Remembered]) -> list[tuple[int, int]]:
    """Where ticks of one asset could not be written, ``(from_ms, to_ms)``: from the last one before that was."""
    found = []
    for before, stretch in zip((None, *stretches), stretches, strict=False):
        if stretch.lost_from_ms:
            from_ms = min(before.to_ms, stretch.lost_from_ms) if before else stretch.lost_from_ms
            found.append((from_ms, stretch.from_ms))
    return found


def check_journal(folder: Path) -> list[JournalCheck]:
    """Read every file as a restart would."""
    checks = []
    for path in journal_files(folder):
        frames = ticks = whole = 0
        for size, entry in _frames(path):
            frames, ticks, whole = frames + 1, ticks + len(entry.ticks), whole + size
        checks.append(JournalCheck(path, frames, ticks, path.stat().st_size - whole))
    return checks


def _entries(path: Path) -> Iterator[Entry]:
    for _, entry in _frames(path):
        yield entry


def _frames(path: Path) -> Iterator[tuple[int, Entry]]:
    """Whole frames with their sizes in bytes, up to the first that is torn."""
    try:
        data = memoryview(path.read_bytes())
    except OSError:
        return
    at = 0
    while at + _HEAD.size <= len(data):
        length, crc = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if length > _MAX_FRAME or len(payload) < length or zlib.crc32(payload) != crc:
            return
        try:
            entry = _decoder.decode(payload)
        except msgspec.DecodeError:
            return
        yield _HEAD.size + length, entry
        at += _HEAD.size + length
