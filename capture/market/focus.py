"""Chooses the assets that become candles, and resolves the names people type. Pure.

Modes: ``lock`` (the named assets), ``follow`` (the asset the trader's page shows), ``all`` (whatever ticks).

Names: canonical is the platform's symbol with its case (``EURUSD_otc``); people type ``EURUSD_OTC``, ``EUR/USD OTC``,
``eurusd otc``. Separators are dropped, a trailing OTC is split off, and the rest is looked up by symbol and by name. An
OTC asset and its ordinary twin are different assets.
"""

from __future__ import annotations

import contextlib
import difflib
import enum
import re
from collections.abc import Iterable, Sequence

import msgspec

from fluxcap.capture.market.feed_state import SymbolFeed
from fluxcap.capture.platforms.base import ActiveAsset, Asset
from fluxcap.schemas.errors import UnknownAsset

_SEPARATORS = re.compile(r"[/_\-#\s.&']+")


class FocusMode(enum.StrEnum):
    LOCK = "lock"
    FOLLOW = "follow"
    ALL = "all"


_LOCK, _ALL = FocusMode.LOCK, FocusMode.ALL
"""Python 3.11 takes 0.1 µs to find a member of an enum: too long to do it for every tick."""


class Focus(msgspec.Struct, frozen=True):
    """The mode and, for ``lock``, its symbols."""

    mode: FocusMode = FocusMode.FOLLOW
    symbols: tuple[str, ...] = ()

    def includes(self, symbol: str, active: str | None) -> bool:
        """Return whether an asset becomes candles while the page shows ``active``."""
        if self.mode is _LOCK:
            return symbol in self.symbols
        return self.mode is _ALL or symbol == active

    def requested_symbols(self, active: str | None) -> tuple[str, ...]:
        """The assets that are to have a stream even before they tick."""
        if self.mode is FocusMode.LOCK:
            return self.symbols
        return (active,) if self.mode is FocusMode.FOLLOW and active else ()


def canonical_key(name: str) -> tuple[str, bool]:
    """Return the key two spellings of one asset share: letters and digits in upper case, and whether it is OTC."""
    bare = _SEPARATORS.sub("", name).upper()
    is_otc = bare.endswith("OTC") and bare != "OTC"
    return (bare[:-3] if is_otc else bare, is_otc)


class AssetNames:
    """Looks assets up by what people type.

    The platform tells its table only when a page loads. Attached later, names are learned from what ticks, and one that
    nothing fits is let stand as typed: it may be learned yet.
    """

    def __init__(self, assets: Iterable[Asset] = ()) -> None:
        self._assets: dict[str, Asset] = {}
        self._by_key: dict[tuple[str, bool], str] = {}
        self._has_table = False
        self.replace(assets)

    def __len__(self) -> int:
        return len(self._assets)

    @property
    def assets(self) -> Sequence[Asset]:
        """The platform's table, empty until it was told."""
        return tuple(self._assets.values())

    def get(self, symbol: str) -> Asset | None:
        """The asset of exactly that symbol."""
        return self._assets.get(symbol)

    @property
    def has_catalogue(self) -> bool:
        """Return whether the platform told its assets: before that nothing can be refused."""
        return self._has_table

    def replace(self, assets: Iterable[Asset]) -> None:
        """Take a new asset table. Symbols win over names where both read alike."""
        learned = {key: symbol for key, symbol in self._by_key.items() if symbol not in self._assets}
        self._assets = {asset.symbol: asset for asset in assets}
        self._has_table = bool(self._assets)
        by_name = {canonical_key(asset.name): asset.symbol for asset in self._assets.values()}
        self._by_key = learned | by_name | {canonical_key(symbol): symbol for symbol in self._assets}

    def add_observed(self, symbol: str) -> bool:
        """An asset ticks. True when its name was not known."""
        key = canonical_key(symbol)
        if symbol in self._assets or self._by_key.get(key) == symbol:
            return False
        self._by_key.setdefault(key, symbol)
        return True

    def contains(self, symbol: str) -> bool:
        """Return whether it is in the table or was learned from what ticks."""
        return symbol in self._assets or self._by_key.get(canonical_key(symbol)) == symbol

    def resolve(self, typed: str) -> str:
        """The symbol meant; before a table came, the name as typed. Raises UnknownAsset with the nearest symbols."""
        if typed in self._assets:
            return typed
        found = self._by_key.get(canonical_key(typed))
        if found is not None:
            return found
        if not self._has_table:
            return typed
        raise UnknownAsset(typed, self._nearest(typed))

    def _nearest(self, typed: str) -> tuple[str, ...]:
        bare, is_otc = canonical_key(typed)
        keys = {f"{key}{'OTC' if otc else ''}": symbol for (key, otc), symbol in self._by_key.items()}
        close = difflib.get_close_matches(bare + ("OTC" if is_otc else ""), keys, n=8, cutoff=0.6)
        return tuple(dict.fromkeys(keys[key] for key in close))[:3]


_ALL = FocusMode.ALL
"""Python 3.11 takes 0.1 µs to find a member of an enum: too long to do it for every tick."""


class FocusState:
    """Answers whether an asset becomes candles now."""

    def __init__(self, focus: Focus) -> None:
        self.focus = focus
        self.names = AssetNames()
        self.active: ActiveAsset | None = None
        """The asset the page shows, once a frame named it."""
        self.page_label_symbol: str | None = None
        """What a page was seen to show, when it had to be asked."""
        self.sole_active: str | None = None
        """The one asset that ticks, if there is but one: after a late attach no frame tells the active asset."""
        self.unknown: tuple[str, ...] = ()
        """Locked names that fit no asset of the platform's table: accepted before it came."""

    @property
    def active_symbol(self) -> str | None:
        """The asset the page shows, as far as it is known."""
        return self.active.symbol if self.active is not None else self.page_label_symbol or self.sole_active

    def includes(self, symbol: str) -> bool:
        """Return whether an asset becomes candles."""
        focus = self.focus
        return focus.mode is _ALL or focus.includes(symbol, self.active_symbol)

    def focused(self, feeds: Iterable[SymbolFeed]) -> tuple[str, ...]:
        """The assets that have, or are to have, a stream now. ``feeds``: all assets."""
        if self.focus.mode is _ALL:
            return tuple(feed.symbol for feed in feeds if feed.sockets)
        return self.focus.requested_symbols(self.active_symbol)

    def set(self, focus: Focus) -> Focus:
        """Take a focus, its names as people type them. Raises UnknownAsset; then nothing has changed.

        A name that was accepted before the table came, and turned out to be unknown, is no reason to refuse the others.
        """
        symbols = tuple(dict.fromkeys(self._understood(name) for name in focus.symbols))
        self.unknown = tuple(symbol for symbol in symbols if symbol in self.unknown)
        self.focus = msgspec.structs.replace(focus, symbols=symbols)
        return self.focus

    @property
    def unverified(self) -> tuple[str, ...]:
        """Locked names of which nothing can be said yet: the platform has not told its assets, and they do not tick."""
        if self.focus.mode is not FocusMode.LOCK or self.names.has_catalogue:
            return ()
        return tuple(symbol for symbol in self.focus.symbols if not self.names.contains(symbol))

    def set_catalogue(self, assets: tuple[Asset, ...]) -> None:
        """The platform told its assets."""
        self.names.replace(assets)
        self._resolve()

    def add_observed(self, symbol: str) -> None:
        """An asset was seen for the first time."""
        if self.names.add_observed(symbol):
            self._resolve()

    def set_active(self, active: ActiveAsset) -> None:
        """The page shows an asset. A period that is not told stays as it was."""
        period_ms = active.period_ms or (self.active.period_ms if self.active else 0)
        self.active = ActiveAsset(active.symbol, period_ms)

    def set_page_label(self, label: str) -> None:
        """A page was asked and shows this label. A name that cannot be told yet says nothing."""
        with contextlib.suppress(UnknownAsset):
            symbol = self.names.resolve(label)
            self.page_label_symbol = symbol if self.names.contains(symbol) else None

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
