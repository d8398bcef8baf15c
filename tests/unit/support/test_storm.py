"""tests/soak/storm: what judges and reports a storm sees what it should, and keeps the reports of other lengths."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcap.capture.simulator import Truth
from fluxcap.capture.simulator.truth import TruthTick
from fluxcap.schemas.types import Candle
from tests.soak.storm.lines import JsonLines
from tests.soak.storm.measure import Sample, slope_mb_h
from tests.soak.storm.report import written
from tests.soak.storm.verdict import as_far_as_sent, telling

MB = 1024 * 1024


def candles(start: int, count: int, stream: str = "a") -> dict[str, object]:
    return {"kind": "candles", "stream": stream, "start": start, "count": count}


def test_sequences_in_order_are_no_problem():
    assert list(telling([candles(1, 700), candles(701, 1), candles(1, 1, "b"), candles(702, 2)], [0])) == []


@pytest.mark.parametrize("start", [1, 2, 4])
def test_a_hole_and_a_repetition_are_problems(start: int):
    assert list(telling([candles(1, 2), candles(start, 1)], [0])) == [f"a: told {start} where 3 was due"]


def test_after_a_kill_what_was_stored_is_not_told_again():
    assert list(telling([candles(1, 2), candles(5, 1), candles(6, 1)], [0, 1])) == []
    assert len(list(telling([candles(1, 2), candles(2, 1)], [0, 1]))) == 1
    assert len(list(telling([candles(1, 2), candles(5, 1), candles(7, 1)], [0, 1]))) == 1


OVERTAKEN = Truth(
    [
        TruthTick("A", 0, 10_000 + at_ms, price, sent)
        for at_ms, price, sent in [(0, 1.0, 1), (400, 9.0, 0), (800, 1.0, 1)]
    ],
    [
        {"kind": "fault_begun", "at_ms": 10_900, "fault": "late_ticks"},
        {"kind": "fault_ended", "at_ms": 12_000, "fault": "late_ticks"},
    ],
)


def test_a_tick_that_was_overtaken_and_never_sent_may_lack():
    as_sent = Candle(10_000, 1.0, 1.0, 1.0, 1.0, 2.0, 2)

    assert as_far_as_sent(OVERTAKEN, "A", 1_000, {10_000: as_sent}) == {10_000: as_sent}


@pytest.mark.parametrize(
    "candle", [Candle(10_000, 1.0, 1.0, 1.0, 1.0, 1.0, 1), Candle(10_000, 1.0, 9.0, 1.0, 1.0, 3.0, 3)]
)
def test_nothing_else_may_lack(candle: Candle):
    assert as_far_as_sent(OVERTAKEN, "A", 1_000, {10_000: candle}) == {}


def test_a_tick_that_was_not_overtaken_may_not_lack():
    never = Truth(OVERTAKEN.ticks("A"), [])

    assert as_far_as_sent(never, "A", 1_000, {10_000: Candle(10_000, 1.0, 1.0, 1.0, 1.0, 2.0, 2)}) == {}


@pytest.mark.parametrize("kind", ["gap", "replaced"])
def test_a_gap_or_a_new_store_is_a_problem(kind: str):
    assert len(list(telling([{"kind": kind, "stream": "a"}], [0]))) == 1


REPLACED = {"kind": "replaced", "stream": "a"}


def test_once_for_each_backup_that_was_put_back_the_sequences_start_over():
    lines = [candles(1, 700), REPLACED, candles(1, 650), candles(651, 3)]

    assert list(telling(lines, [0], {"a": 1}, hears_all=True)) == []
    assert len(list(telling([*lines, REPLACED], [0], {"a": 1}))) == 1
    assert len(list(telling([candles(1, 2), REPLACED, candles(3, 1)], [0], {"a": 1}))) == 1


def test_who_was_there_all_the_time_must_be_told_of_each_backup():
    lines = [candles(1, 700), REPLACED, candles(1, 650)]

    assert len(list(telling(lines, [0], {"a": 2}, hears_all=True))) == 1
    assert list(telling(lines, [0], {"a": 2})) == []


def test_the_slope_is_not_bent_by_a_jump():
    steady = [Sample(at, (100 + at // 360) * MB, 0.0) for at in range(0, 3_600, 30)]
    jumped = [s._replace(rss_bytes=s.rss_bytes + (50 * MB if s.at_s > 3_500 else 0)) for s in steady]

    assert slope_mb_h(steady) == pytest.approx(10, rel=0.15)
    assert slope_mb_h(jumped) == pytest.approx(10, rel=0.3)


def test_a_run_replaces_the_section_of_its_length_only():
    report = written("", 60, "## 60 minutes\n\nSIXTY")
    report = written(report, 30, "## 30 minutes\n\nFORMER")

    report = written(report, 30, "## 30 minutes\n\nLATTER")

    assert report.startswith("# Soak")
    assert "FORMER" not in report
    assert report.index("LATTER") < report.index("SIXTY")
    assert report.count("## ") == 2


def test_lines_are_read_once_they_are_whole(tmp_path: Path):
    path, lines = tmp_path / "log", JsonLines()
    lines.follow(path)

    path.write_text('{"a": 1}\nno json\n{"a": ')
    assert lines.read() == [{"a": 1}]
    with path.open("a") as file:
        file.write("2}\n")
    assert lines.read() == [{"a": 2}]
    other = tmp_path / "other"
    other.write_text('{"a": 3}\n')
    lines.follow(other)
    lines.read()

    assert [line["a"] for line in lines.all] == [1, 2, 3]
