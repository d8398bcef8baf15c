"""Colours and words of health and candles that every terminal screen shares. Pure."""

from __future__ import annotations

from rich.text import Text

from fluxcap.bridge.client.health import Health, HealthState
from fluxcap.schemas.types import Candle, CandleFlags

HEALTH_STYLES: dict[HealthState, str] = {
    HealthState.DISCONNECTED: "red",
    HealthState.CONNECTING: "yellow",
    HealthState.SUBSCRIBED: "cyan",
    HealthState.RECEIVING: "green",
    HealthState.STALLED: "yellow",
}


def health_dot(health: Health) -> Text:
    """The coloured dot of a state, with a space behind it."""
    return Text("● ", style=HEALTH_STYLES[health.state])


def price_style(candle: Candle) -> str:
    """Green for a rising candle, red for a falling one."""
    return "green" if candle.close > candle.open else "red" if candle.close < candle.open else ""


def flag_names(flags: int) -> list[str]:
    """``5`` → ``["JOINED_LATE", "FILLED"]``."""
    return [flag.name for flag in CandleFlags if flag & flags and flag.name is not None]


def flag_words(flags: int) -> list[str]:
    """``5`` → ``["joined late", "filled"]``."""
    return [name.lower().replace("_", " ") for name in flag_names(flags)]
