"""The watch screen."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.client.stats import StreamStats
from fluxcap.bridge.terminal.watch_view import StreamRow, duration, render
from fluxcap.schemas.types import Candle

STATUS: dict[str, Any] = {
    "version": "1.2.3",
    "uptime_s": 75,
    "chrome": "attached",
    "browser": "Chrome/156",
    "chrome_reason": "",
    "focus_mode": "lock",
    "focus_symbols": ["EURUSD_otc"],
    "detected_asset": "GBPUSD_otc",
    "detected_period_s": 60,
    "collect": {"mode": "both"},
    "platform_offset_ms": 7_200_000,
    "queue_depth": 3,
    "store_trouble": "",
}
LINE = StreamRow(
    "EURUSD_otc 1m",
    Health(HealthState.RECEIVING, age_ns=300_000_000),
    1207,
    StreamStats(1207, 60_000, 7_200_000, 800, 2.1),
    Candle(0, 1.1, 1.2, 1.0, 1.15, 9, 9, 2),
)


def shown(status: dict[str, Any] | None, width: int, error: str = "", lines: list[StreamRow] | None = None) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render(status, error, [LINE] if lines is None else lines, {"duplicate": 2, "late": 0}, width))
    return console.export_text()


@pytest.mark.parametrize(
    "words",
    [
        *("1.2.3", "up 1m15s", "Chrome/156", "lock EURUSD_otc", "GBPUSD_otc, 60 s", "both", "+2h", "Live, 0.3s ago"),
        *("#1207", "00:01:00", "1.15", "2.1", "0.8s", "blind", "duplicate 2"),
    ],
)
def test_all_facts_are_on_a_wide_screen(words: str) -> None:
    assert words in shown(STATUS, 140)


def test_a_narrow_screen_keeps_what_matters_and_breaks_no_line() -> None:
    text = shown(STATUS, 70)

    assert "Live, 0.3s ago" in text
    assert "#1207" in text
    assert "watermark" not in text
    assert max(len(line) for line in text.splitlines()) <= 70


def test_without_a_daemon_it_says_what_is_missing() -> None:
    text = shown(None, 100, "No fluxcap answers at http://x.", lines=[])

    assert "No fluxcap answers" in text
    assert "No stream yet" in text


@pytest.mark.parametrize(("seconds", "text"), [(9, "9s"), (75.9, "1m15s"), (7_500, "2h05m")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_wire_that_does_not_answer_is_said_beside_the_status() -> None:
    text = shown(STATUS, 140, error="No connection: the server wants keys.", lines=[])

    assert "No connection: the server wants keys." in text
    assert "Chrome/156" in text
    assert "No stream yet" not in text


def test_an_unknown_clock_is_said_to_be_unknown() -> None:
    assert "not known yet, queue 3" in shown(STATUS | {"platform_offset_ms": None}, 140)


@pytest.mark.parametrize("width", [70, 140])
def test_in_the_first_minute_it_says_when_the_first_whole_candle_comes(width: int) -> None:
    new = msgspec.structs.replace(LINE, sequence=0, last=None, forming=LINE.last, first_whole_ms=180_000)

    text = shown(STATUS, width, lines=[new])

    assert "1.15" in text
    assert "EURUSD_otc 1m: the first whole candle ends at 00:03:00 UTC" in text
    assert "`fluxcap reload` brings the page's own history now" in text
    assert "first whole candle" not in shown(STATUS, width)
