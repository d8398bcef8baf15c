"""TradingView's "Universal Data Feed": the answers that its UDF datafeed asks for. Pure, but for what is given to it.

Written from TradingView's public description of the protocol and from public datafeeds; it has not been tried with
TradingView's own library, which is not free and not part of this.

A symbol is called ``SOURCE:SYMBOL``; each interval that has a stream is a resolution: seconds ``15S``, minutes ``5``,
days ``1D``. Times are UNIX seconds, UTC.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from fluxcap.bridge.web.reader import CandleReader, CandleSlice
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import CandleArray, CandleFlags, Gap, StreamKey, StreamStatus, interval_ms

MOST_BARS = 10_000
MOST_FOUND = 100
MARKS_A_BAR = 10
"""The library shows so many of one bar."""
_FLAG_MARKS = (
    (CandleFlags.BLIND, "B", "yellow", "Part of this candle was not seen."),
    (CandleFlags.JOINED_LATE, "J", "yellow", "The feed began within this candle: its open is not known."),
    (CandleFlags.FILLED, "F", "blue", "Completed from the platform's own history."),
    (CandleFlags.REVISED, "R", "green", "Corrected after it was published."),
)
_RESOLUTION = re.compile(r"([1-9][0-9]{0,5})?([SDWM]?)")


def resolution_of(interval: str) -> str:
    """``1m`` → ``1``, ``4h`` → ``240``, ``15s`` → ``15S``, ``1d`` → ``1D``."""
    seconds = interval_ms(interval) // 1_000
    if seconds % 86_400 == 0:
        return f"{seconds // 86_400}D"
    return f"{seconds}S" if seconds % 60 else str(seconds // 60)


def resolution_ms(resolution: str) -> int:
    """Length of a resolution in milliseconds; months have none. Raises ConfigError."""
    match = _RESOLUTION.fullmatch(resolution)
    if match is None or not resolution or match[2] == "M":
        raise ConfigError(f"{resolution[:20]!r} is no resolution that there are candles of.")
    unit = {"S": 1_000, "": 60_000, "D": 86_400_000, "W": 604_800_000}[match[2]]
    return int(match[1] or 1) * unit


def config(streams: Iterable[StreamStatus]) -> dict[str, Any]:
    """Describe the datafeed."""
    streams = list(streams)
    sources = sorted({status.key.source_id for status in streams})
    return {
        "supported_resolutions": resolutions(status.key for status in streams) or ["1"],
        "exchanges": [{"value": "", "name": "All sources", "desc": ""}]
        + [{"value": name, "name": name, "desc": name} for name in sources],
        "symbols_types": [],
        "supports_search": True,
        "supports_group_request": False,
        "supports_marks": True,
        "supports_timescale_marks": False,
        "supports_time": True,
    }


def resolutions(keys: Iterable[StreamKey]) -> list[str]:
    """The resolutions of some streams, the shortest first, once each."""
    steps = {interval_ms(key.interval): resolution_of(key.interval) for key in keys}
    return [steps[step] for step in sorted(steps)]


def ticker(key: StreamKey) -> str:
    """``POCKETOPTION:EURUSD_otc``."""
    return f"{key.source_id}:{key.symbol}"


def symbol_streams(streams: Iterable[StreamStatus], symbol: str) -> list[StreamKey]:
    """The streams of a symbol, by ``SOURCE:SYMBOL`` or by the symbol alone, the shortest interval first.

    A symbol alone that several sources have means the first of them.
    """
    found = [s.key for s in streams if symbol in (ticker(s.key), s.key.symbol)]
    first = min((key.source_id for key in found), default="")
    return sorted((k for k in found if k.source_id == first), key=lambda k: interval_ms(k.interval))


def symbol_info(keys: Sequence[StreamKey], decimals: int) -> dict[str, Any]:
    """Describe a symbol. keys: its streams, at least one. decimals: digits behind the point of its prices."""
    key, names = keys[0], resolutions(keys)
    return {
        "name": key.symbol,
        "ticker": ticker(key),
        "full_name": ticker(key),
        "description": key.symbol,
        "type": "",
        "session": "24x7",
        "timezone": "Etc/UTC",
        "exchange": key.source_id,
        "listed_exchange": key.source_id,
        "exchange-traded": key.source_id,
        "exchange-listed": key.source_id,
        "minmov": 1,
        "minmovement": 1,
        "minmov2": 0,
        "pricescale": 10**decimals,
        "has_intraday": any(not name.endswith("D") for name in names),
        "has_seconds": any(name.endswith("S") for name in names),
        "has_daily": any(name.endswith("D") for name in names),
        "has_weekly_and_monthly": False,
        "supported_resolutions": names,
        "intraday_multipliers": [name for name in names if name.isdigit()],
        "seconds_multipliers": [name[:-1] for name in names if name.endswith("S")],
        "daily_multipliers": [name[:-1] for name in names if name.endswith("D")],
        "visible_plots_set": "ohlcv",
        "data_status": "streaming",
    }


def search(streams: Iterable[StreamStatus], query: str, exchange: str, limit: int) -> list[dict[str, Any]]:
    """The symbols in whose name a text is found, those that begin with it first."""
    wanted = query.upper().replace(" ", "")
    tickers = {ticker(s.key): s.key for s in streams if exchange in ("", s.key.source_id)}
    found = [(name.upper().find(wanted) if wanted else 0, name, key) for name, key in tickers.items()]
    # Of ``SOURCE:SYMBOL`` the symbol is what people type.
    ranked = sorted((key.symbol.upper().find(wanted) != 0, name) for at, name, key in found if at >= 0)
    return [
        {
            "symbol": tickers[name].symbol,
            "ticker": name,
            "full_name": name,
            "description": tickers[name].symbol,
            "exchange": tickers[name].source_id,
            "type": "",
        }
        for _, name in ranked[: min(max(limit, 0), MOST_FOUND)]
    ]


def stream_of(keys: Iterable[StreamKey], resolution: str) -> StreamKey:
    """The stream of a resolution. Raises ConfigError."""
    wanted = resolution_ms(resolution)
    for key in keys:
        if interval_ms(key.interval) == wanted:
            return key
    raise ConfigError(f"There are no candles of resolution {resolution[:20]}.")


def history(reader: CandleReader, key: StreamKey, from_s: int, to_s: int, countback: int | None) -> dict[str, Any]:
    """The bars that begin in ``[from_s, to_s)``; with ``countback`` the newest so many before ``to_s``.

    Without any, ``no_data`` with the time of the bar before, if there is one.
    """
    if countback:
        found = reader.newest(key, to_s * 1_000, min(countback, MOST_BARS))
    else:
        found = reader.newest(key, to_s * 1_000, MOST_BARS, from_s * 1_000)
    if len(found.candles):
        return _table(found)
    before = reader.newest(key, from_s * 1_000, 1).candles
    return {"s": "no_data"} | ({"nextTime": int(before["ts_ms"][-1]) // 1_000} if len(before) else {})


def _table(found: CandleSlice) -> dict[str, Any]:
    candles = found.candles
    return {
        "s": "ok",
        "t": (candles["ts_ms"] // 1_000).tolist(),
        **{name[0]: candles[name].tolist() for name in ("open", "high", "low", "close", "volume")},
    }


def marks(candles: CandleArray, gaps: Iterable[Gap]) -> dict[str, list[Any]]:
    """Marks of flagged candles, and of blind times at the candle that each begins with. Their times are those of bars.

    candles: those of the time that is shown.
    """
    rows: list[tuple[int, str, str, str]] = []
    for ts_ms, flags in zip(candles["ts_ms"].tolist(), candles["flags"].tolist(), strict=True):
        rows += [(ts_ms, letter, colour, text) for flag, letter, colour, text in _FLAG_MARKS if flags & flag]
    times = candles["ts_ms"].tolist()
    for gap in gaps:
        at = _bar_of(times, gap.from_ms)
        if at is not None:
            lasted = "until now" if not gap.to_ms else f"for {max(1, (gap.to_ms - gap.from_ms) // 1_000):,} s"
            rows.append((at, "G", "red", f"Not seen {lasted}: {gap.reason or 'reason not known'}."))
    rows.sort()
    kept: list[tuple[int, str, str, str]] = []
    for row in rows:
        if sum(1 for other in kept[-MARKS_A_BAR:] if other[0] == row[0]) < MARKS_A_BAR:
            kept.append(row)
    return {
        "id": [f"{ts_ms}{letter}{number}" for number, (ts_ms, letter, _, _) in enumerate(kept)],
        "time": [ts_ms // 1_000 for ts_ms, *_ in kept],
        "color": [colour for _, _, colour, _ in kept],
        "text": [text for *_, text in kept],
        "label": [letter for _, letter, _, _ in kept],
        "labelFontColor": ["white"] * len(kept),
        "minSize": [14] * len(kept),
    }


def _bar_of(times: Sequence[int], from_ms: int) -> int | None:
    """The bar in which a time lies, or else the last one before it, or the first one after it."""
    place = bisect_right(times, from_ms)
    return times[max(place - 1, 0)] if times else None
