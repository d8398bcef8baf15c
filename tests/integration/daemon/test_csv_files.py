"""The collected files against a real disk: a kill at any instant, a restart, and a disk that ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fluxcap.capture.csvfiles.reader import check_csv, collected_files, read_ticks
from tests.integration.store.csv_writer import ASSETS, tick
from tests.support.paths import ROOT


def process(script: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", f"tests.integration.store.{script}", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def killed_after(reports: int, folder: Path) -> int:
    """Run the writer until it has reported so often, kill it, and return how many lines it said were written."""
    with process("csv_writer", folder) as writer:
        assert writer.stdout is not None
        said = 0
        for _, line in zip(range(reports), writer.stdout, strict=False):
            said = int(line)
        writer.kill()
    return said


def kept(folder: Path, stamp_of_run: int) -> list[list[tuple[int, float]]]:
    """Each asset's ticks of one of the runs, in the order of the files."""
    files = collected_files(folder)
    runs = sorted({file.name.stamp for file in files})
    found = []
    for symbol in ASSETS:
        ticks: list[tuple[int, float]] = []
        for file in files:
            if file.name.symbol == symbol and file.name.stamp == runs[stamp_of_run]:
                page = read_ticks(file)
                ticks += zip(page.ts_ms.tolist(), page.price.tolist(), strict=True)
        found.append(ticks)
    return found


@pytest.mark.parametrize("reports", [1, 4, 11])
def test_a_killed_writer_has_lost_nothing_that_it_had_written(tmp_path: Path, reports: int) -> None:
    said = killed_after(reports, tmp_path)

    both = kept(tmp_path, 0)
    for index, ticks in enumerate(both):
        expected = [tick(index + 2 * n) for n in range(len(ticks))]
        assert ticks == [(one.ts_ms, one.price) for one in expected], "not the first so many, each once"
    assert sum(map(len, both)) >= said
    assert [check.faults for check in map(check_csv, collected_files(tmp_path)) if check.faults] == []


def test_runs_after_a_kill_leave_what_was_there_as_it_was(tmp_path: Path) -> None:
    killed_after(3, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.csv")}

    killed_after(3, tmp_path)

    assert {path: path.read_bytes() for path in before} == before
    assert len(list(tmp_path.rglob("*.csv"))) > len(before)


def test_a_disk_that_ends_within_a_line_leaves_whole_lines_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with process("csv_on_a_limited_disk", tmp_path) as writer:
        assert writer.stdout is not None
        report = json.loads(writer.stdout.read())

    lines = (tmp_path / "part1.csv").read_text().splitlines()
    assert report["failure"]
    assert lines == ["header", *(f"line {number:04d}" for number in range(report["written"]))]
