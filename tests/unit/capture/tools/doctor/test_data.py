"""What the doctor finds of settings, daemon and store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.http.run_file import RunFile, write_run_file
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store.verify import summarize
from fluxcap.capture.runtime.folders import own_config_file
from fluxcap.capture.tools.doctor import data
from fluxcap.capture.tools.doctor.finding import Finding, Verdict, error_finding, exit_code, from_error, ok, warning
from fluxcap.capture.tools.service.systems import Done, Systemd, TaskScheduler
from fluxcap.schemas.errors import ConfigError, FluxcapError, StoreDamaged
from fluxcap.schemas.types import Candle, StreamKey

FREE = "tcp://127.0.0.1:0"


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FLUX")]:
        monkeypatch.delenv(name)


def status(**changes: Any) -> dict[str, Any]:
    seen = {
        "version": "1",
        "pid": 7,
        "control": "http://127.0.0.1:1",
        "chrome": "attached",
        "chrome_reason": "",
        "chrome_endpoint": "127.0.0.1:9222",
        "browser": "Chrome/156",
        "tabs": [{"url": "https://a.test/"}],
        "streams": [{"stream": "S.EURUSD_otc.1m", "feed": "live"}],
        "clock": "synchronised",
        "clock_reason": "The platform stamps ticks +2 h from UTC; removed.",
        "store_trouble": "",
    }
    return seen | changes


def verdicts(findings: list[Finding]) -> dict[str, Verdict]:
    return {finding.subject: finding.verdict for finding in findings}


def test_only_a_problem_makes_the_exit_code_1():
    assert exit_code([ok("a", "b"), warning("a", "b", "c")]) == 0
    assert exit_code([ok("a", "b"), error_finding("a", "b", "c")]) == 1


def test_an_error_becomes_what_happened_and_what_to_do():
    found = from_error("x", ConfigError("It is broken; mend it with glue."))

    assert (found.text, found.fix) == ("It is broken.", "Mend it with glue.")


def test_settings_that_cannot_be_read_are_a_problem_and_the_defaults_go_on():
    Path("fluxcap.toml").write_text("intervall = '1m'")

    found, settings = data.check_settings(None)

    assert found.verdict is Verdict.PROBLEM
    assert "Unknown setting 'intervall'" in found.text
    assert settings.web_port == 3001


def test_misspelt_variables_are_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLUXCAP_INTERVALL", "1m")

    found, _ = data.check_settings(None)

    assert (found.verdict, "FLUXCAP_INTERVALL" in found.text) == (Verdict.WARNING, True)


def test_without_a_daemon_all_is_well_and_one_that_was_killed_is_told(tmp_path: Path):
    assert verdicts(data.check_daemon(tmp_path, *data.running_daemon(tmp_path))) == {"daemon": Verdict.OK}

    write_run_file(tmp_path, RunFile(4_194_304, "http://127.0.0.1:1", FREE, FREE))

    found = data.check_daemon(tmp_path, *data.running_daemon(tmp_path))
    assert "process 4194304) ended unexpectedly" in found[0].text


def test_a_daemon_that_does_not_answer_is_a_problem(tmp_path: Path):
    write_run_file(tmp_path, RunFile(os.getpid(), "http://127.0.0.1:1", FREE, FREE))

    found = data.check_daemon(tmp_path, *data.running_daemon(tmp_path))

    assert verdicts(found) == {"daemon": Verdict.PROBLEM}


@pytest.mark.parametrize(
    ("changes", "subject", "verdict"),
    [
        ({}, "platform socket", Verdict.OK),
        ({}, "platform clock", Verdict.OK),
        ({"chrome": "not reachable", "chrome_reason": "Nothing answers; start it."}, "devtools port", Verdict.WARNING),
        ({"tabs": []}, "platform tab", Verdict.WARNING),
        ({"streams": []}, "platform socket", Verdict.WARNING),
        ({"clock": "measuring", "clock_reason": "Measuring; nothing yet."}, "platform clock", Verdict.WARNING),
        ({"clock": "clock in question", "clock_reason": "It is wrong."}, "platform clock", Verdict.PROBLEM),
    ],
)
def test_what_the_daemon_sees_is_told(changes: dict[str, Any], subject: str, verdict: Verdict, tmp_path: Path):
    run = RunFile(7, "http://127.0.0.1:1", FREE, FREE)

    assert verdicts(data.check_daemon(tmp_path, run, status(**changes)))[subject] is verdict


def test_a_store_that_takes_nothing_is_a_problem(tmp_path: Path):
    assert data.check_store(tmp_path, status()).verdict is Verdict.OK
    assert data.check_store(tmp_path, status(store_trouble="No space.")).verdict is Verdict.PROBLEM


@pytest.mark.costly
def test_a_store_is_counted_and_one_that_is_none_is_a_problem(tmp_path: Path):
    assert "does not exist yet" in data.check_store(tmp_path, None).text
    with WireServer(tmp_path / "fluxcap.duckdb", FREE, FREE) as server:
        key = StreamKey("S", "A", "1m")
        server.publish({key: [Candle(n * 60_000, 1.0, 1.0, 1.0, 1.0) for n in range(1, 6)]})
        held = data.check_store(tmp_path, None)

    assert held.verdict is Verdict.PROBLEM
    assert "1 streams, 5 candles" in data.check_store(tmp_path, None).text
    (tmp_path / "fluxcap.duckdb").write_bytes(b"nonsense" * 4_096)
    assert data.check_store(tmp_path, None).verdict is Verdict.PROBLEM
    with pytest.raises(StoreDamaged):
        summarize(tmp_path / "fluxcap.duckdb")


def test_why_no_candle_comes_is_a_finding_with_what_to_do(tmp_path: Path):
    why = "Ticks of EURUSD_otc come, but no asset is in focus: `fluxcap focus set`."
    run = RunFile(7, "http://127.0.0.1:1", FREE, FREE)

    findings = data.check_daemon(tmp_path, run, status(no_candles=why, streams=[]))

    assert warning("candles", why, "`fluxcap status` shows details.") in findings


def test_a_tab_on_no_list_and_two_accounts_of_one_asset_are_told(tmp_path: Path):
    run = RunFile(7, "http://127.0.0.1:1", FREE, FREE)
    seen = status(lookalikes=["po9.cash"], accounts={"EURUSD_otc": "demo"})

    findings = data.check_daemon(tmp_path, run, seen)
    without_tab = data.check_daemon(tmp_path, run, seen | {"tabs": []})

    told = " ".join(f"{finding.text} {finding.fix}" for finding in findings)
    assert "--platform-url po9.cash" in told
    assert "only the demo one counts" in told
    assert "--platform-url po9.cash" in " ".join(finding.fix for finding in without_tab)


def test_the_settings_file_in_force_is_named_and_the_one_that_it_goes_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", str(tmp_path / "own"))
    assert "No settings file (`fluxcap setup` writes one)" in data.check_settings(None)[0].text

    own_config_file().parent.mkdir(parents=True)
    own_config_file().touch()
    assert data.check_settings(None)[0].text.startswith(f"{own_config_file()};")

    (tmp_path / "fluxcap.toml").touch()
    assert data.check_settings(None)[0].text.startswith(f"fluxcap.toml, which goes before {own_config_file()};")


def test_it_is_told_whether_it_starts_at_log_in(tmp_path: Path):
    systemd = Systemd(lambda _words: Done(0, ""), tmp_path)
    assert "`fluxcap service install`" in data.check_service(systemd).text

    systemd.file.parent.mkdir(parents=True)
    systemd.file.touch()
    assert str(systemd.file) in data.check_service(systemd).text


def test_a_service_manager_that_does_not_answer_is_a_warning(tmp_path: Path):
    def silent(words: Sequence[str]) -> Done:
        raise FluxcapError(f"{words[0]} did not answer within 60 s; try again.")

    found = data.check_service(TaskScheduler(silent, tmp_path, "trader"))

    assert (found.verdict, found.text, found.fix) == (
        Verdict.WARNING,
        "schtasks did not answer within 60 s.",
        "Try again.",
    )
