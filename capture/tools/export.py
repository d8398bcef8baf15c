"""The work of ``fluxcap export``: finds the archive and the streams, and writes one file.

Candles, revisions and gaps come from the store; while a daemon holds that, through the daemon, which is found by its
data folder. Ticks are not stored: they come from the tick files that ``--collect tick`` wrote, whoever runs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fluxcap.bridge.client.fetch import RemoteStore
from fluxcap.bridge.export.export import (
    ExportKind,
    Progress,
    TimeRange,
    effective_gaps,
    export_candles,
    export_gaps,
    export_revisions,
)
from fluxcap.bridge.export.formats import CandleFormat, write_candles
from fluxcap.bridge.export.source import ExportSource
from fluxcap.bridge.export.table_file import Column, TableWriter
from fluxcap.bridge.http.run_file import read_run_file
from fluxcap.bridge.store.offline import OfflineStore
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.bridge.transport.curve import ClientCurve
from fluxcap.capture.csvfiles.format import CsvKind
from fluxcap.capture.csvfiles.reader import CsvFile, collected_files, read_ticks
from fluxcap.capture.market.focus import canonical_key
from fluxcap.capture.runtime.discovery import find_daemon
from fluxcap.schemas.candles import StreamSize
from fluxcap.schemas.errors import ConfigError, StoreError, StoreLocked, UnknownAsset
from fluxcap.schemas.types import CandleArray, Gap

_TICK_COLUMNS = {"symbol": Column.TEXT, "timestamp": Column.TIME, "price": Column.PRICE}
ProgressFactory = Callable[[int], Progress]
"""Begins a progress display over so many rows; returns a function to call at each step."""


class ExportRequest(msgspec.Struct, frozen=True):
    """The data to export. ``symbols`` as people type them; empty and None: all."""

    what: ExportKind
    target: Path
    source: str | None = None
    symbols: tuple[str, ...] = ()
    interval: str | None = None
    span: TimeRange = TimeRange()
    form: CandleFormat | None = None
    """For another program, in place of our own columns."""


class ExportLocation(msgspec.Struct, frozen=True):
    """The source. ``rep`` or ``control`` given: the daemon there instead of the store. ``curve``: keys for it."""

    data_dir: Path
    rep: str | None = None
    control: str | None = None
    curve: ClientCurve | None = None


class ExportSummary(msgspec.Struct, frozen=True):
    """The written file. ``through``: ``store``, ``daemon`` or ``tick files``."""

    what: str
    out: str
    rows: int
    bytes: int
    through: str
    streams: tuple[str, ...]
    unreadable_lines: int = 0
    flagged: int = 0
    """Candles with a flag, in a form that has no place for flags."""


def export(
    wanted: ExportRequest, where: ExportLocation, reporter: ProgressFactory = lambda rows: lambda done: None
) -> ExportSummary:
    """Write the file. Raises ConfigError, UnknownAsset, StoreError, WireError, WireTimeout, NotAnswering."""
    if wanted.interval and wanted.what in (ExportKind.TICKS, ExportKind.GAPS):
        raise ConfigError(f"{wanted.what.value.capitalize()} have no interval; omit --interval.")
    if wanted.source and wanted.what is ExportKind.TICKS:
        raise ConfigError("Tick files have no source; omit --source.")
    if wanted.form is not None and wanted.what is not ExportKind.CANDLES:
        raise ConfigError("--format is for candles.")
    if wanted.what is ExportKind.TICKS:
        return _export_ticks(wanted, where.data_dir, reporter)
    with open_archive(where) as (archive, through):
        if wanted.what is ExportKind.GAPS:
            gaps = _gaps_wanted(archive.gaps(), wanted)
            rows = export_gaps(gaps, wanted.target)
            return _summary(wanted, rows, through, sorted({f"{g.source_id}.{g.symbol}" for g in gaps}))
        streams = _streams_wanted(archive.streams(), wanted)
        if wanted.form is not None:
            return _export_form(wanted, wanted.form, archive, streams, through, reporter)
        if wanted.what is ExportKind.CANDLES:
            progress = reporter(sum(held.candles for held in streams))
            rows = export_candles(archive, streams, wanted.span, wanted.target, progress)
        else:
            progress = reporter(sum(held.revisions for held in streams))
            rows = export_revisions(archive, streams, wanted.span, wanted.target, progress)
        return _summary(wanted, rows, through, [str(held.key) for held in streams])


def _export_form(
    wanted: ExportRequest,
    form: CandleFormat,
    archive: ExportSource,
    streams: Sequence[StreamSize],
    through: str,
    reporter: ProgressFactory,
) -> ExportSummary:
    if len(streams) != 1:
        names = ", ".join(str(held.key) for held in streams[:8])
        raise ConfigError(f"Such a file holds one stream; choose with --symbol, --interval and --source: {names}.")
    held, flagged = streams[0], 0
    progress = reporter(held.candles)

    def pages() -> Iterator[CandleArray]:
        nonlocal flagged
        for page in archive.candles(held.key):
            found = page.candles[wanted.span.holds(page.candles["ts_ms"])]
            flagged += int(np.count_nonzero(found["flags"]))
            progress(len(page.candles))
            yield found

    rows = write_candles(form, held.key, pages(), wanted.target)
    summary = _summary(wanted, rows, through, [str(held.key)])
    return msgspec.structs.replace(summary, flagged=flagged)


@contextmanager
def open_archive(where: ExportLocation) -> Iterator[tuple[ExportSource, str]]:
    """The store, or the daemon that holds it; with which of them it is. Raises StoreError, ConfigError."""
    if where.rep or where.control:
        yield _server(where, where.rep), "daemon"
        return
    path = where.data_dir / STORE_FILE
    if not path.is_file():
        raise ConfigError(
            f"There is no store in {where.data_dir}: nothing has been captured there. Name the folder with --data-dir."
        )
    try:
        store = OfflineStore(path)
    except StoreLocked:
        run = read_run_file(where.data_dir)
        if run is None:
            raise
        yield _server(where, run.rep), "daemon"
        return
    with store:
        yield store, "store"


def _server(where: ExportLocation, rep: str | None) -> RemoteStore:
    def gaps() -> list[Gap]:
        with find_daemon(where.data_dir, where.control) as daemon:
            return msgspec.convert(daemon.gaps(), list[Gap])

    return RemoteStore(rep, gaps, curve=where.curve)


def parse_time(text: str) -> int:
    """A time as people write it, in UTC epoch ms: ``2026-11-21``, ``2026-11-21T10:30``, with ``Z`` or ``+02:00``.

    Without a zone it is UTC. Raises ConfigError.
    """
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(f"{text!r} is no time; write 2026-11-21 or 2026-11-21T10:30:00 (UTC).") from None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1_000)


def match_symbols(typed: Sequence[str], known: Iterable[str]) -> set[str]:
    """Return the known symbols that the typed names mean; all without a name. Raises UnknownAsset."""
    symbols = sorted(set(known))
    if not typed:
        return set(symbols)
    by_key: dict[Any, str] = {canonical_key(symbol): symbol for symbol in symbols}
    found = set()
    for name in typed:
        symbol = name if name in symbols else by_key.get(canonical_key(name))
        if symbol is None:
            nearest = difflib.get_close_matches(name.upper(), [s.upper() for s in symbols], n=3, cutoff=0.5)
            raise UnknownAsset(name, tuple(s for s in symbols if s.upper() in nearest))
        found.add(symbol)
    return found


def _streams_wanted(streams: Sequence[StreamSize], wanted: ExportRequest) -> list[StreamSize]:
    symbols = match_symbols(wanted.symbols, (held.key.symbol for held in streams))
    found = [
        held
        for held in streams
        if held.key.symbol in symbols
        and wanted.source in (None, held.key.source_id)
        and wanted.interval in (None, held.key.interval)
    ]
    if not found and streams:
        names = ", ".join(str(held.key) for held in streams[:8])
        raise ConfigError(f"No such stream; there are: {names}{' …' if len(streams) > 8 else ''}.")
    return found


def _gaps_wanted(gaps: Sequence[Gap], wanted: ExportRequest) -> list[Gap]:
    symbols = match_symbols(wanted.symbols, (gap.symbol for gap in gaps)) | {""}
    return [
        gap
        for gap in effective_gaps(gaps)
        if gap.symbol in symbols and wanted.source in (None, gap.source_id) and wanted.span.touches(gap)
    ]


def _export_ticks(wanted: ExportRequest, data_dir: Path, reporter: ProgressFactory) -> ExportSummary:
    files = collected_files(data_dir, CsvKind.TICK)
    if not files:
        raise ConfigError(
            f"There are no tick files in {data_dir}. Ticks are not in the store; collect them from now on with "
            "`fluxcap collect-mode tick`, or `fluxcap run --collect tick`."
        )
    symbols = match_symbols(wanted.symbols, (file.name.symbol for file in files))
    files = [file for file in files if file.name.symbol in symbols]
    progress = reporter(len(files))
    unreadable = 0
    with TableWriter(wanted.target, _TICK_COLUMNS, order_by=("symbol", "timestamp")) as table:
        for file in files:
            unreadable += _add_ticks(table, file, wanted.span)
            progress(1)
        table.finish()
        return _summary(wanted, table.rows, "tick files", sorted(symbols), unreadable)


def _add_ticks(table: TableWriter, file: CsvFile, span: TimeRange) -> int:
    try:
        page = read_ticks(file)
    except OSError as error:
        raise StoreError(f"{file.path} cannot be read: {error.strerror}.") from None
    within = span.holds(page.ts_ms)
    symbol = np.full(int(within.sum()), page.symbol, dtype=object)
    table.add({"symbol": symbol, "timestamp": page.ts_ms[within], "price": page.price[within]})
    return page.unreadable


def _summary(
    wanted: ExportRequest, rows: int, through: str, streams: Sequence[str], unreadable: int = 0
) -> ExportSummary:
    target = wanted.target
    files = [path for path in target.rglob("*") if path.is_file()] if target.is_dir() else [target]
    size = sum(path.stat().st_size for path in files if path.exists())
    return ExportSummary(wanted.what.value, str(wanted.target), rows, size, through, tuple(streams), unreadable)
