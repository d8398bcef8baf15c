"""``fluxcap status`` on an ordinary terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from fluxcap.bridge.terminal.console import SafeConsole
from fluxcap.capture.cli.control import _facts, render
from fluxcap.capture.cli.run import chrome
from fluxcap.capture.pipeline.consent import ConsentFile

NOON_MS = 1_795_348_800_000
SEEN: dict[str, Any] = {
    **{"version": "1.2.3", "pid": 7, "uptime_s": 75.0, "server_time_ms": NOON_MS, "chrome": "attached"},
    **{
        "browser": "Chrome/156",
        "chrome_reason": "",
        "tabs": [],
        "sockets": 1,
        "clock_reason": "Known.",
        "counters": {},
    },
    **{"focus_mode": "lock", "focus_symbols": ["EURUSD_otc"], "focus_unknown": ["nonsense"], "store_trouble": ""},
    **{"focus_unchecked": ["GBPUSD"]},
    **{"detected_asset": None, "detected_period_s": 0, "pub": "tcp://127.0.0.1:5556", "rep": "tcp://127.0.0.1:5557"},
    **{"control": "http://127.0.0.1:3001", "data_dir": "/home/me/fluxcap/data"},
    "collect": {"mode": "none", "files": 0, "ticks": 0, "candles": 0, "trouble": "", "waiting": 0, "lost": 0},
    "streams": [
        {
            "stream": f"POCKETOPTION.{symbol}.1m",
            "feed": feed,
            "latest_sequence": 43_200,
            "latest_ts_ms": latest_ts_ms,
            "age_ms": 300,
        }
        for symbol, feed, latest_ts_ms in (
            ("EURUSD_otc", "unsynchronised", NOON_MS - 60_000),
            ("GBPUSD_otc", "live", NOON_MS - 86_400_000),
        )
    ],
}


def shown(width: int = 80, seen: dict[str, Any] = SEEN) -> str:
    console = SafeConsole(width=width, record=True, file=io.StringIO())
    console.print(*render(seen), sep="\n")
    return console.export_text()


def test_no_name_of_a_stream_is_cut_off() -> None:
    assert "POCKETOPTION.EURUSD_otc.1m" in shown()
    assert "unsynchronised" in shown()
    assert "…" not in shown()


def test_the_newest_candle_has_its_date_unless_it_is_todays() -> None:
    assert " 11-21 12:00Z" in shown()
    assert " 11:59:00Z" in shown()


def test_the_agreement_with_the_platform_is_one_line_and_what_differs_follows() -> None:
    one = {"stream": "TEST.EURUSD_otc.1m", "sequence": 7, "ts_ms": 1_700_000_040_000, "kept_ticks": 0}
    one |= {"ours": [1.1, 1.2, 1.0, 1.15], "platform": [1.1, 1.2, 1.0, 1.16]}
    agreement = {"compared": 412, "equal": 412, "streams": {}, "differing": []}

    def line(**changes: object) -> str:
        return dict(_facts(SEEN | {"agreement": agreement | changes}))["agreement"]

    assert line() == "412 of 412 candles equal the platform's own"
    assert line(compared=0) == "no candle was compared with the platform's own yet"
    assert dict(_facts(SEEN))["agreement"] == "no candle was compared with the platform's own yet"
    assert line(equal=409, differing=[one]).splitlines() == [
        "[yellow]409 of 412 candles equal the platform's own[/]",
        "TEST.EURUSD_otc.1m 2023-11-14 22:14:00: 1.1 1.2 1 1.15, the platform has 1.1 1.2 1 1.16 "
        "(its ticks were no longer known)",
        "and 2 more: `fluxcap verify`",
    ]


def test_names_that_the_platform_does_not_know_are_told() -> None:
    assert "(unknown on the platform: nonsense)" in " ".join(shown(200).split())


def test_names_that_could_not_be_checked_yet_are_told() -> None:
    assert "(not checked yet: GBPUSD)" in " ".join(shown(200).split())


HOSTILE = "\x1b]0;x\x07[/oops][red]\x9b2J"


def hostile(value: Any) -> Any:
    """The same, with an escape sequence and brackets of rich's in every text."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, dict):
        return {name: hostile(item) for name, item in value.items()}
    return [hostile(item) for item in value] if isinstance(value, list) else value


def test_whatever_a_browser_calls_itself_and_its_tabs_the_terminal_is_not_steered() -> None:
    seen = {**hostile(SEEN), "tabs": [{"url": f"https://a.test/{HOSTILE}"}], "focus_mode": "lock"}

    text = shown(400, seen)

    assert text.replace("\n", "").isprintable()
    assert "Chrome/156\\x1b]0;x\\x07[/oops][red]\\x9b2J" in text
    assert "https://a.test/\\x1b]0;x" in text


def test_in_the_first_minute_the_candle_under_way_stands_below_with_when_the_first_whole_one_ends() -> None:
    forming = {"ts_ms": NOON_MS - 30_000, "open": 1.1, "high": 1.3, "low": 1.0, "close": 1.16123, "ticks": 37}
    streams = [stream | {"forming": forming, "first_whole_ms": NOON_MS + 83_000} for stream in SEEN["streams"]]

    text = shown(80, SEEN | {"streams": streams})
    later = shown(80, SEEN | {"streams": [stream | {"first_whole_ms": 0} for stream in streams]})

    [line] = [line for line in text.splitlines() if "EURUSD" in line and "1.16123" in line]
    assert line.split() == ["POCKETOPTION.EURUSD_otc.1m", "11:59:30Z", "1.16123", "37", "12:01:23Z,", "in", "1m23s"]
    assert "`fluxcap reload` reloads the trading page" in text
    assert "1.16123" in later
    assert "first whole candle" not in later
    assert "fluxcap reload" not in later


def test_without_a_daemon_the_word_to_ask_is_left_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("fluxcap.capture.runtime.discovery.DEFAULT_WEB_PORT", 9)  # the discard port

    chrome(ask=True, data_dir=tmp_path)

    assert "The next `fluxcap run --consent` may ask at once." in capsys.readouterr().out
    assert ConsentFile(tmp_path).read().wanted
