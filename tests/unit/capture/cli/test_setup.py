"""``fluxcap doctor`` and ``config`` on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluxcap.capture.cli.app import run_cli
from fluxcap.capture.tools.doctor import examine
from fluxcap.capture.tools.doctor.finding import error_finding, ok

HOSTILE = "\x1b]0;x\x07[/oops][red]\x9b2J"
SHOWN = "\\x1b]0;x\\x07[/oops][red]\\x9b2J"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_whatever_a_browser_calls_itself_the_terminal_is_not_steered(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    findings = [ok("devtools port", f"{HOSTILE} answers."), error_finding("platform tab", HOSTILE, f"Close {HOSTILE}")]
    monkeypatch.setattr(examine, "run_checks", lambda *_, **__: findings)
    monkeypatch.setenv("COLUMNS", "300")

    assert run_cli(["doctor", *options]) == 1

    told = capsys.readouterr().out
    assert told.replace("\n", "").isprintable()
    assert options or told.count(SHOWN) == 3


def test_settings_are_shown_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FLUXCAP_WEB_HOST", HOSTILE)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)

    assert run_cli(["config", "show"]) == 0

    assert SHOWN in capsys.readouterr().out


def test_the_platforms_are_listed_with_their_mark_and_one_is_printed_for_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)

    assert run_cli(["platforms"]) == 0
    listed = capsys.readouterr().out
    assert run_cli(["platforms", "bitfinex"]) == 0
    (tmp_path / "fluxcap.toml").write_text(capsys.readouterr().out)
    assert run_cli(["platforms"]) == 0
    after = capsys.readouterr().out

    assert "kraken" in listed
    assert listed.count("not from a recording") == after.count("not from a recording") + 1
    assert "described in your settings" in after


def test_a_description_that_does_not_ship_is_refused_with_those_that_do(capsys: pytest.CaptureFixture[str]):
    assert run_cli(["platforms", "nosuch"]) == 2

    assert "No description of 'nosuch' ships; these do: binance, " in capsys.readouterr().err


def test_the_platforms_are_printed_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)

    assert run_cli(["platforms", "--json"]) == 0
    assert {"name", "origin", "about", "documents"} == set(json.loads(capsys.readouterr().out)[0])
    assert run_cli(["platforms", "deriv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["table"]["time_unit"] == "s"
