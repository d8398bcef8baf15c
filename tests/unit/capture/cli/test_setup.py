"""``fluxcap doctor`` and ``config`` on a terminal."""

from __future__ import annotations

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
