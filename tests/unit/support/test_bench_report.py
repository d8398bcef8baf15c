"""tests/bench/report.py: one table of all benchmarks, and a benchmark that fails is a row of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.report import Row, cells, markdown, row_from, rows_of, section, sections_of, text_table


def bench(folder: Path, body: str) -> Path:
    path = folder / "bench_sample.py"
    path.write_text(body)
    return path


def test_a_benchmark_runs_in_a_process_of_its_own(tmp_path: Path):
    path = bench(
        tmp_path,
        "import os\n"
        "def rows():\n"
        "    print('told by the way')\n"
        "    return [{'name': 'a', 'ours': os.getpid(), 'theirs': 6, 'ratio': 3.0, 'unit': 'us', 'aim': 2}]\n",
    )

    (row,) = rows_of(path)

    assert (row.bench, row.name, row.theirs, row.met) == ("bench_sample", "a", 6.0, True)
    assert row.ours is not None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def rows():\n    raise ValueError('no disk')\n", "ValueError: no disk"),
        ("import not_there\n", "ModuleNotFoundError: No module named 'not_there'"),
        ("import os\ndef rows():\n    os._exit(3)\n", "ended with code 3, without a word"),
    ],
)
def test_one_that_fails_is_a_row_that_says_why(tmp_path: Path, body: str, told: str):
    (row,) = rows_of(bench(tmp_path, body))

    assert (row.failure, row.met) == (told, False)
    assert cells(row)[0] == f"bench_sample: {told}"


@pytest.mark.costly
def test_one_that_does_not_end_is_a_row_too(tmp_path: Path):
    (row,) = rows_of(bench(tmp_path, "import time\ndef rows():\n    time.sleep(600)\n"), timeout_s=2)

    assert row.failure == "not done after 2 s"


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("b", "a", ours=1, ratio=5.0, aim=5), True),
        (Row("b", "a", ours=1, ratio=4.9, aim=5), False),
        (Row("b", "a", ours=10, limit=10), True),
        (Row("b", "a", ours=11, limit=10), False),
        (Row("b", "a", ours=11), None),
    ],
)
def test_what_is_aimed_at_is_judged(row: Row, met: bool | None):
    assert row.met is met


def test_a_replays_row_tells_seconds_and_its_budget():
    row = row_from("bench_replay", {"name": "day", "seconds": 12.5, "budget_s": 60.0, "ratio": 40.0, "us_a_tick": 3.0})

    assert (row.ours, row.unit, row.limit, row.ratio, row.met) == (12.5, "s", 60.0, None, True)


def test_table_and_report_show_the_same():
    rows = [Row("bench_x", "fast", 1.5, 3_000.0, "us", 2_000.0, 1_900.0, 2_100.0, aim=500), Row("bench_y", "only", 7)]

    sections = sections_of("".join(section(row.bench, [row], "At noon.") for row in reversed(rows)))
    text, page = text_table(rows), markdown(sections, {"machine": "2 cores"}, "Not reached: nothing.")

    assert text.splitlines()[1].split("  ")[0] == "fast"
    assert "2,000x" in text
    assert "| fast | 1.5 | 3,000 | us | 2,000x | 1,900 - 2,100 | >= 500x | yes |" in page
    assert "- machine: 2 cores" in page
    assert page.index("Not reached") < page.index("## x") < page.index("## y")
    assert sections_of(page)["## y"] == sections["## y"]
