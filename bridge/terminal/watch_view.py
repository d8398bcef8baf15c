"""The watch screen: what is known of a daemon, as rich renderables. Pure: facts in, rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fluxcap.bridge.client.health import Health
from fluxcap.bridge.client.stats import StreamStats, offset_text
from fluxcap.bridge.terminal.styles import flag_words, health_dot, price_style
from fluxcap.schemas.types import Candle

NARROW = 90
"""Columns below which the less important ones are left out."""


class StreamRow(msgspec.Struct, frozen=True):
    """One stream as it is shown. ``forming``: the candle under way, ``last``: the newest sealed one.

    ``first_whole_ms``: while there is no candle, the end (UTC ms) of the first that is seen whole; 0 else.
    """

    name: str
    health: Health
    sequence: int
    facts: StreamStats
    last: Candle | None = None
    forming: Candle | None = None
    first_whole_ms: int = 0


def render(
    status: Mapping[str, Any] | None,
    error: str,
    lines: Sequence[StreamRow],
    counters: Mapping[str, int],
    width: int,
    *,
    jetstream: str = "",
) -> RenderableType:
    """The whole screen for a terminal of ``width`` columns. ``status``: None while the daemon does not answer.

    ``error``: why it does not, or with a status, why its wire does not. ``jetstream``: what is watched in place of a
    daemon, while it answers.
    """
    parts: list[RenderableType] = [_jetstream(jetstream) if jetstream else _daemon(status, error, width)]
    if status is not None and error:
        parts.append(Text(f"  {error}", style="red"))
    if lines or status is None or not error:
        parts.append(_streams(lines, width) if lines else Text("  No stream yet.", style="dim"))
    parts += _first_candles(lines)
    if counters:
        shown = "   ".join(f"{name} {count}" for name, count in sorted(counters.items()) if count)
        parts.append(Text(f"  {shown}", style="dim"))
    parts.append(Text("  q or Ctrl-C to quit", style="dim"))
    return Group(*parts)


def _jetstream(text: str) -> RenderableType:
    return Panel(Text(text), title="fluxcap", title_align="left", border_style="dim")


def _daemon(status: Mapping[str, Any] | None, error: str, width: int) -> RenderableType:
    if status is None:
        return Panel(Text(error or "Looking for the daemon.", style="red"), title="fluxcap", title_align="left")
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold", ratio=1)
    chrome = Text(status["chrome"], style="green" if status["chrome"] == "attached" else "yellow")
    chrome.append(f"  {status['browser'] or status['chrome_reason']}", style="dim")
    facts.add_row("chrome", chrome)
    facts.add_row("focus", Text(f"{status['focus_mode']} {', '.join(status['focus_symbols']) or 'nothing yet'}"))
    period_s = status["detected_period_s"]
    facts.add_row("page shows", Text(f"{status['detected_asset'] or 'unknown'}{f', {period_s} s' if period_s else ''}"))
    collect = status["collect"]
    mode = collect["mode"] if isinstance(collect, Mapping) else collect
    facts.add_row("collects", Text(str(mode)))
    offset_ms = status["platform_offset_ms"]
    clock = "not known yet" if offset_ms is None else f"{offset_text(offset_ms)} ahead of UTC"
    facts.add_row("clock", f"{clock}, queue {status['queue_depth']}")
    if status["store_trouble"]:
        facts.add_row("store", Text(status["store_trouble"], style="red"))
    title = f"fluxcap {status['version']}, up {duration(status['uptime_s'])}"
    return Panel(facts, title=title, title_align="left", border_style="dim", width=min(width, 110))


def _streams(lines: Sequence[StreamRow], width: int) -> Table:
    is_wide = width >= NARROW
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=False)
    table.add_column("stream", no_wrap=True, min_width=18)
    table.add_column("health", no_wrap=True, min_width=18)
    names = ["sequence", "close", "ticks/s", "lag"] if not is_wide else []
    names = names or ["sequence", "watermark", "open", "high", "low", "close", "ticks", "ticks/s", "lag", "quality"]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        cells = {name: value for name, value in _cells(line).items() if name in names}
        table.add_row(Text(line.name), _health(line.health, with_reason=is_wide), *(cells[name] for name in names))
    return table


def _first_candles(lines: Sequence[StreamRow]) -> list[Text]:
    """Say when the first whole candle of each stream comes that has none yet, and how to have candles at once."""
    awaited = [line for line in lines if line.first_whole_ms]
    found = [
        Text(f"  {line.name}: the first whole candle ends at {_clock(line.first_whole_ms)} UTC", style="dim")
        for line in awaited
    ]
    return [*found, Text("  `fluxcap reload` brings the page's own history now", style="dim")] if found else []


def _cells(line: StreamRow) -> dict[str, Text | str]:
    candle = line.forming or line.last
    cells: dict[str, Text | str] = {
        "sequence": f"#{line.sequence}" if line.sequence else "-",
        "watermark": _clock(line.facts.watermark_ts_ms),
        "ticks/s": "-" if line.facts.ticks_per_second is None else f"{line.facts.ticks_per_second:.1f}",
        "lag": "-" if line.facts.lag_ms is None else f"{line.facts.lag_ms / 1_000:.1f}s",
        "ticks": "-" if candle is None else f"{candle.volume:g}",
        "quality": _quality(line.last),
    }
    for name in ("open", "high", "low", "close"):
        cells[name] = "-" if candle is None else f"{getattr(candle, name):.10g}"
    if candle is not None:
        cells["close"] = Text(f"{candle.close:.10g}", style=price_style(candle))
    return cells


def _quality(candle: Candle | None) -> str:
    if candle is None:
        return "-"
    return ", ".join(flag_words(candle.flags)) or "complete"


def _health(health: Health, *, with_reason: bool) -> Text:
    text = health_dot(health).append(health.label, style="bold")
    if with_reason and health.reason:
        text.append(f" {health.reason}", style="dim not bold")
    return text


def _clock(ts_ms: int | None) -> str:
    return datetime.fromtimestamp(ts_ms / 1_000, UTC).strftime("%H:%M:%S") if ts_ms else "-"


def duration(seconds: float) -> str:
    """``12s``, ``3m04s``, ``2h05m``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
