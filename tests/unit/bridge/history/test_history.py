"""bridge/history/history.py: a running server and a stopped store give the same history, in every form."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fluxcap import CandleFlags, History, StreamKey, history
from fluxcap.bridge.server import server as wire_server
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.server.timeframes import Timeframes
from fluxcap.schemas.errors import ConfigError, NotKnown, UnknownAsset, WireError
from fluxcap.schemas.types import CANDLE_DTYPE, Candle, Gap
from tests.support.patience import PATIENCE_S
from tests.support.wire.samples import ANY_PORT, EURUSD, GBPUSD, MINUTE, candle, candles, minutes

OTHER = StreamKey("DESK1", "GBPUSD_otc", "1m")
T0_MS = 10_000 * MINUTE
"""When the server was started, by its clock."""
GAP = Gap("SIM", "EURUSD_otc", 12 * MINUTE, 14 * MINUTE, "silent")
FLAGS = {3: CandleFlags.JOINED_LATE, 5: CandleFlags.BLIND, 6: CandleFlags.BLIND | CandleFlags.FILLED}


class Clock:
    ms = T0_MS

    def __call__(self) -> int:
        return self.ms


def fill(server: WireServer, clock: Clock) -> None:
    """Minutes 3 to 22 without 12, 13 and 17, of which 17 comes later; 8 is revised later."""
    rows = [candle(minute, 1.0 + minute / 100, int(FLAGS.get(minute, 0))) for minute in range(3, 23)]
    server.publish({EURUSD: [c for c in rows if c.ts_ms // MINUTE not in (12, 13, 17)], GBPUSD: candles(1, 3)})
    server.publish({OTHER: candles(1, 3)}, gaps=[GAP])
    clock.ms += 1_000
    server.revise({EURUSD: [candle(8, 1.9), candle(17, 1.17)]})


@pytest.fixture(scope="module", params=["server", "store"])
def where(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running server's address, and the folder of one that was stopped."""
    folder, clock = tmp_path_factory.mktemp("history"), Clock()
    server = WireServer(folder / "fluxcap.duckdb", ANY_PORT, ANY_PORT, clock_ms=clock)
    try:
        fill(server, clock)
        if request.param == "server":
            yield server.rep_endpoint
        else:
            server.close()
            yield str(folder)
    finally:
        server.close()


def ask(where: str, stream: str | StreamKey = "EURUSD_otc", interval: str | None = None, **more: Any) -> History:
    return history(stream, interval, source=where, timeout=PATIENCE_S, **more)


@pytest.mark.costly
def test_candles_are_as_revised_with_the_minutes_that_only_a_revision_brought(where: str) -> None:
    found = ask(where)

    assert found.key == EURUSD
    assert minutes(found.candles) == [*range(3, 12), *range(14, 23)]
    assert dict(zip(minutes(found.candles), found.sequences.tolist(), strict=True))[17] == 0
    assert found.candles["close"][5] == 1.9
    assert found.sequences.tolist()[:9] == list(range(1, 10))
    assert (found.gaps, found.folded_from, found.as_of_ms) == ((GAP,), None, None)


@pytest.mark.costly
def test_as_of_a_time_they_are_what_a_client_had_by_then(where: str) -> None:
    found = ask(where, as_of=T0_MS + 999)

    assert minutes(found.candles) == [*range(3, 12), *range(14, 17), *range(18, 23)]
    assert found.candles["close"][5] == 1.08
    assert found.as_of_ms == T0_MS + 999
    assert len(ask(where, as_of=T0_MS - 1)) == len(ask(where, as_of=T0_MS - 1).gaps) == 0
    assert np.array_equal(ask(where, as_of=T0_MS + 1_000).candles, ask(where).candles)


@pytest.mark.parametrize("step", [1, 4, 1_000])
def test_a_long_history_comes_in_pages(where: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxcap.bridge.server.requests.HISTORY_LIMIT", step)

    assert minutes(ask(where, start=2 * MINUTE, end=20 * MINUTE).candles) == [*range(3, 12), *range(14, 20)]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (4 * MINUTE, 6 * MINUTE, [4, 5]),
        ("1970-01-01T00:20", None, [20, 21, 22]),
        (None, datetime(1970, 1, 1, 0, 4, tzinfo=UTC), [3]),
        (np.datetime64("1970-01-01T00:11"), pd.Timestamp("1970-01-01T00:15"), [11, 14]),
        (9 * MINUTE, 9 * MINUTE, []),
        ("1969-01-01", "1969-02-01", []),
        ("2040-01-01", None, []),
    ],
)
def test_a_range_begins_at_start_and_ends_before_end(where: str, start: Any, end: Any, found: list[int]) -> None:
    assert minutes(ask(where, start=start, end=end).candles) == found


@pytest.mark.costly
def test_gaps_are_those_that_touch_the_range(where: str) -> None:
    assert ask(where, start=13 * MINUTE, end=14 * MINUTE).gaps == (GAP,)
    assert ask(where, start=14 * MINUTE).gaps == ask(where, end=12 * MINUTE).gaps == ()


def test_whole_leaves_out_what_was_not_seen_and_not_filled(where: str) -> None:
    assert minutes(ask(where, end=8 * MINUTE, whole=True).candles) == [4, 6, 7]


@pytest.mark.costly
def test_a_timeframe_that_is_no_stream_is_folded_from_the_minutes(where: str) -> None:
    found = ask(where, interval="5m")

    assert found.key == StreamKey("SIM", "EURUSD_otc", "5m")
    assert minutes(found.candles) == [5, 10, 15], "0 began before the stream, 20 is not over"
    assert found.candles["volume"].tolist() == [50.0, 30.0, 50.0]
    assert found.candles["flags"].tolist() == [CandleFlags.BLIND, CandleFlags.BLIND, 0]
    assert found.sequences.tolist() == [0, 0, 0]
    assert found.folded_from == "1m"
    assert minutes(ask(where, interval="5m", start=6 * MINUTE, end=15 * MINUTE).candles) == [10]
    assert ask(where, interval="5m", as_of=T0_MS).candles["volume"].tolist() == [50.0, 30.0, 40.0]
    assert len(ask(where, interval="5m", start=16 * MINUTE, end=19 * MINUTE)) == 0
    assert len(ask(where, interval="1h")) == 0


def test_numpy_gives_columns_with_a_flag_each(where: str) -> None:
    columns = ask(where, end=8 * MINUTE).numpy()

    assert columns["timestamp"].dtype == np.dtype("datetime64[ms]")
    assert columns["timestamp"].astype(int).tolist() == [minute * MINUTE for minute in range(3, 8)]
    assert columns["joined_late"].tolist() == [True, False, False, False, False]
    assert columns["blind"].tolist() == [False, False, True, True, False]
    assert columns["filled"].tolist() == [False, False, False, True, False]
    assert not columns["revised"].any()
    assert all(column.flags.c_contiguous for column in columns.values())


def test_every_form_has_the_same_columns_and_values(where: str) -> None:
    found = ask(where)

    columns, table, frame, pandas_frame = found.numpy(), found.arrow(), found.pl(), found.df()

    assert table.column_names == frame.columns == list(columns) == ["timestamp", *pandas_frame.columns]
    assert table.schema.field("timestamp").type == pa.timestamp("ms", tz="UTC")
    assert frame.schema["timestamp"] == pl.Datetime("ms", "UTC")
    assert str(pandas_frame.index.tz) == "UTC"
    for name, column in columns.items():
        of_pandas = pandas_frame.index.tz_localize(None) if name == "timestamp" else pandas_frame[name]
        assert table[name].to_pylist() == frame[name].to_list()
        assert np.array_equal(np.asarray(of_pandas, dtype=column.dtype), column)
        arrow = table[name].to_pylist()
        expected = [when.replace(tzinfo=UTC) for when in column.tolist()] if name == "timestamp" else column.tolist()
        assert arrow == expected
    assert len(ask(where, start="2040-01-01").df()) == 0


@pytest.mark.costly
def test_an_asset_is_understood_as_people_type_it(where: str) -> None:
    for name in ("EURUSD_otc", "eurusd_OTC", "EUR/USD OTC", "SIM/EURUSD_otc", EURUSD, "sim/eurusd_otc"):
        assert ask(where, name, start=22 * MINUTE).key == EURUSD
    assert ask(where, OTHER).key == OTHER


def test_what_is_meant_by_a_name_must_be_one_and_be_there(where: str) -> None:
    with pytest.raises(ConfigError, match="'GBPUSD_otc' may be any of DESK1/GBPUSD_otc, SIM/GBPUSD_otc; name one"):
        ask(where, "GBPUSD_otc")
    with pytest.raises(UnknownAsset, match=r"Unknown asset 'EURUSB_otc'\. Did you mean EURUSD_otc"):
        ask(where, "EURUSB_otc")
    with pytest.raises(ConfigError, match=r"EURUSD_otc has no candles of 5s, nor any .* only 1m"):
        ask(where, interval="5s")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"interval": "soon"}, "'soon' is not an interval"),
        ({"start": "2026-02-01", "end": "2026-01-01"}, "end .* lies before start"),
        ({"start": "yesterday"}, "start cannot be 'yesterday'"),
        ({"as_of": 1.5}, "as_of cannot be 1.5"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_asked(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ask("tcp://127.0.0.1:1", **arguments)


@pytest.mark.parametrize(("form", "package"), [("arrow", "pyarrow"), ("pl", "polars"), ("df", "pandas")])
def test_a_form_without_its_package_names_the_extra(form: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    found = History(EURUSD, np.empty(0, CANDLE_DTYPE), np.empty(0, np.uint64))

    extra = package.removeprefix("py")
    with pytest.raises(ConfigError, match=rf"\.{form}\(\) needs {package}: pip install 'fluxcap\[{extra}\]'"):
        getattr(found, form)()


def test_it_says_what_it_is(where: str) -> None:
    said = repr(ask(where, end=8 * MINUTE))

    assert said.startswith("<History of SIM.EURUSD_otc.1m: 5 candles from 1970-01-01T00:03:00.000 to ")
    assert where in said


@pytest.mark.costly
def test_a_derived_stream_is_read_as_it_is_and_equals_the_fold(tmp_path: Path) -> None:
    rows = candles(1, 61)
    folded: list[np.ndarray] = []
    for name, timeframes in (("with", Timeframes("SIM", "1m", ("5m",))), ("without", Timeframes())):
        folder = tmp_path / name
        with WireServer(folder / "fluxcap.duckdb", ANY_PORT, ANY_PORT, timeframes=timeframes) as server:
            server.publish({EURUSD: rows}, over={EURUSD: 62 * MINUTE})
        found = ask(str(folder), interval="5m")
        folded.append(found.candles)
        assert found.folded_from == (None if name == "with" else "1m")
    assert len(folded[0]) == 11
    assert np.array_equal(folded[0], folded[1])


def test_a_server_that_knows_no_history_is_told(tmp_path: Path) -> None:
    made = wire_server.RequestHandler

    class Older(made):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._handlers = {kind: act for kind, act in self._handlers.items() if "History" not in kind.__name__}

    with WireServer(tmp_path / "s.duckdb", ANY_PORT, ANY_PORT, handler=Older) as server:
        server.publish({EURUSD: candles(1, 1)})
        with pytest.raises(WireError, match=r"The fluxcap at tcp://.* has no history yet; upgrade it"):
            ask(server.rep_endpoint)


@pytest.mark.costly
def test_what_was_not_kept_is_said_alike_by_server_and_store(tmp_path: Path) -> None:
    said = []
    clock = Clock()
    with WireServer(tmp_path / "fluxcap.duckdb", ANY_PORT, ANY_PORT, clock_ms=clock) as server:
        clock.ms = 0  # as a row of version 1 has it
        server.publish({EURUSD: [Candle(MINUTE, 1.0, 2.0, 0.5, 1.5)]})
        clock.ms = T0_MS
        server.publish({EURUSD: [candle(2)]})
        for where in (server.rep_endpoint, str(tmp_path)):
            if where == str(tmp_path):
                server.close()
            with pytest.raises(NotKnown) as refused:
                ask(where, as_of=T0_MS - 1)
            said.append(str(refused.value))
            assert len(ask(where, as_of=T0_MS)) == 2
    assert said[0] == said[1]
    assert said[0].startswith("Not known: this store keeps what was told from 1970-01-07T22:40:00.000Z on")


@pytest.mark.costly
def test_two_threads_may_read_one_store(where: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: len(ask(where)), range(8)))

    assert found == [18] * 8
