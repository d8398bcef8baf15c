"""Checks a whole store without changing it. For `fluxcap verify`.

Checked: it is a whole fluxcap store; sequences of every stream are dense and times strictly increase; every candle is
sane; revisions are dense, name candles that were published, and the last of each is what a backfill serves; gaps end
after they begin; no number that was given is missing. Reading everything also has DuckDB check every block's checksum.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from fluxcap.bridge.store.agreement import AgreementSummary, differing_candles, read_agreement
from fluxcap.bridge.store.connection import StoreConnection, StoreCursor
from fluxcap.bridge.store.file import check_store, stored_version
from fluxcap.bridge.store.high_water_mark import HighWaterMark, total_assigned
from fluxcap.bridge.store.schema import CANDLE_COLUMNS
from fluxcap.bridge.store.writes import OFFSET_FACT
from fluxcap.schemas.candles import first_invalid_candle
from fluxcap.schemas.errors import ConfigError, StoreDamaged, StoreError, StoreRestored
from fluxcap.schemas.types import CandleArray, StreamKey, Watermark


class Verdict(enum.IntEnum):
    """The meaning of a finding; the highest of all is the exit code."""

    SOUND = 0
    DAMAGE = 1
    CANNOT_TELL = 2


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. ``subject`` is the stream or table."""

    verdict: Verdict
    subject: str
    text: str


def verify_exit_code(findings: Sequence[Finding]) -> int:
    """0 sound, 1 damage, 2 cannot tell. Damage that was seen outweighs what could not be seen."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.DAMAGE in verdicts:
        return int(Verdict.DAMAGE)
    return int(max(verdicts, default=Verdict.SOUND))


def verify(path: Path | str, state_dir: Path | None = None) -> list[Finding]:
    """Everything that is wrong with the store at ``path``; nothing when it is sound. Changes nothing, never raises.

    A store that another process holds, or that cannot be read, gives a single finding CANNOT_TELL. ``state_dir``: as
    ``Store.open`` has it, to know a backup that was put back.
    """
    file = Path(path)
    if not file.is_file():
        return [Finding(Verdict.CANNOT_TELL, str(file), "There is no such file.")]
    try:
        connection = StoreConnection(file, read_only=True)
    except StoreError as error:
        return [_finding(str(file), error)]
    found: list[Finding] = []
    try:
        found.extend(_inspect(connection.cursor(), file, state_dir))
    except StoreError as error:
        found.append(_finding(str(file), error))
    finally:
        connection.close()
    return found


def _finding(subject: str, error: StoreError) -> Finding:
    verdict = Verdict.DAMAGE if isinstance(error, StoreDamaged | StoreRestored) else Verdict.CANNOT_TELL
    return Finding(verdict, subject, str(error))


def _damage(subject: object, text: str) -> Finding:
    return Finding(Verdict.DAMAGE, str(subject), text)


def _inspect(cursor: StoreCursor, path: Path, state_dir: Path | None) -> Iterator[Finding]:
    store_id = check_store(cursor, path)
    keys = {i: StreamKey(*key) for i, *key in cursor.rows("SELECT * FROM streams ORDER BY stream_id")}
    marks = {}
    for stream_id, key in keys.items():
        try:
            _ = key.interval_ms
        except ConfigError as error:
            yield _damage(key, str(error))
        candles, sequences = _candles(cursor, stream_id)
        yield from _inspect_candles(key, sequences, candles)
        latest = int(sequences[-1]) if len(sequences) else 0
        newest, findings = _inspect_revisions(cursor, key, stream_id, latest)
        yield from findings
        marks[key] = Watermark(latest_sequence=latest, latest_revision=newest)
    for table in ("candles", "revisions"):
        orphans = cursor.rows(f"SELECT count(*) FROM {table} WHERE stream_id NOT IN (SELECT stream_id FROM streams)")  # noqa: S608
        if orphans[0][0]:
            yield _damage(table, f"{orphans[0][0]} rows have no stream.")
    for gap in cursor.rows("SELECT source_id, symbol, from_ms, to_ms FROM gaps WHERE to_ms > 0 AND to_ms < from_ms"):
        yield _damage("gaps", f"A gap ends before it begins: {gap}.")
    HighWaterMark(path, store_id, state_dir).check(total_assigned(marks))


def _candles(cursor: StoreCursor, stream_id: int) -> tuple[CandleArray, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    candles, columns = cursor.candles(
        f"SELECT sequence, {CANDLE_COLUMNS} FROM candles WHERE stream_id = ? ORDER BY sequence",  # noqa: S608
        (stream_id,),
    )
    return candles, columns["sequence"].astype(np.int64)


def _inspect_candles(
    key: StreamKey, sequences: np.ndarray[tuple[int], np.dtype[np.int64]], candles: CandleArray
) -> Iterator[Finding]:
    steps = np.diff(sequences)
    for at in np.flatnonzero(steps != 1)[:3]:
        what = "comes twice" if steps[at] == 0 else f"is followed by {sequences[at + 1]}"
        yield _damage(key, f"Sequence {sequences[at]} {what}.")
    for at in np.flatnonzero(np.diff(candles["ts_ms"]) <= 0)[:3]:
        yield _damage(key, f"Time does not increase after sequence {sequences[at]}.")
    bad = first_invalid_candle(candles)
    if bad is not None:
        yield _damage(key, f"Sequence {sequences[bad]} is no candle: {candles[bad]}.")


def _inspect_revisions(
    cursor: StoreCursor, key: StreamKey, stream_id: int, latest_sequence: int
) -> tuple[int, list[Finding]]:
    """The newest revision, and what is wrong with them."""
    found = []
    candles, columns = cursor.candles(
        f"SELECT revision, sequence, {CANDLE_COLUMNS} FROM revisions WHERE stream_id = ? ORDER BY revision",  # noqa: S608
        (stream_id,),
    )
    revisions = columns["revision"].astype(np.int64)
    if len(revisions) == 0:
        return 0, []
    for at in np.flatnonzero(np.diff(revisions) != 1)[:3]:
        found.append(_damage(key, f"Revision {revisions[at]} is followed by {revisions[at + 1]}."))
    bad = first_invalid_candle(candles)
    if bad is not None:
        found.append(_damage(key, f"Revision {revisions[bad]} is no candle."))
    if int(columns["sequence"].max()) > latest_sequence:
        found.append(_damage(key, f"A revision names sequence {columns['sequence'].max()}, which was never assigned."))
    found += [
        _damage(key, f"Sequence {number} differs from its last revision.") for number in _differing(cursor, stream_id)
    ]
    return int(revisions[-1]), found


def _differing(cursor: StoreCursor, stream_id: int) -> list[int]:
    """Sequences whose stored candle is not that of their last revision (pruned ones aside); three at most."""
    fields = "ts_ms, open, high, low, close, volume, tick_count, flags"
    rows = cursor.rows(
        f"SELECT sequence FROM (SELECT DISTINCT ON (sequence) sequence, ({fields}) AS candle FROM revisions "  # noqa: S608
        "WHERE stream_id = $1 AND sequence > 0 ORDER BY sequence, revision DESC) AS last "
        f"JOIN (SELECT sequence, ({fields}) AS candle FROM candles WHERE stream_id = $1) AS held USING (sequence) "
        "WHERE last.candle <> held.candle ORDER BY sequence LIMIT 3",
        (stream_id,),
    )
    return [number for (number,) in rows]


def agreement_of(path: Path, limit: int = 1_000_000) -> AgreementSummary:
    """Return how many candles of a store agree with the platform's own rows, and those that differ.

    Raises StoreError.
    """
    connection = StoreConnection(path, read_only=True)
    try:
        cursor = connection.cursor()
        check_store(cursor, path)
        if stored_version(cursor) < 2:
            return AgreementSummary()
        keys = {i: StreamKey(*key) for i, *key in cursor.rows("SELECT * FROM streams")}
        streams = {keys[i]: agreement for i, agreement in read_agreement(cursor).items() if i in keys}
        return AgreementSummary(streams, tuple(differing_candles(cursor, limit)))
    finally:
        connection.close()


def kept_offset_ms(path: Path, source_id: str) -> int | None:
    """Return the platform's offset (ms) that a store keeps of earlier runs, without changing the store; None without.

    Raises StoreLocked, StoreDamaged or StoreError.
    """
    if not path.is_file():
        return None
    connection = StoreConnection(path, read_only=True)
    try:
        cursor = connection.cursor()
        check_store(cursor, path)
        if stored_version(cursor) < 2:
            return None
        sql = "SELECT value FROM kept_facts WHERE source_id = ? AND name = ?"
        for (value,) in cursor.rows(sql, (source_id, OFFSET_FACT)):
            return msgspec.json.decode(value, type=int)
        return None
    except msgspec.DecodeError:
        return None
    finally:
        connection.close()


class StoreSummary(msgspec.Struct, frozen=True):
    """Summary of a store's content."""

    streams: int
    candles: int
    bytes: int


def summarize(path: Path, state_dir: Path | None = None) -> StoreSummary:
    """Look.

    Raises StoreLocked, StoreDamaged (a stream has not as many candles as numbers, too), StoreRestored or StoreError.
    """
    connection = StoreConnection(path, read_only=True)
    try:
        cursor = connection.cursor()
        store_id = check_store(cursor, path)
        rows = cursor.rows(
            "SELECT stream_id, count(*), max(sequence) - min(sequence) + 1, max(sequence) FROM candles "
            "GROUP BY stream_id"
        )
        revisions = cursor.rows("SELECT max(revision) FROM revisions GROUP BY stream_id")
        streams = int(cursor.rows("SELECT count(*) FROM streams")[0][0])
    finally:
        connection.close()
    if any(count != numbers for _, count, numbers, _ in rows):
        raise StoreDamaged(f"{path}: a stream has fewer candles than sequences; `fluxcap verify` shows which.")
    given = sum(int(latest) for *_, latest in rows) + sum(int(newest) for (newest,) in revisions)
    HighWaterMark(path, store_id, state_dir).check(given)
    return StoreSummary(streams, sum(int(count) for _, count, *_ in rows), path.stat().st_size)
