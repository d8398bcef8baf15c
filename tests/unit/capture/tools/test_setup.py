"""The set-up: what an answer means, what is written, and what is seen until the first ticks."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fluxcap.bridge.http.run_file import RunFile
from fluxcap.capture.chrome.browsers import Installed
from fluxcap.capture.chrome.launch import default_profile
from fluxcap.capture.cli import start as cli
from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.runtime.folders import own_config_file
from fluxcap.capture.runtime.settings import load_settings
from fluxcap.capture.tools import setup
from fluxcap.capture.tools.setup import Choice, FirstTick, Way, looked_on, settings_of, tick_text, write_settings
from tests.support.systems import not_on_windows

EDGE = Installed("edge", "Microsoft Edge", Path("/opt/edge"), Path("/home/me/edge"))
THORIUM = Installed("thorium", "thorium", Path("/opt/thorium"), Path())
RUN = RunFile(4711, "http://127.0.0.1:3001", "pub", "rep")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / variable))


def asset(symbol: str, ts_ms: int, price: float, *, focused: bool = True) -> dict[str, Any]:
    return {"symbol": symbol, "focused": focused, "last_tick_ts_ms": ts_ms, "last_price": price}


def state(reason: str, *assets: dict[str, Any], chrome: str = "") -> dict[str, Any]:
    return {"no_candles": reason, "chrome_reason": chrome, "assets": list(assets)}


def watched(states: list[dict[str, Any]], wait_s: float | None = None) -> list[str | FirstTick]:
    """What is told while the daemon passes through these states, one each half second."""
    now_s = 0.0
    last = states[-1]
    rest: Iterator[dict[str, Any]] = iter(states)

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    return list(looked_on(lambda: next(rest, last), wait_s, clock=lambda: now_s, sleep=sleep))


def test_a_browser_of_its_own_is_kept_open_and_the_everyday_one_asked_for_consent():
    own, everyday = settings_of(Choice(EDGE, Way.OWN)), settings_of(Choice(EDGE, Way.EVERYDAY))

    assert own == {"browser": "edge", "consent": False, "keep_chrome": True, "chrome_profile": None}
    assert everyday == {"browser": "edge", "consent": True, "keep_chrome": False, "chrome_profile": None}


def test_a_program_that_is_no_known_browser_is_written_with_its_path():
    assert settings_of(Choice(THORIUM, Way.OWN))["browser"] == str(Path("/opt/thorium"))


@not_on_windows("snaps are Ubuntu's")
def test_a_snap_gets_its_profile_where_it_may_write():
    chromium = Installed("chromium", "Chromium", Path("/snap/bin/chromium"), Path("/home/me/x"))

    assert settings_of(Choice(chromium, Way.OWN))["chrome_profile"] == default_profile(chromium.program).absolute()


def test_what_is_written_is_what_a_start_takes_and_a_second_set_up_replaces_it():
    profile = Path("/my/profile").absolute()
    write_settings(Choice(EDGE, Way.EVERYDAY, profile, "https://po.cash/", ("po.cash",)))
    first = load_settings()
    write_settings(Choice(EDGE, Way.OWN))
    second = load_settings()

    assert (first.consent, first.keep_chrome, first.chrome_profile) == (True, False, profile)
    assert (first.page, first.platform_url) == ("https://po.cash/", ("po.cash",))
    assert (second.consent, second.keep_chrome, second.chrome_profile) == (False, True, None)
    assert (second.page, second.platform_url) == ("https://po.cash/", ("po.cash",))


def test_a_file_of_this_folder_that_goes_before_the_users_own_is_told(tmp_path: Path):
    write_settings(Choice(EDGE, Way.OWN))
    assert setup.overridden_by() is None

    (tmp_path / "fluxcap.toml").touch()
    assert setup.overridden_by() == Path("fluxcap.toml")


def test_what_is_missing_is_told_whenever_it_changes_then_the_first_ticks():
    told = watched(
        [
            state("", chrome="not tried yet"),
            state("No tab."),
            state("No tab."),
            state("Log in."),
            state("", asset("A", 100, 1.5), asset("B", 100, 9.0, focused=False)),
            state("", asset("A", 100, 1.5)),
            state("Ticks come; wait.", asset("A", 200, 1.6)),
            *(state("", asset("A", ts_ms, 1.7)) for ts_ms in (300, 400, 500, 600)),
        ]
    )

    assert told[:2] == ["No tab.", "Log in."]
    assert [(tick.symbol, tick.ts_ms) for tick in told[2:] if isinstance(tick, FirstTick)] == [
        ("A", 100),
        ("A", 200),
        ("A", 300),
        ("A", 400),
        ("A", 500),
    ]
    assert len(told) == 7


def test_it_is_waited_no_longer_than_asked_for():
    assert watched([state("Waiting for your consent in Chrome: click Allow.")], 60.0) == [
        "Waiting for your consent in Chrome: click Allow."
    ]


def test_a_tick_is_shown_with_its_time_in_utc():
    assert tick_text(FirstTick("EURUSD_otc", 1_795_348_800_250, 1.16123)) == "12:00:00.250 UTC  EURUSD_otc  1.16123"


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with two browsers, and a daemon that can be started."""
    chrome = Installed("chrome", "Google Chrome", Path("/opt/chrome"), Path("/home/me/chrome"))
    found = SimpleNamespace(opened=[], started=[], statuses=[state("", *[asset("A", n, 1.0) for n in range(1, 6)])])
    monkeypatch.setattr("fluxcap.capture.chrome.browsers.Machine.browsers", lambda _self: [chrome, EDGE])
    monkeypatch.setattr(setup, "start_daemon", lambda settings, config: found.started.append(settings) or RUN)
    monkeypatch.setattr(setup, "daemon_status", lambda _run: lambda: found.statuses[-1])
    monkeypatch.setattr(setup, "open_in_browser", lambda browser, *pages: found.opened.append((browser.name, *pages)))
    return found


def in_file() -> dict[str, Any]:
    return tomllib.loads(own_config_file().read_text(encoding="utf-8"))


@pytest.mark.costly
def test_with_yes_nothing_is_asked_and_the_first_browser_gets_a_profile_of_its_own(
    computer: SimpleNamespace, capsys: pytest.CaptureFixture[str]
):
    assert run_cli(["setup", "--yes"]) == 0

    told = capsys.readouterr().out
    assert in_file() == {"browser": "chrome", "consent": False, "keep_chrome": True}
    assert "Browser   Google Chrome" in told
    assert "Ticks come. The chart: http://127.0.0.1:3001/" in told
    assert "`fluxcap service install`" in told
    assert computer.started[0].keep_chrome
    assert computer.opened == []


@pytest.mark.costly
def test_asked_the_everyday_browser_is_chosen_and_its_page_for_consent_opened(
    computer: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    answers = iter([7, 2, 2])
    monkeypatch.setattr(cli.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(cli.typer, "prompt", lambda *_, **__: next(answers))

    assert run_cli(["setup"]) == 0

    assert in_file() == {"browser": "edge", "consent": True, "keep_chrome": False}
    assert computer.opened == [("edge", "chrome://inspect/#remote-debugging", "https://pocketoption.com/")]
    assert "A number from 1 to 2, please." in capsys.readouterr().out


def test_without_a_tick_it_says_what_to_look_at_and_fails(
    computer: SimpleNamespace, capsys: pytest.CaptureFixture[str]
):
    computer.statuses = [state("No tab of the platform is open.")]

    assert run_cli(["setup", "--yes", "--wait", "0"]) == 1

    told = capsys.readouterr().out
    assert "  No tab of the platform is open." in told
    assert "No tick came yet; `fluxcap status` says what is missing" in told


def test_as_json_there_is_one_value_and_nothing_else(computer: SimpleNamespace, capsys: pytest.CaptureFixture[str]):
    import json

    assert run_cli(["setup", "--json", "--browser", "edge", "--way", "own"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["way"], told["pid"], told["ticks"]) == ("own", 4711, 5)


def test_only_settings_can_be_written(computer: SimpleNamespace):
    assert run_cli(["setup", "--yes", "--no-start", "--way", "everyday"]) == 0

    assert computer.started == computer.opened == []
    assert in_file()["consent"] is True


@pytest.mark.costly
@pytest.mark.parametrize("options", [["--way", "mine"], ["--browser", "netscape"]])
def test_what_cannot_be_is_refused_and_nothing_written(computer: SimpleNamespace, options: list[str]):
    assert run_cli(["setup", "--yes", *options]) == 2
    assert not own_config_file().exists()


@pytest.mark.costly
def test_without_a_terminal_it_says_how_to_do_without_questions(
    computer: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(cli.sys, "stdin", None)

    assert run_cli(["setup"]) == 2
    assert "`fluxcap setup --yes`" in capsys.readouterr().err
