"""Keeps the prices of different kinds of account apart, one asset at a time. Pure.

A demo and a real account may show different prices of one asset, and two tabs may bring both. The kind that brought the
asset first counts, for as long as it brings it. Once it does not, another kind may follow, from the next bucket on: no
candle is made of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from fluxcap.capture.market.candles import bucket_start
from fluxcap.capture.market.feeds import SocketKey, SymbolFeed


class AccountTerm(msgspec.Struct, frozen=True):
    """The kind of account that an asset's prices are of, and since when (UTC ms; 0: as far as is known)."""

    kind: str
    from_ms: int


class Accounts:
    """``is_mixed``: whether sockets of more than one kind have been seen; before, nobody need ask.

    ``refused`` counts what was left out, by asset.
    """

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._kinds: dict[SocketKey, str] = {}
        self._first = ""
        self._terms: dict[str, AccountTerm] = {}
        self.is_mixed = False
        self.refused: Counter[str] = Counter()

    def opened(self, socket: SocketKey, kind: str, symbols: Iterable[str]) -> None:
        """A socket is of this kind; ``""`` where nobody knows. ``symbols``: the assets that are known already."""
        if not kind:
            return
        self._kinds[socket] = kind
        self._first = self._first or kind
        if kind != self._first and not self.is_mixed:
            self.is_mixed = True
            self._terms = {symbol: AccountTerm(self._first, 0) for symbol in symbols}

    def closed(self, socket: SocketKey) -> None:
        """The socket is gone."""
        self._kinds.pop(socket, None)

    def shift(self, by_ms: int) -> None:
        """The stamps had the wrong offset."""
        self._terms = {
            symbol: AccountTerm(term.kind, term.from_ms + by_ms if term.from_ms else 0)
            for symbol, term in self._terms.items()
        }

    def kind_of(self, symbol: str) -> str:
        """Return the kind of account that an asset's prices are of; ``""`` while there is one kind alone, or none."""
        term = self._terms.get(symbol)
        return term.kind if term is not None else ""

    def from_ms(self, socket: SocketKey, feed: SymbolFeed, ts_ms: int) -> int | None:
        """Return since when (UTC ms) what this socket tells of an asset counts, as of ``ts_ms``; None: it does not.

        A socket whose kind nobody knows always counts.
        """
        kind, symbol = self._kinds.get(socket, ""), feed.symbol
        if not kind:
            return 0
        term = self._terms.get(symbol)
        if term is None:
            term = self._terms[symbol] = AccountTerm(kind, 0)
        elif term.kind != kind:
            brought = not feed.stalled and any(self._kinds.get(other) == term.kind for other in feed.sockets)
            last_ms = feed.last_tick_ts_ms
            from_ms = bucket_start(last_ms, self._interval_ms) + self._interval_ms if last_ms else 0
            if brought or ts_ms < from_ms:
                self.refused[symbol] += 1
                return None
            term = self._terms[symbol] = AccountTerm(kind, from_ms)
        return term.from_ms if ts_ms >= term.from_ms else None

    def others(self, feed: SymbolFeed) -> list[SocketKey]:
        """Return the sockets that still carry an asset, but are of another kind than its prices are of now."""
        kind = self.kind_of(feed.symbol)
        return [socket for socket in feed.sockets if self._kinds.get(socket, kind) != kind]
