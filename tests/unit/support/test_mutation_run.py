"""What ``make mutation`` makes of survivors, and that its explanations still speak of the code as it stands."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.mutation import run
from tests.mutation.run import EQUIVALENT, MODULES, ROOT, Result, reason, report
from tests.support.systems import not_on_windows

ENTRIES: dict[str, list[dict[str, Any]]] = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))
ENTRY = {"was": "a = 0", "now": ["a = 1", "a = None"], "why": "Never read.", "where": ["__init__"]}


@pytest.mark.parametrize("name", MODULES)
def test_its_files_are_there(name: str):
    file, tests = MODULES[name]

    assert all((ROOT / path).is_file() for path in (file, *(f"tests/{test}" for test in tests)))


@pytest.mark.parametrize("name", ENTRIES)
def test_every_explained_line_still_stands_in_its_module(name: str):
    lines = {line.strip() for line in (ROOT / MODULES[name][0]).read_text().splitlines()}

    for entry in ENTRIES[name]:
        assert entry["was"] in lines
        assert entry["now"]
        assert entry["was"] not in entry["now"]
        assert len(entry["why"]) > 10


def test_a_survivor_is_explained_by_its_change_and_its_function():
    assert reason([ENTRY], "m.xǁClockǁ__init____mutmut_3", ("a = 0", "a = 1")) == "Never read."
    assert reason([ENTRY], "m.xǁClockǁ__init____mutmut_3", ("a = 0", "a = 2")) == ""
    assert reason([ENTRY], "m.xǁClockǁreset__mutmut_3", ("a = 0", "a = 1")) == ""
    anywhere = {key: value for key, value in ENTRY.items() if key != "where"}
    assert reason([anywhere], "m.x_reset__mutmut_3", ("a = 0", "a = 1")) == "Never read."
    assert reason([ENTRY | {"where": ["reset"]}], "m.x_reset__mutmut_3", ("a = 0", "a = 1")) == "Never read."


def test_the_report_has_a_row_a_module_and_each_explained_change():
    told = report([Result("tape", 10, [(("a = 0", "a = 1"), "Never read.")], [("m", "survived", ("b", "c"))])])

    assert "| `capture/market/tape.py` | 10 | 8 | 1 | 1 |" in told
    assert "- Never read.\n  - `a = 0` → `a = 1`" in told


@not_on_windows("mutmut does not run there")
def test_verdicts_torn_by_an_end_in_the_middle_are_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "WORK", tmp_path)
    torn = run._meta("tape")
    torn.parent.mkdir(parents=True)
    torn.write_text('{"exit_code_by_key": {"a":')

    run._forget_survivors("tape")

    assert run.verdicts("tape") == {}
