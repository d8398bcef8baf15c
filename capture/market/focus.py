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
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

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
        """The platform's table, empty until it arrives."""
        return tuple(self._assets.values())

    def get(self, symbol: str) -> Asset | None:
        """The asset of exactly that symbol."""
        return self._assets.get(symbol)

    @property
    def has_catalogue(self) -> bool:
        """Return whether the platform sent its assets: before that nothing can be refused."""
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


class FocusSnapshot(msgspec.Struct, frozen=True):
    """The focus as it is now.

    Attributes
    ----------
    mode
        Of the focus in force: what the user set together with all leases.
    symbols
        The assets that have, or are to have, a stream.
    unverified
        Locked names of which nothing can be said yet.
    unknown
        Locked names that fit no asset of the platform.
    active
        What the page shows, once a frame named it.
    """

    mode: FocusMode
    symbols: tuple[str, ...]
    unverified: tuple[str, ...]
    unknown: tuple[str, ...]
    active: ActiveAsset | None


class FocusLease(msgspec.Struct, frozen=True):
    """An asset that a client looks at; ``until_ms`` (monotonic): when the lease ends by itself, None for never."""

    symbol: str
    until_ms: int | None


class FocusState:
    """Answers whether an asset becomes candles now: by what the user set, what clients lease, and what the page shows.

    The daemon has one focus; several charts may each want an asset of their own. Each takes a lease, and the focus in
    force is the user's together with all leases:

    - the user locked assets: those and the leased ones are locked,
    - the user follows the page: the leased ones are locked, and when the last lease ends the page is followed again,
    - the user takes all: all.

    So whoever comes or goes takes nothing from anybody else; nor does one who named an asset, before the platform sent
    its assets, that there is not: that lease ends with the next change.

    Names are resolved here, when they are given, and by one rule: what the platform's table or a tick tells. Before the
    table came a name that nothing tells yet is taken as typed and resolved as soon as its asset is known; after it,
    such a name is refused, unless it is locked already.
    """

    def __init__(self, focus: Focus) -> None:
        self.focus = focus
        """In force: the user's, with all leases."""
        self.names = AssetNames()
        self.active: ActiveAsset | None = None
        """The asset the page shows, once a frame named it."""
        self.page_label_symbol: str | None = None
        """What a page was seen to show, when it had to be asked."""
        self.sole_active: str | None = None
        """The one asset that ticks, if there is but one: after a late attach no frame tells the active asset."""
        self._user_focus = focus
        self._leases: dict[str, FocusLease] = {}

    @property
    def active_symbol(self) -> str | None:
        """The asset the page shows, as far as it is known."""
        return self.active.symbol if self.active is not None else self.page_label_symbol or self.sole_active

    def includes(self, symbol: str) -> bool:
        """Return whether an asset becomes candles."""
        focus = self.focus
        return focus.mode is _ALL or focus.includes(symbol, self.active_symbol)

    @property
    def leased(self) -> tuple[str, ...]:
        """The leased assets, each once."""
        return tuple(dict.fromkeys(lease.symbol for lease in self._leases.values()))

    @property
    def unknown(self) -> tuple[str, ...]:
        """Locked names that fit no asset of the platform's table: accepted before it came."""
        return tuple(symbol for symbol in self.focus.symbols if not self._is_possible(symbol))

    @property
    def unverified(self) -> tuple[str, ...]:
        """Locked names of which nothing can be said yet: the platform has not sent its assets, and they do not tick."""
        if self.focus.mode is not _LOCK or self.names.has_catalogue:
            return ()
        return tuple(symbol for symbol in self.focus.symbols if not self.names.contains(symbol))

    def focused(self, symbols: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """The assets that have, or are to have, a stream now. ``symbols``: tells which there are when all do."""
        return symbols() if self.focus.mode is _ALL else self.focus.requested_symbols(self.active_symbol)

    def snapshot(self, symbols: tuple[str, ...]) -> FocusSnapshot:
        """The focus as it is now; ``symbols``: as ``focused`` tells them."""
        return FocusSnapshot(self.focus.mode, symbols, self.unverified, self.unknown, self.active)

    # --- who sets it ------------------------------------------------------------------------------------------------

    def set_user_focus(self, focus: Focus) -> bool:
        """Take what the user set. Returns whether the focus in force changed.

        Raises UnknownAsset; then nothing has changed.
        """
        symbols = tuple(dict.fromkeys(self._resolve(name) for name in focus.symbols))
        return self._apply(msgspec.structs.replace(focus, symbols=symbols), self._leases)

    def acquire(self, holder: str, asset: str, until_ms: int | None = None) -> tuple[str, bool]:
        """Let ``holder`` look at an asset from now on, in place of the one it had.

        Parameters
        ----------
        holder
            Who looks; has one lease at a time.
        asset
            As people type it.
        until_ms
            When the lease ends by itself unless it is taken again, monotonic milliseconds; None for never.

        Returns the asset's symbol, and whether the focus in force changed. Raises UnknownAsset; then nothing has
        changed.
        """
        symbol = self.names.resolve(asset)
        return symbol, self._apply(self._user_focus, {**self._leases, holder: FocusLease(symbol, until_ms)})

    def release(self, holder: str) -> bool:
        """End the lease of ``holder``, if it has one. Returns whether the focus in force changed."""
        return holder in self._leases and self._without({holder})

    def expire(self, now_ms: int) -> bool:
        """End the leases whose time is over. Returns whether the focus in force changed."""
        over = {n for n, lease in self._leases.items() if lease.until_ms is not None and lease.until_ms <= now_ms}
        return bool(over) and self._without(over)

    # --- what is seen -----------------------------------------------------------------------------------------------

    def set_catalogue(self, assets: tuple[Asset, ...]) -> None:
        """Take the platform's table of assets."""
        self.names.replace(assets)
        self._resolve_again()

    def add_observed(self, symbol: str) -> None:
        """Take note of an asset that is seen for the first time."""
        if self.names.add_observed(symbol):
            self._resolve_again()

    def set_active(self, active: ActiveAsset) -> None:
        """Take the asset that the page shows. A period of 0 stays as it was."""
        period_ms = active.period_ms or (self.active.period_ms if self.active else 0)
        self.active = ActiveAsset(active.symbol, period_ms)

    def set_page_label(self, label: str) -> None:
        """Take the label that a page was seen to show. A name that cannot be resolved yet says nothing."""
        with contextlib.suppress(UnknownAsset):
            symbol = self.names.resolve(label)
            self.page_label_symbol = symbol if self.names.contains(symbol) else None

    # --- within -----------------------------------------------------------------------------------------------------

    def _without(self, holders: set[str]) -> bool:
        return self._apply(
            self._user_focus, {name: lease for name, lease in self._leases.items() if name not in holders}
        )

    def _apply(self, user_focus: Focus, leases: Mapping[str, FocusLease]) -> bool:
        """The one place where the focus changes. Returns whether the one in force did."""
        self._user_focus = user_focus
        self._leases = {holder: lease for holder, lease in leases.items() if self._is_possible(lease.symbol)}
        before, self.focus = self.focus, self._combined()
        return self.focus != before

    def _combined(self) -> Focus:
        user = self._user_focus
        if not self._leases or user.mode is FocusMode.ALL:
            return user
        own = user.symbols if user.mode is FocusMode.LOCK else ()
        return Focus(FocusMode.LOCK, tuple(dict.fromkeys((*own, *self.leased))))

    def _resolve(self, name: str) -> str:
        try:
            return self.names.resolve(name)
        except UnknownAsset:
            if name in self.unknown:
                return name
            raise

    def _resolve_again(self) -> None:
        """More is known of the assets: understand the names that were taken as typed."""
        user = self._user_focus
        symbols = tuple(dict.fromkeys(self._resolved_if_known(name) for name in user.symbols))
        self._user_focus = msgspec.structs.replace(user, symbols=symbols)
        self._leases = {
            holder: FocusLease(self._resolved_if_known(lease.symbol), lease.until_ms)
            for holder, lease in self._leases.items()
        }
        self.focus = self._combined()

    def _resolved_if_known(self, name: str) -> str:
        try:
            return self.names.resolve(name)
        except UnknownAsset:
            return name

    def _is_possible(self, name: str) -> bool:
        """Return whether it is an asset of the platform, or may turn out to be one."""
        try:
            self.names.resolve(name)
        except UnknownAsset:
            return False
        return True
