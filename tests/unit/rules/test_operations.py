"""The operations manual as a contract: it knows all that fluxcap says, and nothing that it does not say any more."""

from __future__ import annotations

import ast
import re

import pytest

from fluxcap.bridge.client.health import HealthState
from fluxcap.bridge.jetstream.forward.status import ForwardState
from fluxcap.bridge.system.signals import HangUp
from fluxcap.capture.cli import app as cli
from fluxcap.capture.market.clock import ClockState
from fluxcap.capture.market.feeds import GapReason
from fluxcap.capture.pipeline.listeners import ChromeState
from fluxcap.capture.runtime.log_events import EVENTS
from fluxcap.capture.runtime.settings import Settings, variables_of
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import CandleFlags, FeedState
from tests.support.documents import OPERATIONS, names, quoted, rows, section
from tests.support.paths import ROOT
from tests.windows.commands import never_run

CONTRACT = ("Settings", "When the browser fails", "Exit codes", "States", "Log events", "Metrics", "Counters")


def part(title: str) -> str:
    return section(OPERATIONS, title)


def test_every_setting_stands_there_with_its_default_and_its_variables() -> None:
    told = {}
    for cell, default, _ in rows(part("Settings")):
        name, *variables = quoted(cell)
        told[name] = ("".join(quoted(default)), variables)

    def written(default: object) -> str:
        if isinstance(default, tuple):
            return ",".join(default)
        return "" if default in (None, {}) else str(default).replace("False", "false").replace("True", "true")

    assert told == {
        name: (
            "" if field.default_factory is not None else written(field.default),
            [variable for variable in variables_of(name) if variable != f"FLUXCAP_{name.upper()}"],
        )
        for name, field in Settings.model_fields.items()
    }


def test_every_row_says_what_it_is_about_what_it_means_and_what_to_do() -> None:
    tables = re.findall(r"(?m)^\|---[|-]*\n((?:\|.*\n)+)", "".join(map(part, CONTRACT[1:])))

    assert tables
    for line in "".join(tables).splitlines():
        assert all(cell.strip() for cell in line[1:-1].split("|")), line


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
        ("Why a feed was blind", [reason.value for reason in GapReason]),
    ],
    ids=["chrome", "clock", "feed", "health", "forwarding", "gaps"],
)
def test_every_state_stands_there_and_no_other(after: str, states: list[str]) -> None:
    assert sorted(names(rows(part("States"), after))) == sorted(states)


def test_a_forwarding_state_stands_there_as_it_is_shown() -> None:
    shown = {quoted(row[0])[0]: row[1] for row in rows(part("States"), "Forwarding to NATS")}

    assert shown == {s.value: s.label if s.label != s.value else "the same" for s in ForwardState}


def test_every_flag_of_a_candle_stands_there_and_no_other() -> None:
    line = part("States").partition("Flags of a candle: ")[2]

    assert set(re.findall(r"`([A-Z_]+)`", line)) == {str(flag.name) for flag in CandleFlags}


def exit_code_of(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> int:
    def run(*_: object, **__: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(cli, "command_tree", lambda: run)
    return cli.run_cli([])


def test_every_exit_code_stands_there_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong_use = cli.run_cli(["run", "--no-such-option"])
    errors = [None, FluxcapError("it failed"), HangUp(), KeyboardInterrupt()]

    codes = {wrong_use, *(exit_code_of(monkeypatch, error) for error in errors)}

    assert names(rows(part("Exit codes"))) == [str(code) for code in sorted(codes)]


def counters_of_the_code() -> set[str]:
    """What the market counts; what is counted by asset or by kind without that part."""
    text = "".join((ROOT / f"capture/market/{name}.py").read_text() for name in ("market", "aggregator"))
    found = re.findall(r'counters\["([^"]+)"\]|[ {]f"(\w+)\.\{', text)
    return {(one or other).partition(".")[0] for one, other in found}


def test_every_counter_of_the_status_stands_there() -> None:
    told = {name.partition(".")[0] for name in names(rows(part("Counters")))}

    assert told - {"gaps", "duplicates", "garbled"} == counters_of_the_code()


def test_every_command_is_run_on_windows_too() -> None:
    assert never_run() == set(), "Write words to run it by into tests/windows/commands.py."
