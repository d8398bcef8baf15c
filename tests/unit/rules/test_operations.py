"""The README as a contract: every promise names a test that exists, and the operations part knows all there is to know.

Nothing that fluxcap says may be missing there, and nothing may stand there that it does not say any more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fluxcap.bridge.client.health import HealthState
from fluxcap.bridge.jetstream.forward.status import ForwardState
from fluxcap.capture.cli import app as cli
from fluxcap.capture.market.clock import ClockState
from fluxcap.capture.market.feed_state import BlindReason
from fluxcap.capture.pipeline.listeners import ChromeState
from fluxcap.capture.runtime.log_events import EVENTS
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import CandleFlags, FeedState
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()
OPERATIONS = README.split("\n## When something is wrong\n")[1].split("\n## ")[0]
PROMISES = README.split("\n## What it promises\n")[1].split("\n## ")[0]


def part(title: str) -> str:
    """A collapsible part of the operations."""
    found = [text for text in OPERATIONS.split("<details>") if text.startswith(f"<summary><b>{title}</b>")]
    assert len(found) == 1, title
    assert found[0].count("</details>") == 1
    return found[0]


def rows(text: str, after: str = "") -> list[list[str]]:
    """The rows of the first table after some words, without its head."""
    lines = text[text.index(after) :].splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    found = []
    for line in lines[begin + 1 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def names(cells: list[list[str]]) -> list[str]:
    """What stands in backticks in the first column."""
    return [name for row in cells for name in re.findall(r"`([^`]+)`", row[0])]


# --- promises --------------------------------------------------------------------------------------------------------


def shown_by() -> Iterator[tuple[str, str]]:
    for promise, by in rows(PROMISES):
        for name in re.findall(r"`([^`]+)`", by):
            yield promise, name


def test_every_promise_names_what_shows_it() -> None:
    assert len(rows(PROMISES)) > 20
    assert all(len(row) == 2 and "`" in row[1] for row in rows(PROMISES))


@cache
def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", sorted({name for _, name in shown_by()}))
def test_what_shows_a_promise_exists(name: str) -> None:
    if name.startswith("make "):
        assert re.search(rf"^{name.split()[1]}:", (ROOT / "Makefile").read_text(), re.M)
    elif name.startswith("fluxcap "):
        assert f'app.command("{name.split()[1]}")' in Path(str(cli.__file__)).read_text()
    else:
        path, _, function = name.partition("::")
        assert (ROOT / path).exists()
        assert not function or function in functions(ROOT / path)


def test_every_test_file_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"tests/[\w/*.-]+\.(?:py|md|toml)", README))

    assert not [pattern for pattern in named if not list(ROOT.glob(pattern))]


# --- operations ------------------------------------------------------------------------------------------------------


def test_every_row_says_what_it_is_about_what_it_means_and_what_to_do() -> None:
    tables = re.findall(r"(?m)^\|---[|-]*\n((?:\|.*\n)+)", OPERATIONS)

    for line in "".join(tables).splitlines():
        assert all(cell.strip() for cell in line.strip("|").split(" | ")), line


def test_every_log_event_stands_there_with_its_meaning_and_no_other() -> None:
    table = {names([row])[0]: row[1:] for row in rows(part("Log events"))}

    assert table == {name: [f"{event.sentence}. {event.meaning}", event.action] for name, event in EVENTS.items()}


def test_the_events_worth_an_alert_are_in_bold() -> None:
    bold = {names([row])[0] for row in rows(part("Log events")) if row[0].startswith("**")}

    assert bold == {name for name, event in EVENTS.items() if event.alert}


def metrics_of_the_code() -> set[str]:
    """Every name that capture/api/metrics.py makes, as Prometheus shows it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "capture/api/metrics.py").read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        kind, name = node.func.id, node.args[0]
        if not isinstance(name, ast.Constant):
            continue
        if kind in ("Counter", "Histogram", "Gauge"):
            found.add(f"{name.value}_total" if kind == "Counter" else str(name.value))
        elif kind in ("_counter", "_gauge"):
            found.add(f"fluxcap_{name.value}_total" if kind == "_counter" else f"fluxcap_{name.value}")
    return found


def test_every_metric_stands_there_and_no_other() -> None:
    assert len(metrics_of_the_code()) > 20
    told = names(rows(part("Metrics")))

    assert sorted(told) == sorted(metrics_of_the_code())


@pytest.mark.parametrize(
    ("after", "states"),
    [
        ("Chrome, in `fluxcap status`:", [state.value for state in ChromeState]),
        ("Platform clock:", [state.value for state in ClockState]),
        ("Feed of a stream", [state.name.lower() for state in FeedState]),
        ("Health of a stream", [state.value for state in HealthState]),
        ("Forwarding to NATS", [state.value for state in ForwardState]),
        ("Why a feed was blind", [reason.value for reason in BlindReason]),
    ],
    ids=["chrome", "clock", "feed", "health", "forwarding", "gaps"],
)
def test_every_state_stands_there_and_no_other(after: str, states: list[str]) -> None:
    assert sorted(names(rows(part("States"), after))) == sorted(states)


def test_every_flag_of_a_candle_stands_there_and_no_other() -> None:
    line = part("States").partition("Flags of a candle: ")[2].partition("\n</details>")[0]

    assert set(re.findall(r"`([A-Z_]+)`", line)) == {str(flag.name) for flag in CandleFlags}


def exit_code_of(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> int:
    def run(*_: object, **__: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(cli, "app", run)
    return cli.run_cli([])


def test_every_exit_code_stands_there_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong_use = cli.run_cli(["run", "--no-such-option"])
    errors = [None, FluxcapError("it failed"), KeyboardInterrupt()]

    codes = {wrong_use, *(exit_code_of(monkeypatch, error) for error in errors)}

    assert names(rows(part("Exit codes"))) == [str(code) for code in sorted(codes)]


def counters_of_the_code() -> set[str]:
    """What the market counts; what is counted by asset or by kind without that part."""
    text = "".join((ROOT / f"capture/market/{name}.py").read_text() for name in ("market", "ingest", "aggregator"))
    found = re.findall(r'counters\["([^"]+)"\]|yield f"(\w+)\.', text)
    return {(one or other).partition(".")[0] for one, other in found}


def test_every_counter_of_the_status_stands_there() -> None:
    told = {name.partition(".")[0] for name in names(rows(part("Counters")))}

    assert told - {"gaps", "duplicates", "garbled"} == counters_of_the_code()
