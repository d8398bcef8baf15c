"""A file of the tick journal: frames of ``length, CRC-32, msgpack``, up to the first that is torn.

The first frame of a file is its head: it says which file of the same run came before, and of every asset since when it
has been covered and how far it had come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from fluxcap.capture.recording.framing import HEAD_BYTES, encode_frame, frame_bytes, frame_payload

_MAX_FRAME_BYTES = 16 * 1024 * 1024
SUFFIX = ".journal"
AHEAD_SUFFIX = ".ahead"
"""Ends the name of a file whose ticks were stamped by a clock that was ahead: it is set aside and read by nobody."""


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


def waiting_files(folder: Path) -> list[Path]:
    """The files of ticks whose time is not known yet, oldest first."""
    return sorted(folder.glob(f"waiting-*{SUFFIX}"), key=_age)


def renamed_by(path: Path, by_ms: int) -> Path:
    """Return the path of a file whose times move by so much; one that is not there yet."""
    ts_ms, _ = _age(path)
    _, _, rest = path.name.split("-", 2)
    while (moved := path.with_name(f"ticks-{ts_ms + by_ms}-{rest}")).exists():
        by_ms += 1
    return moved


def restamped(data: bytes, wrong_ms: int, right_ms: int, renamed: Mapping[str, str]) -> bytes | None:
    """A file's content with its times by the right offset; None when its ticks were not stamped by the wrong one.

    ``wrong_ms``, ``right_ms``: offsets of the platform's stamps from UTC. ``renamed``: new names of files before it.
    """
    entries = [entry for entry, _ in decode_entries(data)]
    stamped = next((raw_ts_ms - ts_ms for entry in entries for _, ts_ms, raw_ts_ms, _ in entry.ticks), None)
    if stamped != wrong_ms:
        return None
    by_ms = wrong_ms - right_ms

    def moved(times: dict[str, int]) -> dict[str, int]:
        return {symbol: ts_ms + by_ms for symbol, ts_ms in times.items()}

    return b"".join(
        encode_entry(
            JournalEntry(
                [(symbol, raw_ms - right_ms, raw_ms, price) for symbol, _, raw_ms, price in entry.ticks],
                moved(entry.since),
                moved(entry.lost),
                renamed.get(entry.after, entry.after),
                moved(entry.until),
                entry.focused,
            )
        )
        for entry in entries
    )


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
