"""What the focus means at present: the mode, the assets known, and what the page shows. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec

from capture.feed import SymbolFeed
from capture.focus import AssetNames, Focus, FocusMode
from capture.platforms.base import ActiveAsset, Asset
from schemas.errors import UnknownAsset

_ALL = FocusMode.ALL
"""Python 3.11 takes 0.1 µs to find a member of an enum: too long to do it for every tick."""


class FocusDesk:
    """Answers whether an asset becomes candles now."""

    def __init__(self, focus: Focus) -> None:
        self.focus = focus
        self.names = AssetNames()
        self.active: ActiveAsset | None = None
        """What the page shows, once a frame told it."""
        self.seen: str | None = None
        """What a page was seen to show, when it had to be asked."""
        self.only_ticking: str | None = None
        """The one asset that ticks, if there is but one: after a late attach no frame tells the active asset."""
        self.unknown: tuple[str, ...] = ()
        """Locked names that fit no asset of the platform's table: accepted before it came."""

    @property
    def active_symbol(self) -> str | None:
        """The asset the page shows, as far as it is known."""
        return self.active.symbol if self.active is not None else self.seen or self.only_ticking

    def takes(self, symbol: str) -> bool:
        """Whether an asset becomes candles."""
        focus = self.focus
        return focus.mode is _ALL or focus.takes(symbol, self.active_symbol)

    def focused(self, feeds: Iterable[SymbolFeed]) -> tuple[str, ...]:
        """The assets that have, or are to have, a stream now. ``feeds``: all assets."""
        if self.focus.mode is _ALL:
            return tuple(feed.symbol for feed in feeds if feed.carriers)
        return self.focus.wanted(self.active_symbol)

    def set(self, focus: Focus) -> Focus:
        """Take a focus, its names as people type them. Raises UnknownAsset; then nothing has changed.

        A name that was accepted before the table came, and turned out to be unknown, is no reason to refuse the others.
        """
        symbols = tuple(dict.fromkeys(self._understood(name) for name in focus.symbols))
        self.unknown = tuple(symbol for symbol in symbols if symbol in self.unknown)
        self.focus = msgspec.structs.replace(focus, symbols=symbols)
        return self.focus

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Locked names of which nothing can be said yet: the platform has not told its assets, and they do not tick."""
        if self.focus.mode is not FocusMode.LOCK or self.names.has_table:
            return ()
        return tuple(symbol for symbol in self.focus.symbols if not self.names.knows(symbol))

    def learn_table(self, assets: tuple[Asset, ...]) -> None:
        """The platform told its assets."""
        self.names.replace(assets)
        self._resolve()

    def learn(self, symbol: str) -> None:
        """An asset was seen for the first time."""
        if self.names.learn(symbol):
            self._resolve()

    def turn_to(self, active: ActiveAsset) -> None:
        """The page shows an asset. A period that is not told stays as it was."""
        period_ms = active.period_ms or (self.active.period_ms if self.active else 0)
        self.active = ActiveAsset(active.symbol, period_ms)

    def see(self, label: str) -> None:
        """A page was asked and shows this label. A name that cannot be told yet says nothing."""
        with contextlib.suppress(UnknownAsset):
            symbol = self.names.resolve(label)
            self.seen = symbol if self.names.knows(symbol) else None

    def _understood(self, name: str) -> str:
        try:
            return self.names.resolve(name)
        except UnknownAsset:
            if name in self.unknown:
                return name
            raise

    def _resolve(self) -> None:
        """Understand the locked names as soon as the assets they mean are known."""
        if self.focus.mode is not FocusMode.LOCK:
            return
        resolved, unknown = [], []
        for name in self.focus.symbols:
            try:
                resolved.append(self.names.resolve(name))
            except UnknownAsset:
                resolved.append(name)
                unknown.append(name)
        self.focus = msgspec.structs.replace(self.focus, symbols=tuple(dict.fromkeys(resolved)))
        self.unknown = tuple(unknown)
