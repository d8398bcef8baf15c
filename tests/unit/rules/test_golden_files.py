"""Files that fluxcap 0.1.0 wrote, opened by the code of today: nobody's data is lost by an upgrade.

They lie in ``tests/golden/v0_1_0``, each with what is to be read from it. Every test works on a copy. What other
programs read (keys of JSON, names of metrics, routes, options) is in ``surface.json``: more may come, nothing may go.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import duckdb
import httpx
import msgspec
import numpy as np
import pytest
from fastapi import FastAPI
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command

from fluxcap import CaughtUp, LiveClient
from fluxcap.bridge.archive.archiver import ArchiveProgress
from fluxcap.bridge.archive.checkpoint import ArchiveCheckpoint
from fluxcap.bridge.archive.partition_file import PartitionWriter
from fluxcap.bridge.archive.rows import RowBuffer
from fluxcap.bridge.client.cache import CACHE_FILE, Append, CandleCache, cursor_name
from fluxcap.bridge.client.events import Candles, HealthChanged, Revision, StoreReplaced
from fluxcap.bridge.client.events import Gap as Passed
from fluxcap.bridge.client.fetch import backfill
from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.client.receiver.actions import Cursor
from fluxcap.bridge.dashboard.csv_candles import read_csv
from fluxcap.bridge.http.run_file import RUN_FILE, RunFile, read_run_file, write_run_file
from fluxcap.bridge.jetstream.address import parse_address
from fluxcap.bridge.jetstream.admin import SetupResult
from fluxcap.bridge.jetstream.forward.checkpoint import CheckpointFile
from fluxcap.bridge.jetstream.forward.status import ForwardState, ForwardStatus
from fluxcap.bridge.jetstream.subjects import (
    ALL_SUBJECTS,
    STREAM_NAME,
    Position,
    message_id,
    position_headers,
    revision_id,
    status_subject,
    subject,
)
from fluxcap.bridge.server.history_import import ImportResult
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.digest import store_digest
from fluxcap.bridge.store.store import Store
from fluxcap.bridge.store.verify import verify
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.bridge.terminal.tail_view import to_json_lines
from fluxcap.bridge.transport.curve import client_keys, server_keys
from fluxcap.capture.api import payloads
from fluxcap.capture.api.app import control_app, focus_json
from fluxcap.capture.api.metrics import Metrics, MetricsSnapshot
from fluxcap.capture.api.routes import csv_files_router, csv_settings_router, history_import_router
from fluxcap.capture.api.status import DaemonInfo, Status, build_status
from fluxcap.capture.chrome.launch import find_chrome
from fluxcap.capture.cli.app import app, run_cli
from fluxcap.capture.collect.collection import CollectSummary
from fluxcap.capture.collect.files import CollectedFiles
from fluxcap.capture.collect.page import find_chromedriver
from fluxcap.capture.collect.plan import TIMEFRAMES, Job
from fluxcap.capture.csvfiles.catalog import list_csv_files
from fluxcap.capture.csvfiles.format import CsvKind
from fluxcap.capture.csvfiles.reader import check_csv, collected_files, read_ticks
from fluxcap.capture.csvfiles.rotation import LocalFileSystem
from fluxcap.capture.csvfiles.writer import CsvStatus, CsvWriter
from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.market.focus import Focus, FocusMode
from fluxcap.capture.market.market import AssetSnapshot, Market, MarketSnapshot
from fluxcap.capture.pipeline.journal import TickJournal
from fluxcap.capture.pipeline.journal_file import (
    JournalEntry,
    check_journal,
    decode_entries,
    encode_entry,
    journal_files,
)
from fluxcap.capture.pipeline.journal_recovery import lost_ranges, read_journal_contents
from fluxcap.capture.pipeline.listeners import ChromeState, PublishedUpdate
from fluxcap.capture.pipeline.pipeline import PipelineView
from fluxcap.capture.pipeline.restore import restore_market
from fluxcap.capture.platforms.base import Asset
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.capture.platforms.registry import platform_named
from fluxcap.capture.recording.file import RecordingReader, RecordingWriter
from fluxcap.capture.recording.json_import import JsonFrameFile
from fluxcap.capture.recording.recorder import Recorder
from fluxcap.capture.recording.records import Arrivals, EndOfRecording, Header, Record
from fluxcap.capture.runtime.folders import CONFIG_FILE
from fluxcap.capture.runtime.settings import (
    OLD_NAMES,
    CollectMode,
    Settings,
    config_file,
    load_settings,
    variables_of,
)
from fluxcap.capture.runtime.settings_sources import SettingSource, unknown_variables
from fluxcap.capture.simulator.truth import TruthLog, TruthTick, read_truth
from fluxcap.capture.tools.doctor.finding import Finding as DoctorFinding
from fluxcap.capture.tools.record import RecordingProgress
from fluxcap.capture.tools.replay.replay import ReplayOptions, ReplaySummary, replay
from fluxcap.schemas.errors import SequenceError, StoreDamaged
from fluxcap.schemas.types import (
    CANDLE_DTYPE,
    Candle,
    CandleArray,
    CandleBatch,
    CandleFlags,
    CandleRevision,
    FeedState,
    Gap,
    StreamKey,
    StreamStatus,
    Tick,
    candle_array,
    candles_from,
)
from tests.support.golden import GOLDEN, expected, opened
from tests.support.patience import PATIENCE_S

EURUSD = StreamKey("POCKETOPTION", "EURUSD_otc", "1m")
T0_MS = 1_795_305_240_000
MINUTE = 60_000
ANY_PORT = "tcp://127.0.0.1:0"


# --- golden files ---------------------------------------------------------------------------------------------------


def as_json(value: Any) -> Any:
    """A value as JSON holds it."""
    return json.loads(msgspec.json.encode(value))


def rows(candles: CandleArray) -> list[list[float]]:
    return [list(row) for row in candles.tolist()]


def a_candle(ts_ms: int) -> Candle:
    return Candle(ts_ms, 1.5, 1.75, 1.25, 1.625, 7.0, 7, 0)


def tables_of(path: Path) -> list[tuple[str, str]]:
    """The statements that make the tables and views of a DuckDB file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(
            "SELECT table_name, sql FROM duckdb_tables() UNION ALL "
            "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY 1"
        ).fetchall()


# --- the store ------------------------------------------------------------------------------------------------------


def store_content(path: Path) -> dict[str, Any]:
    """All that a store holds."""
    with Store.open(path) as store:
        reader, streams = store.reader(), {}
        for key, mark in sorted(store.watermarks().items()):
            page, revised = reader.page(key), reader.revisions(key)
            streams[str(key)] = {
                "watermark": as_json(mark),
                "start_sequence": page.start_sequence,
                "candles": rows(page.candles),
                "start_revision": revised.start_revision,
                "revised_sequences": revised.sequences.tolist(),
                "revisions": rows(revised.candles),
            }
        return {
            "store_id": store.store_id,
            "digest": store_digest(reader).digest,
            "streams": streams,
            "gaps": [list(msgspec.structs.astuple(gap)) for gap in reader.gaps()],
            "universe": [list(msgspec.structs.astuple(listing)) for listing in reader.universe()],
        }


@pytest.mark.costly
@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_store_gives_back_every_candle_revision_gap_and_listing(tmp_path: Path, how: str) -> None:
    folder = opened(f"store/{how}", tmp_path)

    assert store_content(folder / STORE_FILE) == expected(f"store/{how}")


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_store_is_found_sound(tmp_path: Path, how: str) -> None:
    assert verify(opened(f"store/{how}", tmp_path) / STORE_FILE) == []


@pytest.mark.costly
@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_store_goes_on_with_the_next_sequence_and_revision_and_no_other(tmp_path: Path, how: str) -> None:
    folder = opened(f"store/{how}", tmp_path)
    before = expected(f"store/{how}")["streams"][str(EURUSD)]["watermark"]
    latest, latest_ms, revision = before["latest_sequence"], before["latest_ts_ms"], before["latest_revision"]
    next_candle = candle_array([a_candle(latest_ms + MINUTE)])
    better = next_candle.copy()
    better["flags"] = CandleFlags.REVISED

    with Store.open(folder / STORE_FILE) as store:
        for wrong in (latest, latest + 2):
            with pytest.raises(SequenceError):
                store.commit([CandleBatch(EURUSD, wrong, next_candle)])
        numbers = as_sequences([latest + 1])
        store.commit(
            [CandleBatch(EURUSD, latest + 1, next_candle)],
            [CandleRevision(EURUSD, revision + 1, numbers, better)],
        )

    with Store.open(folder / STORE_FILE) as store:
        mark = store.watermarks()[EURUSD]
        assert (mark.latest_sequence, mark.latest_revision) == (latest + 1, revision + 1)
        assert rows(store.reader().newest(EURUSD, 1).candles) == rows(better)


def as_sequences(numbers: Iterable[int]) -> Any:
    return np.array(list(numbers), np.uint64)


def test_an_open_gap_is_closed_under_its_own_name(tmp_path: Path) -> None:
    path = opened("store/closed", tmp_path) / STORE_FILE
    (source, symbol, from_ms, _, reason) = next(gap for gap in expected("store/closed")["gaps"] if gap[3] == 0)

    with Store.open(path) as store:
        count = len(store.reader().gaps())
        store.commit(gaps=[Gap(source, symbol, from_ms, from_ms + 1_000, reason)])
        now = store.reader().gaps()

    assert len(now) == count
    assert Gap(source, symbol, from_ms, from_ms + 1_000, reason) in now


def test_a_store_that_lost_its_write_ahead_log_is_known_by_its_mark(tmp_path: Path) -> None:
    folder = opened("store/killed", tmp_path)
    (folder / f"{STORE_FILE}.wal").unlink()

    with pytest.raises(StoreDamaged, match="has lost"):
        Store.open(folder / STORE_FILE)


@pytest.mark.costly
def test_a_new_store_has_the_tables_of_an_old_one_that_was_migrated(tmp_path: Path) -> None:
    old = opened("store/closed", tmp_path) / STORE_FILE
    for path in (old, tmp_path / "new.duckdb"):
        Store.open(path).close()

    assert tables_of(tmp_path / "new.duckdb") == tables_of(old)


# --- the client's cache ---------------------------------------------------------------------------------------------


def cache_content(folder: Path, keys: Iterable[str]) -> dict[str, Any]:
    """All that a cache holds of these streams."""
    cache, streams = CandleCache(folder), {}
    for name in keys:
        key = StreamKey(*name.split("."))
        sequences, candles = cache.candles(key)
        streams[name] = {
            "cursor": as_json(cache.cursor(key)),
            "sequences": sequences.tolist(),
            "candles": rows(candles),
            "extra_candles": rows(cache.extra_candles(key)),
        }
    cache.close()
    return streams


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_client_cache_gives_back_candles_and_cursors(tmp_path: Path, how: str) -> None:
    folder, wanted = opened(f"client_cache/{how}", tmp_path), expected(f"client_cache/{how}")

    assert cache_content(folder, wanted) == wanted


def test_a_client_cache_takes_what_comes_next(tmp_path: Path) -> None:
    folder = opened("client_cache/killed", tmp_path)
    before = expected("client_cache/killed")[str(EURUSD)]["cursor"]
    at = before["latest_sequence"] + 1
    moved = Cursor(before["store_id"], at, before["latest_ts_ms"] + MINUTE, before["latest_revision"])

    cache = CandleCache(folder)
    cache.commit([Append(EURUSD, at, candle_array([a_candle(moved.latest_ts_ms)]))], {EURUSD: moved})
    cache.close()

    again = CandleCache(folder)
    assert again.cursor(EURUSD) == moved
    assert again.candles(EURUSD)[0].tolist()[-1] == at
    again.close()


def test_a_client_cache_that_was_closed_has_the_tables_of_an_old_one(tmp_path: Path) -> None:
    old = opened("client_cache/closed", tmp_path) / CACHE_FILE
    unused = CandleCache(tmp_path / "unused")
    unused.close()
    used = CandleCache(tmp_path / "used")
    used.commit([Append(EURUSD, 1, candle_array([a_candle(T0_MS)]))], {EURUSD: Cursor("a", 1, T0_MS)})
    used.close()

    assert tables_of(unused.path) == tables_of(old)
    assert tables_of(used.path) == tables_of(old)


@pytest.mark.costly
def test_a_client_goes_on_behind_its_cache_with_a_server_on_the_old_store(tmp_path: Path) -> None:
    store = opened("store/closed", tmp_path) / STORE_FILE
    cache = opened("client_cache/closed", tmp_path)
    has = expected("client_cache/closed")[str(EURUSD)]["cursor"]
    stored = expected("store/closed")["streams"][str(EURUSD)]

    server = WireServer(store, ANY_PORT, ANY_PORT)
    try:
        with LiveClient(server.pub_endpoint, server.rep_endpoint, cache, streams=[EURUSD]) as client:
            heard = []
            for event in client.events(timeout=PATIENCE_S):
                heard.append(event)
                if isinstance(event, CaughtUp):
                    break
            fetched = backfill(EURUSD, server.rep_endpoint)
    finally:
        server.close()

    assert not any(isinstance(event, StoreReplaced) for event in heard)
    new = [event for event in heard if isinstance(event, Candles)]
    assert new[0].start_sequence == has["latest_sequence"] + 1
    assert new[-1].end_sequence == stored["watermark"]["latest_sequence"]
    assert rows(fetched) == stored["candles"]


# --- recordings -----------------------------------------------------------------------------------------------------

RECORDING = "every_record.fluxcap"


def plain(records: Iterable[Record]) -> list[Any]:
    """Records as they are encoded: the tag, then the fields in their order; bytes as base64."""
    return [_plain(msgspec.to_builtins(record, builtin_types=(bytes,))) for record in records]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, dict) else value


def recording_content(path: Path) -> dict[str, Any]:
    with RecordingReader(path) as reader:
        records = list(reader)
        return {"header": as_json(reader.header), "records": plain(records), "trouble": reader.error}


def test_a_recording_gives_back_its_header_and_a_record_of_every_kind(tmp_path: Path) -> None:
    found = recording_content(opened("recording", tmp_path) / RECORDING)

    assert found == expected("recording")
    assert {record[0] for record in found["records"]} == set(range(15))


def test_what_was_read_of_a_recording_is_written_with_the_same_bytes(tmp_path: Path) -> None:
    old = opened("recording", tmp_path) / RECORDING

    with RecordingReader(old) as reader, RecordingWriter(tmp_path / "new", reader.header) as writer:
        for record in reader:
            if not isinstance(record, EndOfRecording):
                writer.add(record)

    assert gzip.decompress((tmp_path / "new").read_bytes()) == gzip.decompress(old.read_bytes())


@pytest.mark.costly
def test_a_recording_of_every_kind_of_record_is_replayed(tmp_path: Path) -> None:
    path = opened("recording", tmp_path) / RECORDING

    replay(ReplayOptions(path=path, data_dir=tmp_path / "replayed"), lambda _: PocketOption())

    found = store_content(tmp_path / "replayed" / STORE_FILE)
    del found["store_id"]
    assert found == json.loads((GOLDEN / "recording" / "replayed.json").read_text())


# --- the tick journal -----------------------------------------------------------------------------------------------


def journal_content(folder: Path) -> dict[str, Any]:
    """What a start makes of the journal; and every entry of every file as it is encoded."""
    contents = read_journal_contents(folder)
    symbols = dict.fromkeys(stretch.symbol for stretch in contents.stretches)
    return {
        "stretches": as_json(contents.stretches),
        "newest": {path.name: newest for path, newest in contents.newest.items()},
        "losses": as_json({s: lost_ranges([one for one in contents.stretches if one.symbol == s]) for s in symbols}),
        "files": [[check.path.name, check.frames, check.ticks, check.torn_bytes] for check in check_journal(folder)],
        "entries": {
            path.name: [as_json(entry) for entry, _ in decode_entries(path.read_bytes())]
            for path in journal_files(folder)
        },
    }


def test_a_journal_gives_back_stretches_and_losses_up_to_a_torn_tail(tmp_path: Path) -> None:
    assert journal_content(opened("journal", tmp_path)) == expected("journal")


def test_what_was_read_of_a_journal_is_written_with_the_same_bytes(tmp_path: Path) -> None:
    for path in journal_files(opened("journal", tmp_path)):
        data = path.read_bytes()
        whole = b"".join(encode_entry(entry) for entry, _ in decode_entries(data))
        assert whole
        assert data.startswith(whole)


class Collected:
    """A recording in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, record: Record) -> None:
        self.records.append(record)


def restored_content(folder: Path) -> list[Any]:
    """What a start gives the market of the journal and of the open gaps of a store, as a recording holds it."""
    focus = Focus(FocusMode.LOCK, ("EURUSD_otc", "GBPUSD_otc"))
    market, kept = Market(PocketOption(), MINUTE, focus), Collected()
    left_open = [Gap("POCKETOPTION", "EURUSD_otc", T0_MS - 30_000, 0, "chrome gone")]
    restore_market(market, read_journal_contents(folder).stretches, Recorder(PocketOption(), kept), left_open)
    gaps = as_json(market.drain().gaps)
    return [*(record[:1] + record[3:] for record in plain(kept.records)), gaps]


def test_a_start_gives_the_market_what_the_journal_holds(tmp_path: Path) -> None:
    found = restored_content(opened("journal", tmp_path))

    assert found == json.loads((GOLDEN / "journal" / "restored.json").read_text())


def test_a_new_run_goes_on_beside_the_old_journal(tmp_path: Path) -> None:
    folder = opened("journal", tmp_path)
    before = {path: path.read_bytes() for path in journal_files(folder)}
    newest_ms = max(ts_ms for file in expected("journal")["newest"].values() for ts_ms in file.values())

    journal = TickJournal(folder)
    journal.append([Tick("EURUSD_otc", newest_ms + 500, newest_ms + 500, 1.5)], {"EURUSD_otc": newest_ms + 500})
    journal.close()

    assert {path: path.read_bytes() for path in before} == before
    assert len(journal_files(folder)) == len(before) + 1
    assert read_journal_contents(folder).stretches[-1:] != []


# --- run file, cursors, keys, truth ---------------------------------------------------------------------------------


def test_a_run_file_is_read_and_written_with_the_same_bytes(tmp_path: Path) -> None:
    folder = opened("run_file", tmp_path)
    before = (folder / RUN_FILE).read_bytes()

    run = read_run_file(folder)

    assert run is not None
    assert as_json(run) == expected("run_file")
    write_run_file(folder, run)
    assert (folder / RUN_FILE).read_bytes() == before


LOG = ("FLUX", "2026-11-22T00:00:00Z")


def test_a_forward_cursor_is_read_and_written_with_the_same_bytes(tmp_path: Path) -> None:
    folder = opened("forward_cursor", tmp_path)
    cursor = CheckpointFile(folder, *LOG)
    before = cursor.path.read_bytes()

    known = cursor.load()

    assert {str(key): as_json(one) for key, one in known.items()} == expected("forward_cursor")
    cursor.save(known)
    assert cursor.path.read_bytes() == before


def archive_content(folder: Path) -> dict[str, Any]:
    """Checkpoint and files of an archive."""
    cursor = ArchiveCheckpoint(folder)
    found: dict[str, Any] = {
        "place": as_json(cursor.place),
        "standings": {f"{key} {store}": as_json(one) for (key, store), one in sorted(cursor.positions.items())},
        "missing": as_json(cursor.missing()),
        "files": {},
    }
    cursor.close()
    for path in sorted(folder.glob("source=*/**/*.parquet")):
        with duckdb.connect() as connection:
            relation = connection.execute(
                'SELECT * EXCLUDE "timestamp", epoch_ms("timestamp") AS "timestamp" '
                f"FROM read_parquet('{path.as_posix()}', hive_partitioning = false) ORDER BY ts_ms"
            )
            names = [column[0] for column in relation.description or ()]
            table = [list(row) for row in relation.fetchall()]
        found["files"][path.relative_to(folder).as_posix()] = {"columns": names, "rows": table}
    return found


def test_an_archive_gives_back_its_place_on_the_log_and_its_rows(tmp_path: Path) -> None:
    assert archive_content(opened("archive", tmp_path)) == expected("archive")


def test_an_archive_takes_another_candle_into_the_old_file(tmp_path: Path) -> None:
    folder = opened("archive", tmp_path)
    name, before = next(file for file in expected("archive")["files"].items() if file[0].endswith("candles-1m.parquet"))
    ts_ms, number = T0_MS + 3 * MINUTE, 8  # in the midst: the log had forgotten it
    new = RowBuffer()
    new.add(
        CandleBatch(EURUSD, number, candle_array([a_candle(ts_ms)])),
        Position("store-a", number, ts_ms, 0, 1),
        None,
    )

    with PartitionWriter(folder) as files:
        files.write(new.partitions(), new.stores)

    after = archive_content(folder)["files"][name]["rows"]
    (added,) = [row for row in after if row not in before["rows"]]
    assert [row for row in after if row != added] == before["rows"]
    assert added[before["columns"].index("ts_ms")] == ts_ms


def test_a_new_archive_checkpoint_has_the_tables_of_an_old_one(tmp_path: Path) -> None:
    old = opened("archive", tmp_path)
    ArchiveCheckpoint(tmp_path / "new").close()
    (new_file,) = (tmp_path / "new").rglob("*.duckdb")

    assert tables_of(new_file) == tables_of(old / new_file.relative_to(tmp_path / "new"))


def test_keys_are_read_on_both_sides(tmp_path: Path) -> None:
    folder, wanted = opened("keys", tmp_path), expected("keys")
    for secret in folder.rglob("*.key_secret"):
        secret.chmod(0o600)

    server, client = server_keys(folder), client_keys(folder)

    assert server.allowed == frozenset({wanted["client"].encode()})
    assert server.keys.public == client.server_public == wanted["server"].encode()
    assert client.keys.public == wanted["client"].encode()


def test_credentials_for_the_log_are_read(tmp_path: Path) -> None:
    folder = opened("credentials", tmp_path)

    found = {
        path.name: {
            name: Path(value).name if isinstance(value, Path) else value
            for name, value in msgspec.structs.asdict(parse_address("nats://127.0.0.1", path).credentials).items()
        }
        for path in sorted(folder.iterdir())
        if path.suffix == ".toml"
    }

    assert found == expected("credentials")


def test_a_truth_file_is_read_without_its_torn_line_and_continued(tmp_path: Path) -> None:
    path = opened("truth", tmp_path) / "truth.jsonl"
    wanted = expected("truth")

    truth = read_truth(path)
    log = TruthLog(path, append=True)
    log.ticks([TruthTick("EURUSD_otc", T0_MS + 9_000, T0_MS + 9_000, 1.5, 1)])
    log.close()

    assert {name: as_json(truth.ticks(name)) for name in truth.symbols} == wanted["ticks"]
    assert truth.events == wanted["events"]
    assert log.last_ts_ms == wanted["last_ts_ms"]
    assert len(read_truth(path).ticks("EURUSD_otc")) == len(wanted["ticks"]["EURUSD_otc"]) + 1


def test_captured_frames_of_other_programs_are_imported(tmp_path: Path) -> None:
    frames = JsonFrameFile(opened("captured_frames", tmp_path) / "frames.json", PocketOption())

    found = [plain(block) for block in frames.blocks()]

    assert found == expected("captured_frames")


# --- CSV files ------------------------------------------------------------------------------------------------------


def csv_content(folder: Path) -> dict[str, Any]:
    """Every collected file, as the commands and the page read it."""
    found = {}
    for file in collected_files(folder):
        check = check_csv(file)
        text = file.path.read_bytes().rpartition(b"\n")[0].decode() + "\n"
        found[file.path.relative_to(folder).as_posix()] = {
            "name": as_json(file.name),
            "lines": check.lines,
            "torn_bytes": check.torn_bytes,
            "faults": list(check.faults),
            "ticks": _ticks(file) if file.name.kind is CsvKind.TICK else None,
            "candles_on_the_page": rows(read_csv(text, file.name.interval or "1m")),
        }
    return {"files": found, "offered": offered(folder)}


def offered(folder: Path) -> list[dict[str, Any]]:
    """The files that are offered, in 0.1.0's words: since 0.2 in those of the chart programs that there are."""
    root = folder / "data_output" / "assets_data"
    return [
        {
            "path": Path(file["path"]).relative_to(root).as_posix(),
            "filename": file["filename"],
            "asset": file["symbol"],
            "timeframe": "tick" if file["kind"] == "tick" else file["timeframe"],
            "size": file["size"],
        }
        for file in list_csv_files(folder)
    ]


def _ticks(file: Any) -> list[list[float]]:
    page = read_ticks(file)
    return [list(pair) for pair in zip(page.ts_ms.tolist(), page.price.tolist(), strict=True)]


def test_collected_files_give_back_every_line(tmp_path: Path) -> None:
    assert csv_content(opened("csv", tmp_path)) == expected("csv")


def test_a_part_that_is_not_full_is_gone_on_with(tmp_path: Path) -> None:
    folder = opened("csv", tmp_path)
    for name, before in expected("csv")["files"].items():
        path = folder / name
        whole = path.read_bytes()
        if before["torn_bytes"]:
            with pytest.raises(OSError, match="within a line"):
                LocalFileSystem().reopen(path)
            continue
        last_line = whole.splitlines(keepends=True)[-1]

        part = LocalFileSystem().reopen(path)
        part.append(last_line)
        part.close()

        assert path.read_bytes() == whole + last_line


def test_a_new_run_under_the_same_stamp_writes_beside_the_old_parts_the_same_lines(tmp_path: Path) -> None:
    folder = opened("csv", tmp_path)
    before = {file.path: file.path.read_bytes() for file in collected_files(folder)}
    first = next(path for path in before if path.name.startswith("EURUSD_otc_ticks_") and "part001" in path.name)
    ticks = [Tick("EURUSD_otc", int(ts_ms), int(ts_ms), price) for ts_ms, price in expected_ticks(folder, first)]
    files = CsvWriter(folder, CollectMode.BOTH, 3, 2, now_ms=lambda: T0_MS)
    files.start()

    files.published(PublishedUpdate((), (), (), tuple(ticks)))
    files.stop(timeout_s=PATIENCE_S)

    assert {path: path.read_bytes() for path in before} == before
    (new,) = [file.path for file in collected_files(folder) if file.path not in before]
    assert (new.parent, new.name) == (first.parent, first.name.replace("part001", "part003"))
    assert new.read_bytes() == before[first]


def expected_ticks(folder: Path, path: Path) -> list[list[float]]:
    ticks: list[list[float]] = expected("csv")["files"][path.relative_to(folder).as_posix()]["ticks"]
    return ticks


def job(label: str, interval: str) -> Job:
    return Job(label, next(one for one in TIMEFRAMES if one.interval == interval))


def test_an_interrupted_collection_goes_on_on_the_same_day_and_not_on_the_next(tmp_path: Path) -> None:
    folder = opened("collect", tmp_path)
    wanted = expected("collect")

    same_day = CollectedFiles(folder, now_s=wanted["now_s"])
    next_day = CollectedFiles(folder, now_s=wanted["now_s"] + 86_400)

    for label, interval, saved in wanted["jobs"]:
        assert same_day.is_saved(job(label, interval)) is saved
        assert not next_day.is_saved(job(label, interval))
    assert offered(folder) == wanted["offered"]


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, without a settings file and without variables of the machine's. The user's own folder of
    state is left alone."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FLUX") and name != "FLUXCAP_STATE_DIR"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # a golden store is one of its own for each test
    return tmp_path


NEW_NAMES: dict[str, str] = OLD_NAMES
"""Settings that have another name now; files, variables and options go on working by the old one."""


def settings_content(path: Path) -> dict[str, Any]:
    values = load_settings(path).model_dump(mode="json")
    return {old: values[NEW_NAMES.get(old, old)] for old in expected("settings")}


def test_a_settings_file_with_every_setting_is_understood(nowhere: Path) -> None:
    assert settings_content(opened("settings", nowhere) / CONFIG_FILE) == expected("settings")


def test_every_setting_of_the_file_differs_from_its_default(nowhere: Path) -> None:
    defaults = load_settings().model_dump(mode="json")

    assert [name for name, value in expected("settings").items() if value == defaults[NEW_NAMES.get(name, name)]] == []


def test_the_platform_that_a_settings_file_describes_reads_its_frames(nowhere: Path) -> None:
    settings = load_settings(opened("settings", nowhere) / CONFIG_FILE)
    platform = platform_named(settings.platform, settings.platform_url, settings.platforms)
    frame = '{"data":[{"e":"trade","s":"BTCUSDT","T":1795305240123,"p":"2.5"},{"e":"other"}]}'

    (tick,) = platform.decoder().received(1, frame)

    assert as_json(tick) == {"symbol": "BTCUSDT", "raw_ts_ms": 1_795_305_240_123, "price": 2.5}
    assert platform.is_page("https://www.example.com/en/trade/BTCUSDT")
    assert platform.is_socket("wss://stream.example.com/ws")


VARIABLES: dict[str, Any] = json.loads((GOLDEN / "variables.json").read_text())


@pytest.mark.parametrize("variable", VARIABLES["settings"])
def test_every_variable_sets_its_setting(nowhere: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    setting, text, value = VARIABLES["settings"][variable]
    monkeypatch.setenv(variable, text)

    assert load_settings().model_dump(mode="json")[NEW_NAMES.get(setting, setting)] == value
    assert variable not in unknown_variables()


def test_where_two_variables_set_one_setting_the_same_goes_first_as_ever(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, (first, second) in VARIABLES["order"].items():
        monkeypatch.setenv(first, "first" if setting == "source" else VARIABLES["settings"][first][1])
        monkeypatch.setenv(second, "30m" if setting == "interval" else "tcp://127.0.0.1:1")

        assert getattr(load_settings(), setting) == os.environ[first]
        monkeypatch.delenv(first)
        monkeypatch.delenv(second)


def test_the_other_variables_are_honoured(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "chosen.toml").write_text('source = "CHOSEN"\n')
    monkeypatch.setenv("FLUXCAP_CONFIG", "chosen.toml")
    monkeypatch.setenv("FLUXCAP_CHROME_BINARY", sys.executable)
    monkeypatch.setenv("FLUXCAP_CHROMEDRIVER", sys.executable)
    monkeypatch.setenv("FLUXCAP_KEYS", "keys")
    monkeypatch.setenv("FLUXCAP_DEBUG", "1")

    assert config_file() == Path("chosen.toml")
    assert load_settings().source == "CHOSEN"
    assert find_chrome() == find_chromedriver() == Path(sys.executable)
    assert unknown_variables() == []
    # Options that take a variable are in the surface.
    assert {"FLUXCAP_CONFIG", "FLUXCAP_DEBUG", "FLUXCAP_CHROME_BINARY"} <= set(VARIABLES["others"])


# --- the daemon -----------------------------------------------------------------------------------------------------


@pytest.mark.costly
def test_a_daemon_starts_on_the_old_data_folder(tmp_path: Path, nowhere: Path) -> None:
    folder = opened("store/killed", tmp_path)
    shutil.copytree(opened("journal", tmp_path), folder / "journal")
    shutil.copytree(opened("csv", tmp_path), folder, dirs_exist_ok=True)
    wanted = expected("store/killed")
    options: dict[str, Any] = {"chrome": "127.0.0.1:9", "data_dir": folder, "pub": ANY_PORT, "rep": ANY_PORT}

    with (
        Daemon(Settings(**options, web=False, control_port=0, focus=("EURUSD_otc",))) as daemon,
        httpx.Client(base_url=daemon.identity.control, trust_env=False, verify=False, timeout=PATIENCE_S) as rest,
    ):
        status = rest.get("/api/status").json()
        gaps = rest.get("/api/gaps").json()

    # What was collected in 1h then is in the stream that the daemon itself goes on with now.
    streams = {one["stream"]: one["latest_sequence"] for one in [*status["streams"], *status["derived_streams"]]}
    assert {name: one["watermark"]["latest_sequence"] for name, one in wanted["streams"].items()}.items() <= (
        streams.items()
    )
    assert set(SURFACE["rest"]["GET /api/status"]) <= set(status)
    assert {gap[2] for gap in wanted["gaps"]} <= {gap["from_ms"] for gap in gaps}


# --- what other programs read ---------------------------------------------------------------------------------------

SURFACE: dict[str, Any] = json.loads((GOLDEN / "surface.json").read_text())
SHOWN_SETTINGS = SURFACE["command_json"]["config show"]["settings"]
for old_name, new_name in NEW_NAMES.items():  # shown by the name that they have now
    SHOWN_SETTINGS[new_name] = SHOWN_SETTINGS.pop(old_name)
NOW_MS = T0_MS + 26_500


def shape(kind: Any) -> Any:
    """How a type is serialised: names of keys, kinds of values, order and tags of arrays. Not how anything is named in
    the code."""
    return _shape(msgspec.inspect.type_info(kind))


def _shape(kind: Any) -> Any:
    info = msgspec.inspect
    match kind:
        case info.StructType(fields=fields, array_like=True, tag=tag):
            shapes = [_shape(field.type) for field in fields]
            return {str(at): one for at, one in enumerate(shapes if tag is None else [f"tag {tag}", *shapes])}
        case info.StructType(fields=fields):
            return {field.encode_name: _shape(field.type) for field in fields}
        case info.UnionType(types=types):
            kinds = [_shape(one) for one in types if not isinstance(one, info.NoneType)]
            return kinds[0] if len(kinds) == 1 else {"any of": sorted(map(str, kinds))}
        case info.ListType(item_type=item) | info.VarTupleType(item_type=item) | info.CollectionType(item_type=item):
            return [_shape(item)]
        case info.TupleType(item_types=items):
            return {str(at): _shape(item) for at, item in enumerate(items)}
        case info.DictType(value_type=value):
            return {"*": _shape(value)}
        case info.EnumType(cls=cls):
            return type(next(iter(cls)).value).__name__
        case _:
            return type(kind).__name__.removesuffix("Type").lower()


def shape_of_value(value: Any) -> Any:
    """The same of a JSON value."""
    if isinstance(value, dict):
        return {name: shape_of_value(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shape_of_value(value[0])] if value else []
    return type(value).__name__


def missing(golden: Any, now: Any, where: str = "") -> list[str]:
    """What was there and is not any more, or is another thing now. What has come beside it is no matter."""
    if isinstance(golden, dict):
        if not isinstance(now, dict):
            return [f"{where}: was an object"]
        lost = [f"{where}/{name}" for name in golden if name not in now]
        kept = [name for name in golden if name in now]
        return lost + [one for name in kept for one in missing(golden[name], now[name], f"{where}/{name}")]
    if isinstance(golden, list):
        if not isinstance(now, list):
            return [f"{where}: was a list"]
        if all(isinstance(one, str) for one in golden):
            return [f"{where}: {one}" for one in golden if one not in now]
        return [one for old, new in zip(golden, now, strict=False) for one in missing(old, new, f"{where}[]")]
    known = {"NoneType", "any", golden}
    return [] if golden in ("NoneType", "any") or now in known else [f"{where}: was {golden}, is {now}"]


@pytest.mark.costly
@pytest.mark.parametrize("part", SURFACE)
def test_nothing_that_other_programs_read_has_gone(part: str, tmp_path: Path, nowhere: Path) -> None:
    assert missing(SURFACE[part], PARTS[part](tmp_path)) == []


@pytest.mark.parametrize(
    ("now", "lost"),
    [
        ({"a": "int", "b": ["str"], "c": {"0": "tag 1"}, "new": "int"}, []),
        ({"b": ["str"], "c": {"0": "tag 1"}}, ["/a"]),
        ({"a": "str", "b": ["str"], "c": {"0": "tag 1"}}, ["/a: was int, is str"]),
        ({"a": "int", "b": [], "c": {"0": "tag 2"}}, ["/b: str", "/c/0: was tag 1, is tag 2"]),
    ],
)
def test_what_has_gone_is_named(now: Any, lost: list[str]) -> None:
    assert missing({"a": "int", "b": ["str"], "c": {"0": "tag 1"}}, now) == lost


def a_view() -> PipelineView:
    """A daemon at work, with one of everything that a view can hold but a session."""
    market = MarketSnapshot(
        clock="settled",
        clock_reason="",
        platform_offset_ms=7_200_000,
        focus_mode=FocusMode.LOCK,
        focus_symbols=("EURUSD_otc",),
        focus_unknown=(),
        active_symbol=None,
        active_period_ms=0,
        favourites=(),
        asset_count=1,
        assets=(AssetSnapshot("EURUSD_otc", True, FeedState.LIVE, NOW_MS - 1_500, 1.1, 42, ""),),
        counters={"late.X": 1, "malformed.json": 5, "duplicate": 4, "dropped_incomplete.X": 1},
        now_ms=NOW_MS,
    )
    return PipelineView(
        chrome=ChromeState.ATTACHED,
        chrome_reason="",
        browser="Chrome/156",
        session=None,
        market=market,
        streams=(StreamStatus(EURUSD, latest_sequence=17, latest_revision=3, feed_state=FeedState.LIVE),),
        queue_depth=9,
        messages=1_000,
        commits=17,
        store_error="",
    )


def _rest(folder: Path) -> dict[str, Any]:
    """Answers of the control endpoint."""
    market = Market(PocketOption(), MINUTE, Focus(FocusMode.LOCK, ("EURUSD_otc",)))
    listed = list_csv_files(opened("csv", folder))
    identity = DaemonInfo("1.2.3", 1, "pub", "rep", "control", "data", "POCKETOPTION", "1m", "chrome")
    collect = CsvStatus("both", 1_000, 100, "f")
    status = build_status(identity, a_view(), now_ms=NOW_MS, uptime_s=1.0, collect=collect, forward=ForwardStatus())
    return {
        "GET /api/status": shape(Status),
        "GET /api/status of a daemon at work": shape_of_value(as_json(status)),
        "GET /api/focus": shape_of_value(focus_json(market.focus_snapshot())),
        "GET /api/assets": [shape(Asset)],
        "GET /api/gaps": [shape(Gap)],
        "GET /api/collect-mode": shape(CsvStatus),
        "PUT /api/history": shape(ImportResult),
        "GET /api/available-csv-files": {"files": shape_of_value(listed), "count": "int"},
    }


def _routes(folder: Path) -> dict[str, Any]:
    """Routes with what may be asked of them."""
    nobody: Any = SimpleNamespace()
    market = Market(PocketOption(), MINUTE, Focus(FocusMode.FOLLOW))
    made: FastAPI = control_app(nobody, market, lambda: nobody)
    for router in (
        csv_settings_router(nobody, nobody, nobody),
        history_import_router(nobody, nobody, "POCKETOPTION", "1m"),
        csv_files_router(folder),
    ):
        made.include_router(router)
    told = made.openapi()
    routes: dict[str, Any] = {}
    for path, methods in told["paths"].items():
        for method, route in methods.items():
            content = route.get("requestBody", {}).get("content", {})
            body = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
            fields = told["components"]["schemas"][body]["properties"] if body else {}
            asked = [one["name"] for one in route.get("parameters", ()) if one["in"] == "query"]
            named = path.replace("{holder}", "{}").replace("{file}", "{}")
            routes[f"{method.upper()} {named}"] = {"query": sorted(asked), "body": sorted(fields)}
    return routes


def _command_json(folder: Path) -> dict[str, Any]:
    """What commands print with ``--json``."""
    data = opened("store/closed", folder)
    shutil.copytree(opened("csv", folder), data, dirs_exist_ok=True)
    recording = opened("recording", folder) / RECORDING
    here = ["--data-dir", str(data), "--json"]
    asked = {
        "gaps": ["gaps", *here],
        "verify": ["verify", *here],
        "verify --set-aside": ["verify", "--set-aside", *here],
        "config show": ["config", "show", "--json"],
        "config init": ["config", "init", "--json"],
        "keys": ["keys", str(folder / "new-keys"), "--json"],
        "replay": ["replay", str(recording), "--json"],
    }
    for what in ("candles", "ticks", "gaps", "revisions"):
        asked[f"export {what}"] = ["export", what, "--out", str(folder / f"{what}.csv"), *here]
    told = {name: shape_of_value(_printed(arguments)) for name, arguments in asked.items()}
    return told | {
        "doctor": [shape(DoctorFinding)],
        "record": shape(RecordingProgress),
        "archive": shape(ArchiveProgress),
        "forward": shape(ForwardStatus),
        "forward --setup": shape(SetupResult),
        "collect": shape(CollectSummary),
        "replay in full": shape(ReplaySummary),
        "tail": {one["type"]: shape_of_value(one) for one in map(json.loads, _tailed())},
    }


def _printed(arguments: list[str]) -> Any:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run_cli(arguments)
    return json.loads(out.getvalue())


def _tailed() -> Iterator[str]:
    candles = candle_array([a_candle(T0_MS)])
    for event in (
        Candles(EURUSD, 1, candles, False),
        Revision(EURUSD, 1, as_sequences([1]), candles),
        HealthChanged(EURUSD, Health(HealthState.RECEIVING, "", 1_000_000, FeedState.LIVE)),
        Passed(EURUSD, 1, 2, "why"),
        StoreReplaced(EURUSD, "store", "why"),
        CaughtUp(EURUSD, 1),
    ):
        yield from to_json_lines(event)


def _exported(folder: Path) -> dict[str, Any]:
    """Columns of exported files, in their order."""
    data = opened("store/closed", folder)
    shutil.copytree(opened("csv", folder), data, dirs_exist_ok=True)
    for what in ("candles", "ticks", "gaps", "revisions"):
        _printed(["export", what, "--out", str(folder / f"{what}.csv"), "--data-dir", str(data), "--json"])
    return {
        what: {str(at): name for at, name in enumerate((folder / f"{what}.csv").read_text().splitlines()[0].split(","))}
        for what in ("candles", "ticks", "gaps", "revisions")
    }


def _commands(_: Path) -> dict[str, Any]:
    """Commands with their arguments, options and the variables that set them."""

    def walk(command: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for sub, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{name} {sub}".strip())
        options: dict[str, Any] = {}
        for one in command.params:
            for option in (*one.opts, *one.secondary_opts) if one.param_type_name == "option" else ():
                options[option] = {"variable": str(one.envvar)} if one.envvar else {}
        yield name, options

    return dict(walk(get_command(app), ""))


def _metrics(_: Path) -> dict[str, Any]:
    """Metrics with their types and labels."""
    pipeline = a_view()
    collect = CsvStatus("both", 1_000, 100, "f", ticks=42, candles=17, files=2, waiting=6, lost=1)
    forward = ForwardStatus(ForwardState.UP_TO_DATE, counters={"candles": 1})
    made = Metrics("1.2.3", process=False)
    made.register_source(lambda: MetricsSnapshot(pipeline, collect, {"sent_candles": 17}, NOW_MS, forward))
    made.observe("commit", 0.1)
    made.observe("publish", 0.1)
    made.published(PublishedUpdate((), (), (Gap("POCKETOPTION", "EURUSD_otc", 1, 0, "chrome gone"),), ()))
    families = text_string_to_metric_families(generate_latest(made.registry).decode())
    return {
        sample.name: {"type": family.type, "labels": sorted(sample.labels)}
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    } | {"states of feed_state": [state.name.lower() for state in FeedState]}


def _arrays(_: Path) -> dict[str, Any]:
    """What is kept without names: tags and places of fields are all there is."""
    records = {f"record {shape(one)['0']}": shape(one) for one in get_args(Record)}
    names = CANDLE_DTYPE.names or ()
    kinds = [f"{name} {CANDLE_DTYPE[name].str}" for name in names]
    return records | {"journal entry": shape(JournalEntry), "candle": {str(at): kind for at, kind in enumerate(kinds)}}


def _kept(_: Path) -> dict[str, Any]:
    """Names in files that have names in them, and of the files."""
    return {
        "recording header": shape(Header),
        "run file": shape(RunFile),
        "client cursor": shape(Cursor),
        "client cursor's key": cursor_name(EURUSD),
        "store": STORE_FILE,
        "client cache": CACHE_FILE,
        "run": RUN_FILE,
        "settings": CONFIG_FILE,
    }


def _values(_: Path) -> dict[str, Any]:
    """Words and numbers that are kept, sent or asked for."""
    return {
        "gap reasons": sorted(GapReason),
        "flags": {str(flag.name): flag.value for flag in CandleFlags},
        "feed states": {state.name: state.value for state in FeedState},
        "focus modes": sorted(FocusMode),
        "collect modes": sorted(CollectMode),
        "chrome states": sorted(ChromeState),
        "health states": sorted(state.value for state in HealthState),
        "arrivals": sorted(Arrivals),
        "origins of settings": sorted(SettingSource),
        "timeframes": {one.interval: f"{one.menu} {one.suffix} {one.folder}" for one in TIMEFRAMES},
    }


def _wire(_: Path) -> dict[str, Any]:
    """Names on the wire and on the log."""
    kinds = ("candles", "status", "forming", "revisions", "ticks")
    return {
        "topics": {kind: EURUSD.topic(kind).decode() for kind in kinds},
        "stream on the log": STREAM_NAME,
        "subjects": ALL_SUBJECTS,
        "subject": subject(StreamKey("DESK", "EUR/USD OTC.x", "1m")),
        "status subject": status_subject(EURUSD),
        "id of a batch": message_id("store", EURUSD, 7),
        "id of a revision": revision_id("store", EURUSD, 7),
        "headers": position_headers(Position("store", 1, 2, 3, 4)),
    }


def _socketio(_: Path) -> dict[str, Any]:
    """Payloads of the Socket.IO API."""
    candle = a_candle(T0_MS)
    return {
        "candle_update": shape_of_value(payloads.candle_update("EURUSD_otc", candle)),
        "historical_candles_loaded": shape_of_value(
            payloads.historical_candles("EURUSD_otc", [candle], "store", NOW_MS)
        ),
        "connection_status": shape_of_value(payloads.connection_status(True, NOW_MS)),
        "times": {"candle": payloads.iso(T0_MS), "sent": payloads.iso(NOW_MS)},
    }


PARTS: Mapping[str, Any] = {
    "rest": _rest,
    "routes": _routes,
    "command_json": _command_json,
    "exported": _exported,
    "commands": _commands,
    "metrics": _metrics,
    "arrays": _arrays,
    "kept": _kept,
    "values": _values,
    "wire": _wire,
    "socketio": _socketio,
}


def test_every_setting_has_the_variables_it_had(nowhere: Path) -> None:
    known = {variable for name in Settings.model_fields for variable in variables_of(name)}

    assert set(VARIABLES["settings"]) <= known


def test_every_candle_kept_is_a_candle() -> None:
    """The goldens themselves: they hold every flag, open and closed gaps, revisions of minutes that never were."""
    store = expected("store/closed")
    flags = {row[7] for stream in store["streams"].values() for row in stream["candles"]}
    ends = {gap[3] == 0 for gap in store["gaps"]}
    revised = [number for stream in store["streams"].values() for number in stream["revised_sequences"]]

    assert {flag for one in flags for flag in CandleFlags if flag & one} == set(CandleFlags) - {CandleFlags.NONE}
    assert ends == {True, False}
    assert 0 in revised
    assert any(number > 0 for number in revised)
    assert all(list(candles_from(candle_array([Candle(*row)]))) for row in store["streams"][str(EURUSD)]["candles"])
