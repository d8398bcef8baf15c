"""Alerts in words for people: a title, and what happened, what to do, what was filled. Pure.

Whatever comes from elsewhere (the page's names of assets, the system's errors) is reduced to harmless characters and
a bounded length: a chat program must find no mark-up, no link and no mention in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo

import msgspec

from fluxcap.capture.alerts.rules import Alert, AlertKind, Phase
from fluxcap.capture.platforms.symbols import encode_symbol
from fluxcap.schemas.types import CandleFlags, FeedState

NAMED_MAX = 8
"""Assets that an alert names."""
TEXT_MAX = 200
ASSET_MAX = 64
_HARMLESS = frozenset(" _-#+,;()'%~./:")
_LINK = re.compile(r"://|\bwww\.")
_NAME = re.compile(r"[A-Za-z0-9_#~-]+")


class Message(msgspec.Struct, frozen=True):
    """A message to be sent. ``is_good``: something is over."""

    title: str
    body: str
    is_good: bool = False


class Fill(msgspec.Struct, frozen=True):
    """The fate of the candles of an asset in a blind time, by number.

    ``whole``: all ticks were seen after all; ``filled``: made of the page's history; ``blind``: a part was not seen,
    and is flagged; ``missing``: no candle, for want of a trade or of sight; ``waiting``: not sealed yet.
    """

    whole: int = 0
    filled: int = 0
    blind: int = 0
    missing: int = 0
    waiting: int = 0


def fill_of(candles: Iterable[tuple[int, int]], latest_ts_ms: int, since_ms: int, until_ms: int, step_ms: int) -> Fill:
    """Say what became of the buckets that ``[since_ms, until_ms)`` touches.

    ``candles``: start (UTC ms) and flags of those that there are; ``latest_ts_ms``: start of the stream's newest one.
    """
    flags = dict(candles)
    counts = {"whole": 0, "filled": 0, "blind": 0, "missing": 0, "waiting": 0}
    for ts_ms in range(since_ms // step_ms * step_ms, max(until_ms, since_ms + 1), step_ms):
        flag = flags.get(ts_ms)
        if flag is None:
            counts["waiting" if ts_ms > latest_ts_ms else "missing"] += 1
        elif flag & CandleFlags.FILLED:
            counts["filled"] += 1
        else:
            counts["blind" if flag & CandleFlags.BLIND else "whole"] += 1
    return Fill(**counts)


def harmless(text: str) -> str:
    """Return the system's own text without what a chat program could take for mark-up, a link or a mention."""
    kept = "".join(sign if sign in _HARMLESS or (sign.isalnum() and sign.isprintable()) else " " for sign in text)
    short = " ".join(_LINK.sub(" ", kept).split())
    return f"{short[:TEXT_MAX]}…" if len(short) > TEXT_MAX else short


def asset_name(symbol: str) -> str:
    """Return a name that a page gave to an asset: letters, digits and four signs, anything else by its code."""
    name = symbol if _NAME.fullmatch(symbol) else encode_symbol(symbol)
    return f"{name[:ASSET_MAX]}…" if len(name) > ASSET_MAX else name


_BEGAN: Mapping[AlertKind, tuple[str, str]] = {
    AlertKind.CHROME: (
        "no connection to Chrome",
        "Nothing is captured. Start Chrome (`fluxcap chrome`), and log in; fluxcap attaches by itself.",
    ),
    AlertKind.CONSENT: (
        "Chrome waits for your consent",
        "Nothing is captured until you click Allow in Chrome's dialog; `fluxcap status` says what to do.",
    ),
    AlertKind.LOGGED_OUT: ("logged out", "The platform refused the page's session. Log in on the trading page."),
    AlertKind.CLOCK: (
        "the clock is in question",
        "This computer's clock and the platform's contradict each other. Set the clock; `fluxcap status` says more.",
    ),
    AlertKind.STORE: ("the store cannot be written", "Candles wait in memory, and nothing is published."),
    AlertKind.DISK: ("little disk space", "Free some space: on a full disk nothing is published."),
    AlertKind.DISAGREES: (
        "candles differ from the platform's own",
        "Ours stand. `fluxcap verify` lists those that differ, with both.",
    ),
    AlertKind.CSV: (
        "CSV lines are lost",
        "The disk cannot be written, or is too slow. `fluxcap export` has the candles; the ticks are lost.",
    ),
    AlertKind.CRASH: (
        "running again after a crash",
        "It was killed, crashed, or the computer went down. The log of the earlier run may say more.",
    ),
}
_ENDED: Mapping[AlertKind, str] = {
    AlertKind.CHROME: "Chrome is connected again",
    AlertKind.CONSENT: "Chrome is connected",
    AlertKind.LOGGED_OUT: "logged in again",
    AlertKind.CLOCK: "the clock is right again",
    AlertKind.STORE: "the store can be written again",
    AlertKind.DISK: "enough disk space again",
    AlertKind.DISAGREES: "candles agree again",
    AlertKind.CSV: "no more CSV lines are lost",
    AlertKind.FEED: "ticks come again",
}
_FEEDS: Mapping[FeedState, tuple[str, str]] = {
    FeedState.NO_SOCKET: ("no trading page talks", "Open or reload the trading page, and log in."),
    FeedState.STALLED: ("the page has gone silent", "Reload the trading page."),
    FeedState.UNSUBSCRIBED: ("the page shows other assets", "Turn the page to it, or change the focus."),
    FeedState.UNSYNCHRONISED: ("the platform's time is not known", "Choose an asset whose price moves; set the clock."),
}


def message(alert: Alert, fills: Mapping[str, Fill], zone: tzinfo | None, source: str, now_ms: int) -> Message:
    """Put an alert into words.

    ``fills``: by asset, for what is over. ``zone``: of the times told, None for this computer's own. ``source``: the
    name of this machine's candles. ``now_ms``: the time (UTC) at which it is told.
    """
    over = alert.phase in (Phase.ENDED, Phase.PAST)
    what, then = _what(alert)
    since, until = _time(alert.since_ms, zone), _time(alert.until_ms or now_ms, zone)
    if alert.phase is Phase.ENDED and alert.is_dropped:
        title, lines = f"{what}: over", [f"From {since} to {until}. It is not captured any more."]
    elif alert.phase is Phase.ENDED:
        title, lines = (
            _named(_ENDED.get(alert.kind, f"{what}: over"), alert),
            [f"{_sentence(what)}, from {since} to {until}."],
        )
    elif alert.phase is Phase.PAST:
        title, lines = f"{what}, over", [f"From {since} to {until}, in your quiet hours. It is over."]
    elif alert.phase is Phase.HAPPENED:
        lines = [f"Running since {since}. {then}"]
        title = what
    else:
        title, lines = what, [f"Since {since}. {then}"]
    if alert.count > (alert.kind is AlertKind.CRASH):
        lines.append(_count(alert))
    if alert.reason and not over and alert.kind is not AlertKind.FEED:
        lines.append(f"Reason: {harmless(alert.reason)}")
    lines += [f"{asset_name(asset)}: {_fill(fill)}" for asset, fill in list(fills.items())[:NAMED_MAX]]
    return Message(f"fluxcap {harmless(source)}: {title}", "\n".join(lines), over)


def _what(alert: Alert) -> tuple[str, str]:
    if alert.kind is not AlertKind.FEED:
        return _BEGAN[alert.kind]
    what, then = _FEEDS.get(alert.state, ("the feed is blind", "See `fluxcap status`."))
    reason = f" ({harmless(alert.reason)})" if alert.reason and alert.state is not FeedState.UNSUBSCRIBED else ""
    return _named(f"{what}{reason}", alert), then


def _named(text: str, alert: Alert) -> str:
    return f"{_list(alert.assets)}: {text}" if alert.assets else text


def _list(assets: Sequence[str]) -> str:
    more = len(assets) - NAMED_MAX
    return ", ".join(map(asset_name, assets[:NAMED_MAX])) + (f" and {more} more" if more > 0 else "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _count(alert: Alert) -> str:
    number = f"{alert.count:,}".replace(",", " ")
    if alert.kind is AlertKind.CSV:
        return f"Lines lost: {number}."
    if alert.kind is AlertKind.DISAGREES:
        return f"Candles that differ: {number}."
    return f"Crashes since this was last told: {number}."


def _fill(fill: Fill) -> str:
    told = [
        (fill.filled, "filled from the page's history"),
        (fill.whole, "whole after all"),
        (fill.blind, "flagged BLIND"),
        (fill.missing, "without a candle"),
        (fill.waiting, "not sealed yet"),
    ]
    return ", ".join(f"{number} {words}" for number, words in told if number)


def _time(ts_ms: int, zone: tzinfo | None) -> str:
    return datetime.fromtimestamp(ts_ms / 1_000, zone).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z").strip()
