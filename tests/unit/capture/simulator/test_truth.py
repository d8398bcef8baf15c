"""capture/simulator/truth.py: what was written is read, and candles follow from the ticks by the plainest means."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.capture.simulator.truth import TruthLog, TruthTick, read_truth
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import Candle

OFFSET_MS = 7_200_000


def tick(ts_ms: int, price: float, sent: int = 1, symbol: str = "EURUSD_otc") -> TruthTick:
    return TruthTick(symbol, ts_ms + OFFSET_MS, ts_ms, price, sent)


def write(path: Path, ticks: list[TruthTick]) -> None:
    log = TruthLog(path)
    log.ticks(ticks)
    log.close()


def test_ticks_and_events_come_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "truth.jsonl"
    log = TruthLog(path)
    log.event("site_started", 5, seed=1)
    log.ticks([tick(1_000, 1.1), tick(1_500, 1.2, symbol="DOGE_otc", sent=0)])
    log.close()

    truth = read_truth(path)

    assert truth.symbols == ("DOGE_otc", "EURUSD_otc")
    assert truth.ticks("EURUSD_otc") == [tick(1_000, 1.1)]
    assert truth.sent("DOGE_otc") == []
    assert truth.of_kind("site_started") == [{"kind": "site_started", "at_ms": 5, "seed": 1}]
    first = path.read_text(encoding="utf-8").splitlines()[1]
    assert first == '{"symbol":"EURUSD_otc","raw_ts_ms":7201000,"ts_ms":1000,"price":1.1,"sent":1}'


def test_every_line_is_on_the_disk_before_the_next_call(tmp_path: Path) -> None:
    log = TruthLog(tmp_path / "truth.jsonl")

    log.ticks([tick(1_000, 1.1)])

    assert len(read_truth(tmp_path / "truth.jsonl").ticks("EURUSD_otc")) == 1
    log.close()


def test_candles_are_buckets_of_true_time(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    write(path, [tick(59_999, 1.5), tick(60_000, 1.2), tick(61_000, 1.4), tick(119_999, 1.1), tick(180_000, 2.0)])

    candles = read_truth(path).candles("EURUSD_otc", 60_000, 60_000, 240_000)

    assert candles == [
        Candle(60_000, 1.2, 1.4, 1.1, 1.1, volume=3.0, tick_count=3),
        Candle(180_000, 2.0, 2.0, 2.0, 2.0, volume=1.0, tick_count=1),
    ]


def test_a_tick_written_late_takes_its_place_in_time(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    write(path, [tick(61_000, 1.4), tick(62_000, 1.5), tick(60_500, 1.2)])

    (candle,) = read_truth(path).candles("EURUSD_otc", 60_000, 0, 1_000_000)

    assert (candle.open, candle.close) == (1.2, 1.5)


def test_a_torn_last_line_is_left_out_and_cut_off_when_the_file_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    write(path, [tick(1_000, 1.1)])
    with path.open("ab") as file:
        file.write(b'{"symbol":"EURUSD_otc","raw')
    assert len(read_truth(path).ticks("EURUSD_otc")) == 1

    log = TruthLog(path, append=True)
    log.ticks([tick(2_000, 1.2)])
    log.close()

    assert log.last_ts_ms == 1_000
    assert [t.ts_ms for t in read_truth(path).ticks("EURUSD_otc")] == [1_000, 2_000]


def test_a_new_log_starts_the_file_anew(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    write(path, [tick(1_000, 1.1)])

    write(path, [tick(5_000, 1.1)])

    assert [t.ts_ms for t in read_truth(path).ticks("EURUSD_otc")] == [5_000]


def test_without_a_path_nothing_is_kept() -> None:
    log = TruthLog(None)

    log.ticks([tick(1, 1.0)])
    log.event("site_started", 1)
    log.close()

    assert log.path is None


def test_files_that_are_no_truth_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("hello\n", encoding="utf-8")

    with pytest.raises(ConfigError, match="Line 1"):
        read_truth(tmp_path / "other.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_truth(tmp_path / "absent.jsonl")
    with pytest.raises(ConfigError, match="cannot be written"):
        TruthLog(tmp_path)
