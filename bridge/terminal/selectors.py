"""Parses stream selectors as typed: one stream by its parts, many by patterns with ``*``. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import StreamKey, interval_ms

DEFAULT_INTERVAL = "1m"
WILDCARD = "*"


class StreamSelector(msgspec.Struct, frozen=True):
    """Source, symbol and interval, in each of which ``*`` stands for anything."""

    source: str
    symbol: str
    interval: str = DEFAULT_INTERVAL

    @property
    def key(self) -> StreamKey | None:
        """The one stream that is wanted, or None for a pattern."""
        parts = (self.source, self.symbol, self.interval)
        return None if any(WILDCARD in part for part in parts) else StreamKey(*parts)

    def matches(self, key: StreamKey) -> bool:
        return (
            _matches(self.source, key.source_id)
            and _matches(self.symbol, key.symbol)
            and _matches(self.interval, key.interval)
        )

    def __str__(self) -> str:
        return f"{self.source}/{self.symbol}/{self.interval}"


def parse_selectors(texts: Sequence[str]) -> list[StreamSelector]:
    """``["SIM", "EURUSD", "1m"]`` is one stream; ``["SIM/EURUSD", "DESK2/*", "*/*/1h"]`` are three wishes.

    The interval is 1m where it is left out. Raises ConfigError.
    """
    if not texts:
        raise ConfigError("Name a stream: SOURCE SYMBOL [INTERVAL], or SOURCE/SYMBOL; * matches any.")
    if "/" not in texts[0]:
        if not 2 <= len(texts) <= 3:
            raise ConfigError(f"{' '.join(texts)!r} is no stream; write SOURCE SYMBOL [INTERVAL], or SOURCE/SYMBOL.")
        return [_checked(*texts)]
    return [_checked(*_parts(text)) for text in texts]


def _parts(text: str) -> tuple[str, ...]:
    """A symbol may hold slashes; what comes last is an interval if it can be one."""
    source, _, rest = text.partition("/")
    symbol, slash, last = rest.rpartition("/")
    return (source, symbol, last) if slash and _is_interval(last) else (source, rest)


def _is_interval(text: str) -> bool:
    try:
        interval_ms(text)
    except ConfigError:
        return WILDCARD in text
    return True


def _checked(source: str, symbol: str, interval: str = DEFAULT_INTERVAL) -> StreamSelector:
    if not source or not symbol:
        raise ConfigError(f"{source}/{symbol} names no stream; write SOURCE/SYMBOL, with * for any.")
    if WILDCARD not in interval:
        interval_ms(interval)
    return StreamSelector(source, symbol, interval)


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split(WILDCARD))), text, re.DOTALL) is not None
