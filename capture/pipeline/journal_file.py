"""A file of the tick journal: frames of ``length, CRC-32, msgpack``, up to the first that is torn.

The first frame of a file is its head: it says which file of the same run came before, and of every asset since when it
has been covered and how far it had come.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from fluxcap.capture.recording.framing import HEAD_BYTES, encode_frame, frame_bytes, frame_payload

_MAX_FRAME_BYTES = 16 * 1024 * 1024
SUFFIX = ".journal"


class JournalEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of the journal: ticks as ``(symbol, ts_ms, raw_ts_ms, price)``.

    It also has the time (ms) since when an asset is covered without a break, where that changed. ``lost``: since when
    (ms) ticks before these could not be written.

    A file's first entry has no ticks. ``after``: name of the file before it, "" for a run's first. ``until``: the
    newest tick (ms) of each asset so far; ``focused``: the assets in the focus.
    """

    ticks: list[tuple[str, int, int, float]]
    since: dict[str, int] = {}
    lost: dict[str, int] = {}
    after: str = ""
    until: dict[str, int] = {}
    focused: list[str] = []


class JournalCheck(msgspec.Struct, frozen=True):
    """Result of checking one file. ``torn_bytes``: bytes after the last whole frame, as after a kill."""

    path: Path
    frames: int
    ticks: int
    torn_bytes: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(JournalEntry)


def encode_entry(entry: JournalEntry) -> bytes:
    """An entry as it is written."""
    return encode_frame(_encoder.encode(entry))


def journal_files(folder: Path) -> list[Path]:
    """The journal's files, oldest first."""
    return sorted(folder.glob(f"ticks-*{SUFFIX}"), key=_age)


def read_bytes_or_empty(path: Path) -> bytes:
    """Return the content of a file; empty when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def decode_entries(data: bytes) -> Iterator[tuple[JournalEntry, int]]:
    """A file's whole entries, each with the number of bytes up to its end. Never raises for what the file holds."""
    view, size, at = memoryview(data), len(data), 0
    while at + HEAD_BYTES <= size:
        end = at + frame_bytes(view, at)
        if end > min(size, at + HEAD_BYTES + _MAX_FRAME_BYTES) or (payload := frame_payload(view[at:end])) is None:
            return
        at = end
        try:
            entry = _decoder.decode(payload)
        except msgspec.DecodeError:
            return
        yield entry, at


def check_journal(folder: Path) -> list[JournalCheck]:
    """Read every file as a restart would."""
    checks = []
    for path in journal_files(folder):
        data = read_bytes_or_empty(path)
        found = list(decode_entries(data))
        whole_bytes = found[-1][1] if found else 0
        ticks = sum(len(entry.ticks) for entry, _ in found)
        checks.append(JournalCheck(path, len(found), ticks, len(data) - whole_bytes))
    return checks


def _age(path: Path) -> tuple[int, str]:
    """By the time in the name: process numbers differ in length."""
    named = path.name.split("-")[1]
    return (int(named) if named.isdecimal() else 0), path.name
