"""bridge/export/export.py and capture/tools/export.py: the right rows of the right streams, in one file."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcap.bridge.export.export import ExportKind, TimeRange
from fluxcap.bridge.http.run_file import RunFile, write_run_file
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.capture.csvfiles.format import CsvKind, file_name, series_folder, tick_line
from fluxcap.capture.tools.export import ExportLocation, ExportRequest, export, match_symbols, parse_time
from fluxcap.schemas.errors import ConfigError, StoreLocked, UnknownAsset
from fluxcap.schemas.types import Candle, Gap, StreamKey, Tick
from tests.support.wire.samples import ANY_PORT, EURUSD, GBPUSD, MINUTE, candle, candles

pytestmark = pytest.mark.costly

FIVE_SECONDS = StreamKey("OTHER", "#AAPL_otc", "5s")


@pytest.fixture
def where(tmp_path: Path) -> ExportLocation:
    """A data folder of a stopped daemon: three streams, a revision, three gaps of which one was taken back."""
    with WireServer(tmp_path / STORE_FILE, ANY_PORT, ANY_PORT) as server:
        server.publish({EURUSD: candles(1, 10), GBPUSD: candles(1, 3)})
        server.publish({FIVE_SECONDS: [Candle(5_000, 9e-6, 9.5e-6, 8e-6, 9e-6, 1.0, 1)]})
        server.revise({EURUSD: [candle(2, 1.9)]})
        server.record_gaps(
            [
                Gap("SIM", "EURUSD_otc", 1 * MINUTE, 2 * MINUTE, "tab closed"),
                Gap("SIM", "GBPUSD_otc", 5 * MINUTE, 5 * MINUTE, "socket silent"),
                Gap("SIM", "", 8 * MINUTE, 0, "chrome gone"),
            ]
        )
    return ExportLocation(tmp_path)


def out(where: ExportLocation, name: str = "out.csv") -> Path:
    return where.data_dir / name


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run(where: ExportLocation, what: ExportKind, **how: Any) -> list[dict[str, str]]:
    summary = export(ExportRequest(what, out(where), **how), where)
    found = rows(out(where))
    assert summary.rows == len(found)
    return found


def test_candles_are_written_with_stream_sequence_and_quality(where: ExportLocation) -> None:
    found = run(where, ExportKind.CANDLES)

    assert len(found) == 14
    assert list(found[0]) == [
        *("source", "symbol", "interval", "sequence", "timestamp"),
        *("open", "high", "low", "close", "volume", "tick_count", "flags"),
    ]
    assert found[1]["timestamp"] == "1970-01-01T00:02:00.000Z"
    assert (found[1]["sequence"], found[1]["close"], found[1]["flags"]) == ("2", "1.9", "8")
    assert found[-1]["low"] == "0.000008"


def test_a_span_takes_what_begins_in_it_and_not_its_end(where: ExportLocation) -> None:
    found = run(where, ExportKind.CANDLES, symbols=("EURUSD_otc",), span=TimeRange(3 * MINUTE, 6 * MINUTE))

    assert [row["sequence"] for row in found] == ["3", "4", "5"]


@pytest.mark.parametrize(
    ("how", "count"),
    [
        ({"source": "SIM"}, 13),
        ({"interval": "5s"}, 1),
        ({"symbols": ("eur/usd otc",)}, 10),
        ({"symbols": ("EURUSD_OTC", "aapl otc")}, 11),
        ({"source": "SIM", "symbols": ("GBPUSDOTC",)}, 3),
    ],
)
def test_streams_can_be_chosen(where: ExportLocation, how: dict[str, Any], count: int) -> None:
    assert len(run(where, ExportKind.CANDLES, **how)) == count


def test_revisions_say_which_sequence_they_replaced(where: ExportLocation) -> None:
    (row,) = run(where, ExportKind.REVISIONS)

    assert (row["revision"], row["sequence"], row["close"]) == ("1", "2", "1.9")


def test_gaps_tell_from_when_to_when_and_why_and_leave_out_what_was_taken_back(where: ExportLocation) -> None:
    found = run(where, ExportKind.GAPS)

    assert [(row["symbol"], row["from"], row["to"], row["reason"]) for row in found] == [
        ("EURUSD_otc", "1970-01-01T00:01:00.000Z", "1970-01-01T00:02:00.000Z", "tab closed"),
        ("", "1970-01-01T00:08:00.000Z", "", "chrome gone"),
    ]


def test_a_gap_of_the_whole_source_is_one_of_every_symbol(where: ExportLocation) -> None:
    assert [row["reason"] for row in run(where, ExportKind.GAPS, symbols=("GBPUSD_otc",))] == ["chrome gone"]


def test_parquet_is_what_other_programs_read(where: ExportLocation) -> None:
    export(ExportRequest(ExportKind.CANDLES, out(where, "c.parquet")), where)

    with duckdb.connect(":memory:") as connection:
        found = connection.execute(f"SELECT count(*), min(low) FROM '{out(where, 'c.parquet')}'").fetchone()
    assert found == (14, 8e-6)


def test_a_daemon_that_holds_the_store_is_asked(where: ExportLocation) -> None:
    with WireServer(where.data_dir / STORE_FILE, ANY_PORT, ANY_PORT) as server:
        write_run_file(where.data_dir, RunFile(1, "http://127.0.0.1:1", "", server.rep_endpoint))
        summary = export(ExportRequest(ExportKind.CANDLES, out(where)), where)

    assert (summary.through, summary.rows) == ("daemon", 14)


def test_a_store_that_somebody_else_holds_is_said(where: ExportLocation) -> None:
    with WireServer(where.data_dir / STORE_FILE, ANY_PORT, ANY_PORT), pytest.raises(StoreLocked, match="held by"):
        export(ExportRequest(ExportKind.CANDLES, out(where)), where)


def test_progress_is_told_to_the_end(where: ExportLocation) -> None:
    told: list[int] = []

    def begin(total: int) -> Any:
        told.append(-total)
        return told.append

    export(ExportRequest(ExportKind.CANDLES, out(where)), where, begin)

    assert sum(told) == 0


@pytest.mark.parametrize(
    ("what", "how", "error", "says"),
    [
        (ExportKind.CANDLES, {"interval": "1h"}, ConfigError, "there are: SIM.EURUSD_otc.1m"),
        (ExportKind.CANDLES, {"symbols": ("EURUSDX",)}, UnknownAsset, "Did you mean EURUSD_otc"),
        (ExportKind.GAPS, {"interval": "1m"}, ConfigError, "Gaps have no interval"),
        (ExportKind.TICKS, {"source": "SIM"}, ConfigError, "have no source"),
        (ExportKind.TICKS, {}, ConfigError, "fluxcap collect-mode tick"),
    ],
)
def test_what_cannot_be_is_said_and_writes_nothing(
    where: ExportLocation, what: ExportKind, how: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        export(ExportRequest(what, out(where), **how), where)

    assert not out(where).exists()


def test_an_empty_folder_is_a_wrong_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data-dir"):
        export(ExportRequest(ExportKind.CANDLES, tmp_path / "c.csv"), ExportLocation(tmp_path))


def test_an_ending_that_says_nothing_is_refused(where: ExportLocation) -> None:
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        export(ExportRequest(ExportKind.GAPS, out(where, "gaps.txt")), where)


def put_ticks(folder: Path, symbol: str, part: int, *ts_ms: int) -> None:
    path = folder / series_folder(CsvKind.TICK, "") / file_name(CsvKind.TICK, symbol, "", "2026_11_21_23_54_26", part)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [tick_line(Tick(symbol, ts, 0, ts / 1_000_000_000)) for ts in ts_ms]
    path.write_bytes(CsvKind.TICK.header + b"".join(lines))


def test_ticks_come_from_the_collected_files_by_asset_and_time(tmp_path: Path) -> None:
    put_ticks(tmp_path, "GBPUSD_otc", 1, 1_000, 3_000)
    put_ticks(tmp_path, "#AAPL_otc", 1, 2_000, 1_500)
    put_ticks(tmp_path, "#AAPL_otc", 2, 1_700)

    summary = export(
        ExportRequest(ExportKind.TICKS, tmp_path / "t.csv", span=TimeRange(0, 3_000)), ExportLocation(tmp_path)
    )

    found = [(row["symbol"], row["timestamp"][-7:], row["price"]) for row in rows(tmp_path / "t.csv")]
    assert found == [
        ("#AAPL_otc", "01.500Z", "0.0000015"),
        ("#AAPL_otc", "01.700Z", "0.0000017"),
        ("#AAPL_otc", "02.000Z", "0.000002"),
        ("GBPUSD_otc", "01.000Z", "0.000001"),
    ]
    assert summary.through == "tick files"


@pytest.mark.parametrize(
    ("text", "ts_ms"),
    [
        ("2026-11-21", 1_795_219_200_000),
        ("2026-11-21T10:30", 1_795_257_000_000),
        ("2026-11-21 10:30:00.5", 1_795_257_000_500),
        ("2026-11-21T10:30:00Z", 1_795_257_000_000),
        ("2026-11-21T12:30:00+02:00", 1_795_257_000_000),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, ts_ms: int) -> None:
    assert parse_time(text) == ts_ms


@given(st.text(max_size=20))
def test_any_other_text_is_no_time_and_no_traceback(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(parse_time(text), int)


@pytest.mark.parametrize("text", ["yesterday", "", "21.11.2026", "2026-13-01", "1795219200000"])
def test_what_is_no_time_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigError, match="write 2026-11-21"):
        parse_time(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00+14:00", "9999-12-31T23:59:59.999999-14:00"])
def test_the_ends_of_time_are_times(text: str) -> None:
    assert isinstance(parse_time(text), int)


def test_the_symbol_as_written_wins_over_one_that_reads_alike() -> None:
    assert match_symbols(["EUR-USD"], ["EURUSD", "EUR-USD"]) == {"EUR-USD"}
    assert match_symbols([], ["A", "B"]) == {"A", "B"}


def test_a_summary_is_one_json_value(where: ExportLocation) -> None:
    import msgspec

    summary = export(ExportRequest(ExportKind.CANDLES, out(where)), where)

    assert json.loads(msgspec.json.encode(summary))["streams"] == [
        "SIM.EURUSD_otc.1m",
        "SIM.GBPUSD_otc.1m",
        "OTHER.#AAPL_otc.5s",
    ]
