"""Prints a stream as it happens: what ``fluxcap tail`` does. It is a consumer of the live client like any other."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bridge.client.actions import StartFrom
from bridge.client.events import Candles, CaughtUp, Event, Forming, Gap, HealthChanged, Revision, StoreReplaced
from bridge.client.health import Health, HealthState
from bridge.client.live import LiveClient
from bridge.curve import ClientCurve
from schemas.types import Candle, CandleFlags, StreamKey, candles_from

CONTEXT_CANDLES = 10
"""Without a data folder and a first sequence, so many candles come before the live ones."""
POLL_SECONDS = 0.2

_COLOURS = {
    HealthState.DISCONNECTED: "red",
    HealthState.CONNECTING: "yellow",
    HealthState.SUBSCRIBED: "cyan",
    HealthState.RECEIVING: "green",
    HealthState.STALLED: "yellow",
}


def tail(
    key: StreamKey,
    *,
    pub: str | None = None,
    rep: str | None = None,
    data_dir: str | Path | None = None,
    from_sequence: int | None = None,
    as_json: bool = False,
    seconds: float | None = None,
    most_candles: int | None = None,
    out: TextIO | None = None,
    stop: threading.Event | None = None,
    curve: ClientCurve | None = None,
) -> int:
    """Print candles, gaps and health of a stream until stopped; the number of candles printed.

    data_dir: keep a copy there, and resume from it. from_sequence: the first candle wanted; without it and without a
    data_dir the last ten come first. as_json: one JSON value a line (types candle, revision, gap, health,
    store_replaced, caught_up). seconds, most_candles: end after so long, or so many. stop: ends it from another thread.
    Ends quietly when ``out`` is a pipe that nobody reads any more.

    Raises StoreLocked, StoreError, ConfigError.
    """
    start: StartFrom | int
    start = from_sequence if from_sequence else StartFrom.RESUME if data_dir is not None else -CONTEXT_CANDLES
    end = time.monotonic() + seconds if seconds is not None else None
    client = LiveClient(pub, rep, data_dir, streams=[key], start_from=start, curve=curve)
    printed = 0
    with client, contextlib.suppress(BrokenPipeError), _printer(key, client, as_json, out or sys.stdout) as show:
        while not (stop is not None and stop.is_set()) and (end is None or time.monotonic() < end):
            for event in client.events(timeout=POLL_SECONDS):
                show(event)
                if isinstance(event, Candles):
                    printed += len(event.candles)
                if (stop is not None and stop.is_set()) or (end is not None and time.monotonic() >= end):
                    break
                if most_candles is not None and printed >= most_candles:
                    return printed
    return printed


@contextlib.contextmanager
def _printer(key: StreamKey, client: LiveClient, as_json: bool, out: TextIO) -> Iterator[Callable[[Event], None]]:
    if as_json:

        def show_json(event: Event) -> None:
            for line in json_lines(event):
                out.write(line + "\n")
            out.flush()

        yield show_json
        return
    console = Console(file=out, highlight=False, soft_wrap=True)
    screen = _Screen(key, lambda: client.health(key))
    if not console.is_terminal:

        def show_plain(event: Event) -> None:
            _print_all(console, screen.lines(event, with_health=True))

        yield show_plain
        return
    with Live(get_renderable=screen.status_line, console=console, refresh_per_second=5):

        def show_live(event: Event) -> None:
            _print_all(console, screen.lines(event, with_health=False))

        yield show_live


def _print_all(console: Console, lines: list[Text]) -> None:
    if lines:
        console.print(Text("\n").join(lines))


def json_lines(event: Event) -> list[str]:
    """The JSON texts of an event, one per line; none for a candle under way."""
    key = str(event.key)
    rows: list[dict[str, Any]]
    match event:
        case Candles(_, start, candles, is_backfill):
            rows = [
                {"type": "candle", "key": key, "sequence": sequence, **_fields(candle), "is_backfill": is_backfill}
                for sequence, candle in enumerate(candles_from(candles), start)
            ]
        case Revision(_, start, sequences, candles):
            rows = [
                {"type": "revision", "key": key, "revision": number, "sequence": int(sequence), **_fields(candle)}
                for number, (sequence, candle) in enumerate(zip(sequences, candles_from(candles), strict=True), start)
            ]
        case HealthChanged(_, health):
            rows = [{"type": "health", "key": key, **_health_fields(health)}]
        case Gap(_, first, last, reason):
            rows = [{"type": "gap", "key": key, "from_sequence": first, "to_sequence": last, "reason": reason}]
        case StoreReplaced(_, store_id, reason):
            rows = [{"type": "store_replaced", "key": key, "store_id": store_id, "reason": reason}]
        case CaughtUp(_, sequence):
            rows = [{"type": "caught_up", "key": key, "sequence": sequence}]
        case _:
            rows = []
    return [msgspec.json.encode(row).decode() for row in rows]


def flag_names(flags: int) -> list[str]:
    """``5`` → ``["JOINED_LATE", "FILLED"]``."""
    return [flag.name for flag in CandleFlags if flag & flags and flag.name is not None]


def _fields(candle: Candle) -> dict[str, Any]:
    return {**msgspec.structs.asdict(candle), "flags": flag_names(candle.flags)}


def _health_fields(health: Health) -> dict[str, Any]:
    return {
        "state": health.state.value,
        "label": health.label,
        "reason": health.reason,
        "age_ms": None if health.age_ns is None else health.age_ns // 1_000_000,
        "feed_state": health.feed_state.name,
    }


class _Screen:
    """What a person sees: a line per candle, and below them one line that lives."""

    def __init__(self, key: StreamKey, health: Callable[[], Health]) -> None:
        self._key = key
        self._health = health
        self._forming: Candle | None = None

    def lines(self, event: Event, *, with_health: bool) -> list[Text]:
        match event:
            case Candles(_, start, candles, is_backfill):
                self._forming = None
                return [
                    _candle_line(n, c, "fetched" if is_backfill else "")
                    for n, c in enumerate(candles_from(candles), start)
                ]
            case Revision(_, _, sequences, candles):
                return [
                    _candle_line(int(n), c, "revised") for n, c in zip(sequences, candles_from(candles), strict=True)
                ]
            case Forming(_, candle):
                self._forming = candle
            case Gap(_, first, last, reason):
                return [Text(f"gap: {first} to {last} are missing: {reason}", style="red")]
            case StoreReplaced(_, _, reason):
                return [Text(f"starting over: {reason}", style="yellow")]
            case HealthChanged(_, health) if with_health:
                return [_health_text(health)]
            case _:
                pass
        return []

    def status_line(self) -> Text:
        line = _health_text(self._health()).append(f"  {self._key}", style="bold")
        if self._forming is not None:
            candle = self._forming
            line.append(f"  {_clock(candle.ts_ms)[11:]} forming: {candle.close}, {candle.volume:g} ticks", style="dim")
        return line


def _health_text(health: Health) -> Text:
    text = Text("● ", style=_COLOURS[health.state]).append(health.label)
    return text.append(f" ({health.reason})", style="dim") if health.reason else text


def _candle_line(sequence: int, candle: Candle, origin: str) -> Text:
    style = "green" if candle.close > candle.open else "red" if candle.close < candle.open else ""
    line = Text(f"{_clock(candle.ts_ms)}  #{sequence:<8} ").append(_prices(candle), style=style)
    notes = [name.lower().replace("_", " ") for name in flag_names(candle.flags)] + ([origin] if origin else [])
    return line.append(f"  {', '.join(notes)}", style="dim") if notes else line


def _prices(candle: Candle) -> str:
    return f"O {candle.open}  H {candle.high}  L {candle.low}  C {candle.close}  {candle.volume:g} ticks"


def _clock(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
