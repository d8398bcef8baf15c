"""Payloads of the Socket.IO API, as today's chart programs read them. Pure.

Versions of those programs read a candle either flat or under ``candle``: a ``candle_update`` has both. ``timestamp`` of
a candle is whole seconds UTC, its start; ``timestamp`` of any other message is the time of sending in ISO 8601.

Those programs compare names exactly: ``asset`` is the name as the client typed it, ``symbol`` beside it the platform's.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from fluxcap.schemas.types import Candle, interval_ms


def iso(ts_ms: int) -> str:
    """``2026-11-21T23:54:00+00:00``; with milliseconds where there are any."""
    return datetime.fromtimestamp(ts_ms / 1_000, UTC).isoformat(timespec="milliseconds" if ts_ms % 1_000 else "seconds")


def candle_fields(symbol: str, candle: Candle, asset: str = "") -> dict[str, Any]:
    """One candle. ``asset``: the symbol as the client typed it."""
    return {
        "asset": asset or symbol,
        "symbol": symbol,
        "timestamp": candle.ts_ms // 1_000,
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
        "date": iso(candle.ts_ms),
    }


def candle_update(symbol: str, candle: Candle, asset: str = "") -> dict[str, Any]:
    """``candle_update``: flat and nested."""
    fields = candle_fields(symbol, candle, asset)
    return {**fields, "candle": fields}


def historical_candles(
    symbol: str, candles: Iterable[Candle], source: str, now_ms: int, asset: str = ""
) -> dict[str, Any]:
    """``historical_candles_loaded``; ``source``: store, platform, both, or none."""
    rows = [candle_fields(symbol, candle, asset) for candle in candles]
    return {
        "asset": asset or symbol,
        "symbol": symbol,
        "candles": rows,
        "count": len(rows),
        "source": source,
        "timestamp": iso(now_ms),
    }


def connection_status(is_attached: bool, now_ms: int) -> dict[str, Any]:
    """``connection_status``: that we are there, and whether Chrome is."""
    return {
        "status": "connected",
        "chrome": "connected" if is_attached else "disconnected",
        "timestamp": iso(now_ms),
    }


def backend_reconnected(is_attached: bool, now_ms: int) -> dict[str, Any]:
    """``backend_reconnected``: that a client found us again, and whether Chrome is there."""
    return {"timestamp": iso(now_ms), "chrome_status": "connected" if is_attached else "disconnected"}


def timestamped(now_ms: int, **fields: Any) -> dict[str, Any]:
    """Any other message."""
    return {**fields, "timestamp": iso(now_ms)}


def requested_asset(data: Any) -> str:
    """The asset a client named, or "" when it named none that could be one."""
    asset = data.get("asset") if isinstance(data, dict) else None
    return asset.strip() if isinstance(asset, str) and len(asset) <= 64 else ""


def names_no_asset(data: Any) -> bool:
    """Return whether a client left the asset to us: it sent nothing, ``{}``, or an empty name."""
    return data is None or (isinstance(data, dict) and data.get("asset") in (None, ""))


def is_other_timeframe(data: Any, interval: str) -> bool:
    """Return whether a client asked for another timeframe than the daemon's; ``1m``, ``M1`` and 60 are the same."""
    asked = data.get("timeframe") if isinstance(data, dict) else None
    if asked is None or asked == "":
        return False
    seconds = interval_ms(interval) // 1_000
    if isinstance(asked, int | float):
        return asked != seconds
    text = str(asked).strip().lower()
    flipped = f"{text[1:]}{text[:1]}" if text[:1].isalpha() else text
    return flipped != interval and text != str(seconds)
