"""What of the trading page can be told without a browser."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from fluxcap.capture.collect import page
from fluxcap.capture.collect.cdp_proxy import GateAddress
from fluxcap.capture.collect.page import SELECTORS, TradingPage, _percent, find_chromedriver
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError


@pytest.mark.parametrize(
    ("text", "percent"), [("+92", 92), ("92%", 92), (" 0 ", 0), ("", None), ("N/A", None), ("+", None), ("9.5", None)]
)
def test_payout_is_a_whole_percentage_or_unknown(text: str, percent: int | None) -> None:
    assert _percent(text) == percent


def test_configured_driver_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "my-driver"
    driver.write_text("#!/bin/sh\n")
    driver.chmod(driver.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("FLUXCAP_CHROMEDRIVER", str(driver))

    assert find_chromedriver() == driver


def test_configured_driver_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXCAP_CHROMEDRIVER", str(tmp_path / "absent"))

    with pytest.raises(ConfigError, match="FLUXCAP_CHROMEDRIVER"):
        find_chromedriver()


def test_missing_driver_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUXCAP_CHROMEDRIVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(page, "_DRIVERS", ())

    with pytest.raises(ChromeUnavailable, match=r"No chromedriver found; (install it|download the one of)"):
        find_chromedriver()


def test_each_driver_is_started_out_of_the_reach_of_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(page, "_tabs", lambda gate: [{}])
    monkeypatch.setattr(page, "detached", lambda: {"creationflags": 8, "start_new_session": True})
    monkeypatch.setattr(page, "Chrome", lambda options, service: asked.append(service))

    for _ in range(2):
        TradingPage.attach(GateAddress("127.0.0.1:1", ""), chromedriver=tmp_path / "driver")

    assert [(one.creation_flags, one.popen_kw) for one in asked] == 2 * [(8, {"start_new_session": True})]


def test_a_program_that_is_no_driver_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_tabs", lambda gate: [{}])
    driver = tmp_path / "driver"
    driver.write_bytes(b"no program")
    driver.chmod(0o755)

    with pytest.raises(ChromeUnavailable, match="driver cannot attach to Chrome: "):
        TradingPage.attach(GateAddress("127.0.0.1:1", ""), chromedriver=driver)


def test_absent_browser_is_said_before_a_driver_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(ChromeUnavailable, match="The way to Chrome is closed"):
        TradingPage.attach(GateAddress(f"token.localhost:{port}", "ws://127.0.0.1/"), chromedriver=tmp_path / "absent")


def test_the_driver_never_closes_a_tab() -> None:
    source = Path(page.__file__).read_text(encoding="utf-8")

    assert "_driver.close" not in source
    assert all(SELECTORS.values())
