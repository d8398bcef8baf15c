"""Events as lines: JSON for programs, coloured text for people. Values in, texts out; no I/O."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.text import Text

from fluxcap.bridge.client.events import Candles, CaughtUp, Event, Forming, Gap, HealthChanged, Revision, StoreReplaced
from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.bridge.client.latest import LatestCandles
from fluxcap.bridge.terminal.styles import HEALTH_STYLES, flag_names, flag_words, health_dot, price_style
from fluxcap.schemas.types import Candle, StreamKey, candles_from


def to_json_lines(event: Event) -> list[str]:
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


class TailScreen:
    """The terminal's view: a line per candle, and below them one line that is updated in place.

    health: of a stream now. many: of several streams each line begins with its name.
    """

    def __init__(self, health: Callable[[StreamKey], Health], *, many: bool = False) -> None:
        self._health = health
        self._many = many
        self._keys: dict[StreamKey, None] = {}
        self._latest = LatestCandles()
        self._announced: set[StreamKey] = set()

    def follow(self, key: StreamKey) -> None:
        """One more stream."""
        self._keys[key] = None

    def lines(self, event: Event, *, with_health: bool) -> list[Text]:
        self._latest.on_event(event)
        lines = self._lines(event, with_health=with_health)
        return [Text(f"{event.key}  ", style="bold").append_text(line) for line in lines] if self._many else lines

    def _lines(self, event: Event, *, with_health: bool) -> list[Text]:
        match event:
            case Candles(_, start, candles, is_backfill):
                return [
                    _candle_line(n, c, "fetched" if is_backfill else "")
                    for n, c in enumerate(candles_from(candles), start)
                ]
            case Revision(_, _, sequences, candles):
                return [
                    _candle_line(int(n), c, "revised") for n, c in zip(sequences, candles_from(candles), strict=True)
                ]
            case Gap(_, first, last, reason):
                return [Text(f"gap: {first} to {last} are missing: {reason}", style="red")]
            case StoreReplaced(_, _, reason):
                return [Text(f"starting over: {reason}", style="yellow")]
            case HealthChanged(_, health) if with_health:
                return [health_text(health)]
            case Forming(key, candle) if with_health and key not in self._announced:
                self._announced.add(key)
                if first_ms := self._latest[key].first_whole_ms(key.interval_ms):
                    return [_first_line(candle, first_ms)]
            case _:
                pass
        return []

    def status_line(self) -> Text:
        if self._many or not self._keys:
            return self._many_line()
        [key] = list(self._keys)
        line = health_text(self._health(key)).append(f"  {key}", style="bold")
        candle = self._latest[key].forming
        if candle is not None:
            line.append(f"  {_clock(candle.ts_ms)[11:]} forming: {candle.close}, {candle.volume:g} ticks", style="dim")
        if first_ms := self._latest[key].first_whole_ms(key.interval_ms):
            line.append(f"; first whole candle at {_clock(first_ms)[11:]} UTC", style="dim")
        return line

    def _many_line(self) -> Text:
        """Return the number of streams in each state, with the worst reason last."""
        healths = [self._health(key) for key in list(self._keys)]
        line = Text(f"{len(healths)} stream{'' if len(healths) == 1 else 's'}")
        for state in HealthState:
            count = sum(health.state is state for health in healths)
            if count:
                line.append("  ● ", style=HEALTH_STYLES[state]).append(f"{count} {state.value}")
        reasons = [health.reason for health in healths if health.state is HealthState.DISCONNECTED and health.reason]
        return line.append(f"  ({reasons[0]})", style="dim") if reasons else line


def health_text(health: Health) -> Text:
    text = health_dot(health).append(health.label)
    return text.append(f" ({health.reason})", style="dim") if health.reason else text


def _first_line(forming: Candle, first_whole_ms: int) -> Text:
    begin, end = _clock(forming.ts_ms), _clock(first_whole_ms)[11:]
    text = f"{begin}  forming: {forming.close}, {forming.volume:g} ticks; the first whole candle ends at {end} UTC"
    return Text(text, style="dim")


def _candle_line(sequence: int, candle: Candle, origin: str) -> Text:
    line = Text(f"{_clock(candle.ts_ms)}  #{sequence:<8} ").append(_prices(candle), style=price_style(candle))
    notes = [*flag_words(candle.flags), *([origin] if origin else [])]
    return line.append(f"  {', '.join(notes)}", style="dim") if notes else line


def _prices(candle: Candle) -> str:
    return f"O {candle.open}  H {candle.high}  L {candle.low}  C {candle.close}  {candle.volume:g} ticks"


def _clock(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
