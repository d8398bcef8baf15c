"""Runs every benchmark and makes one table of them: ``python -m tests.bench.report [--quick] [--only codec,store]``.

Each ``bench_*.py`` of this folder is run in a process of its own and gives ``rows()``: ``name``, ``ours`` and
``theirs`` (a yardstick of the same run) in ``unit``, their ``ratio`` (above 1: ours is better) with ``ratio_low`` and
``ratio_high``, and what is aimed at: ``aim`` (the least ratio) or ``limit`` (the most of ours). One that fails has a
row that says so. The table goes to the terminal and, with machine, versions and load, to ``report.md``; figures of a
busy machine are worth less, so the load is told. Exit code 1 when a benchmark could not be run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from tests.bench import rivals
from tests.support.browser.chromium import chromium_executable

FOLDER = Path(__file__).parent
REPORT = FOLDER / "report.md"
NOTES = FOLDER / "notes.md"
"""What was not reached and why, written by hand; the report has it before the tables."""
MARK = "rows as JSON: "
TIMEOUT_S = 1_800
QUICK: Mapping[str, Mapping[str, Any]] = {
    "bench_daemon": {"minutes": 1.0},
    "bench_delivery": {"quick": True},
    "bench_folding": {"rounds": 5},
    "bench_growth": {"most": 100},
    "bench_history": {"quick": True},
    "bench_import": {"rounds": 5},
    "bench_latency": {"rounds": 2, "seconds": 3.0, "ladders": 1},
    "bench_memory": {"hours": 0.5},
    "bench_readers": {"seconds": 3.0},
    "bench_replay": {"hours": 1.0},
    "bench_web": {"seconds": 5.0, "rounds": 2},
    "bench_wire_scale": {"quick": True},
}
PACKAGES = ("numpy", "msgspec", "flatbuffers", "pyzmq", "duckdb", "fastapi", "selenium")
COLUMNS = ("measurement", "ours", "theirs", "unit", "ratio", "low - high", "aim", "met")


class Row(msgspec.Struct, frozen=True):
    """One measurement. ``failure``: why there is none."""

    bench: str
    name: str
    ours: float | None = None
    theirs: float | None = None
    unit: str = ""
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    aim: float | None = None
    limit: float | None = None
    failure: str = ""

    @property
    def met(self) -> bool | None:
        """Whether what was aimed at was reached; None where nothing is."""
        if self.failure:
            return False
        if self.aim is not None:
            return self.ratio is not None and self.ratio >= self.aim
        if self.limit is not None:
            return self.ours is not None and self.ours <= self.limit
        return None


def row_from(bench: str, told: Mapping[str, Any]) -> Row:
    """A benchmark's row as ours. A replay tells ``seconds`` and ``budget_s`` in place of ``ours`` and ``limit``."""
    told = dict(told)
    if "seconds" in told:
        told |= {"ours": told["seconds"], "unit": "s", "limit": told.get("budget_s"), "ratio": None}
    fields = {name: told[name] for name in Row.__struct_fields__ if name in told}
    return msgspec.convert({**fields, "bench": bench}, Row)


# --- running ----------------------------------------------------------------------------------------------------------


def rows_of(path: Path, quick: bool = False, timeout_s: float = TIMEOUT_S) -> list[Row]:
    """The rows of one benchmark, run in a process of its own; a single one with ``failure`` when that does not work."""
    command = [sys.executable, "-m", "tests.bench.report", "--rows-of", str(path), *(["--quick"] if quick else [])]
    bench = path.stem
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=FOLDER.parents[1])
    except subprocess.TimeoutExpired:
        return [Row(bench, bench, failure=f"not done after {timeout_s:g} s")]
    for line in run.stdout.splitlines():
        if line.startswith(MARK):
            return [row_from(bench, told) for told in json.loads(line.removeprefix(MARK))]
    said = [line for line in run.stderr.splitlines() if line.strip()]
    return [
        Row(bench, bench, failure=said[-1].strip() if said else f"ended with code {run.returncode}, without a word")
    ]


def tell_rows(path: Path, quick: bool) -> None:
    """Run a benchmark here and print its rows for ``rows_of``."""
    sys.path.insert(0, str(FOLDER.parents[1]))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # processes that a benchmark starts find it by this name
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    rows = module.rows(**(QUICK.get(path.stem, {}) if quick else {}))
    print(MARK + json.dumps(rows), flush=True)


# --- telling ----------------------------------------------------------------------------------------------------------


def cells(row: Row) -> tuple[str, ...]:
    """What a row shows, as ``COLUMNS``."""
    if row.failure:
        return (f"{row.name}: {row.failure}", "", "", "", "", "", "", "FAILED")
    aim = ""
    if row.aim is not None:
        aim = f">= {row.aim:.3g}x"
    elif row.limit is not None:
        aim = f"<= {_figure(row.limit)} {row.unit}"
    spread = ""
    if row.ratio_low is not None and row.ratio_high is not None:
        spread = f"{_figure(row.ratio_low)} - {_figure(row.ratio_high)}"
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}x" if row.ratio < 1_000 else f"{row.ratio:,.0f}x"
    met = {True: "yes", False: "NO", None: ""}[row.met]
    return (row.name, _figure(row.ours), _figure(row.theirs), row.unit, ratio, spread, aim, met)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def text_table(rows: Iterable[Row]) -> str:
    """For the terminal: columns in line."""
    lines = [COLUMNS, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 3) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def section(bench: str, rows: Sequence[Row], told: str) -> str:
    """A benchmark's part of the report. ``told``: when it ran, and beside what load."""
    lines = [f"## {bench.removeprefix('bench_').replace('_', ' ')}", "", told, ""]
    lines += [f"| {' | '.join(COLUMNS)} |", f"|{'|'.join(['---'] + ['---:'] * (len(COLUMNS) - 1))}|"]
    return "\n".join([*lines, *(f"| {' | '.join(cells(row))} |" for row in rows)]) + "\n"


def sections_of(report: str) -> dict[str, str]:
    """The parts of a report by their heading."""
    parts = re.split(r"(?m)^(?=## )", report)[1:]
    return {part.splitlines()[0]: part.rstrip() + "\n" for part in parts}


def markdown(sections: Mapping[str, str], facts: Mapping[str, str], notes: str = "") -> str:
    """The report: ``sections`` by their heading, in the order of these, and what there is to say of them."""
    lines = ["# Benchmarks", "", "Made by `make bench`. Each figure stands beside a yardstick of the same run; ratios"]
    lines += ["above 1 mean that ours is better. Ratios travel between machines, absolutes do not.", ""]
    lines += [f"- {name}: {fact}" for name, fact in facts.items()]
    notes = f"\n{notes.rstrip()}\n" if notes else ""
    return "\n".join(lines) + "\n" + notes + "".join(f"\n{sections[heading]}" for heading in sorted(sections))


def machine() -> dict[str, str]:
    """What figures depend on."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    kilobytes = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    memory = f", {kilobytes[0] / 1e6:.0f} GB" if kilobytes else ""
    return {
        "machine": f"{os.cpu_count()} cores, {names[0] if names else platform.machine()}{memory}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {_version(name)}" for name in ("fluxcap", *PACKAGES)),
        "browser": _browser(),
        "beside": ", ".join(f"{name} {told}" for name, told in rivals.versions().items()) or "nothing installed",
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _browser() -> str:
    executable = chromium_executable()
    if executable is None:
        return "absent"
    return subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=60).stdout.strip()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def load() -> str:
    """Programs that waited for a core, in the last minute; more than there are cores makes figures worse."""
    return f"{os.getloadavg()[0]:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller and shorter where that can be chosen")
    parser.add_argument("--only", default="", help="names, comma-separated: codec,store")
    parser.add_argument("--out", type=Path, default=None, help="report to write; report.md here unless --only is given")
    parser.add_argument("--renew", action="store_true", help="with --only: put them into report.md, the others stay")
    parser.add_argument("--rows-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rows_of is not None:
        tell_rows(options.rows_of, options.quick)
        return 0
    only = {name.strip() for name in options.only.split(",") if name.strip()}
    paths = [path for path in sorted(FOLDER.glob("bench_*.py")) if not only or path.stem.removeprefix("bench_") in only]
    rows: list[Row] = []
    sections = sections_of(REPORT.read_text(encoding="utf-8")) if options.renew else {}
    for path in paths:
        print(f"{path.stem} …", file=sys.stderr, flush=True)
        begun_load, begun = load(), time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        own = rows_of(path, options.quick)
        quick = ", quick" if options.quick else ""
        told = f"{begun}{quick}; programs that waited or ran, a minute's mean: {begun_load} before, {load()} after."
        rows += own
        sections |= sections_of(section(path.stem, own, told))
    facts = machine()
    print("\n".join(f"{name}: {fact}" for name, fact in facts.items()) + "\n\n" + text_table(rows))
    out = options.out or (None if only and not options.renew else REPORT)
    if out is not None:
        out.write_text(markdown(sections, facts, NOTES.read_text(encoding="utf-8")), encoding="utf-8")
    return 1 if any(row.failure for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
