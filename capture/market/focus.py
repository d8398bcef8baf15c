"""Chooses the assets that become candles, and resolves the names people type. Pure.

Modes: ``lock`` (the named assets), ``follow`` (the asset the trader's page shows, and those that it showed before as
long as it sends them), ``all`` (whatever ticks). What clients look at is added in every mode.

Names: canonical is the platform's symbol with its case (``EURUSD_otc``); people type ``EURUSD_OTC``, ``EUR/USD OTC``,
``eurusd otc``. Separators are dropped, a trailing OTC is split off, and the rest is looked up by symbol and by name. An
OTC asset and its ordinary twin are different assets.
"""

from __future__ import annotations

import contextlib
import difflib
import enum
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from fluxcap.capture.platforms.base import ActiveAsset, Asset
from fluxcap.capture.platforms.symbols import decode_symbol, encode_symbol
from fluxcap.schemas.errors import UnknownAsset

FOLLOWED_MAX = 64
"""So many assets that the page showed stay followed, the newest."""
_SEPARATORS = re.compile(r"[/_\-#\s.&']+")


class FocusMode(enum.StrEnum):
    LOCK = "lock"
    FOLLOW = "follow"
    ALL = "all"


class Focus(msgspec.Struct, frozen=True):
    """A mode and its symbols: those that are locked; while the page is followed, those that are taken beside it."""

    mode: FocusMode = FocusMode.FOLLOW
    symbols: tuple[str, ...] = ()


def canonical_key(name: str) -> tuple[str, bool]:
    """Return the key two spellings of one asset share: letters and digits in upper case, and whether it is OTC."""
    bare = _SEPARATORS.sub("", decode_symbol(name)).upper()
    is_otc = bare.endswith("OTC") and bare != "OTC"
    return (bare[:-3] if is_otc else bare, is_otc)


class AssetNames:
    """Looks assets up by what people type.

    What tells a name: the platform's table, which it sends only when a page loads; what ticks, now or in an earlier
    run, whose streams are in the store; the table of an earlier run. Before the table of this run came, a name that
    nothing tells is let stand as typed: it may be learned yet. After it, such a name is refused.
    """

    def __init__(self, assets: Iterable[Asset] = ()) -> None:
        self._assets: dict[str, Asset] = {}
        self._kept: dict[str, Asset] = {}
        self._observed: dict[str, None] = {}
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
        self._assets = {asset.symbol: asset for asset in assets}
        self._has_table = bool(self._assets)
        if self._has_table:
            self._kept = {}
        self._index()

    def keep(self, assets: Iterable[Asset]) -> None:
        """Take the asset table of an earlier run: it tells names until this run's comes, and refuses none."""
        if not self._has_table:
            self._kept = {asset.symbol: asset for asset in assets}
            self._index()

    def add_observed(self, symbol: str) -> bool:
        """An asset ticks, or has a stream. True when its name was not known."""
        if symbol in self._observed:
            return False
        self._observed[symbol] = None
        if symbol in self._assets:
            return False
        key = canonical_key(symbol)
        owner = self._by_key.get(key)
        if owner is None or owner in self._kept:
            self._by_key[key] = symbol
        return True

    def forget(self, symbols: Collection[str]) -> None:
        """Assets were seen so long ago that they are not known any more."""
        owners = [symbol for symbol in symbols if self._by_key.get(canonical_key(symbol)) == symbol]
        for symbol in symbols:
            self._observed.pop(symbol, None)
        if owners:
            self._index()

    def contains(self, symbol: str) -> bool:
        """Return whether it is a symbol of the platform's, as far as anything tells."""
        return symbol in self._assets or symbol in self._observed or symbol in self._kept

    def resolve(self, typed: str) -> str:
        """The symbol meant; before a table came, the name as typed. Raises UnknownAsset with the nearest symbols."""
        for symbol in (typed, encode_symbol(typed)):
            if self.contains(symbol):
                return symbol
        found = self._by_key.get(canonical_key(typed))
        if found is not None:
            return found
        if not self._has_table:
            return typed
        raise UnknownAsset(typed, self._nearest(typed))

    def _index(self) -> None:
        """Build the index of names; of sources that read alike the later one wins."""
        self._by_key = {}
        for named, symbols in ((self._kept, self._kept), ({}, self._observed), (self._assets, self._assets)):
            self._by_key |= {canonical_key(asset.name): symbol for symbol, asset in named.items()}
            self._by_key |= {canonical_key(symbol): symbol for symbol in reversed(symbols)}

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
        What the user set; leases do not change it.
    symbols
        The assets in force: by what the user set, by what the page shows and sends, and by leases.
    unverified
        Names among them of which nothing can be said yet.
    unknown
        Names among them that fit no asset of the platform.
    active
        What the page shows, once that is known; its period is 0 unless a frame told it.
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

    In force is the user's focus together with all leases:

    - the user locked assets: those,
    - the user follows the page: the asset that it shows, and those that it showed before, the newest ``FOLLOWED_MAX``:
      an asset that the page goes on sending goes on as candles,
    - the user takes all: all,
    - and what each client looks at, by a lease of its own.

    So viewers add assets and take none away; nor does one who named an asset, before the platform sent its assets, that
    there is not: that lease ends with the next change.

    Names are resolved here, when they are given, and by one rule: see ``AssetNames``. A name that nothing tells yet is
    taken as typed, opens nothing, and is resolved as soon as its asset is known; once the platform told its assets, a
    name that fits none is refused.
    """

    def __init__(self, focus: Focus) -> None:
        self.names = AssetNames()
        self.active: ActiveAsset | None = None
        """The asset the page shows, once a frame named it."""
        self.page_label_symbol: str | None = None
        """What a page was seen to show, when it had to be asked."""
        self._sole_active: str | None = None
        self._user_focus = focus
        self._leases: dict[str, FocusLease] = {}
        self._followed: dict[str, None] = {}
        """What the page showed while it was followed, the newest last."""

    @property
    def mode(self) -> FocusMode:
        """The mode that the user set."""
        return self._user_focus.mode

    @property
    def focus(self) -> Focus:
        """The user's, with all leases."""
        user = self._user_focus
        if not self._leases or user.mode is FocusMode.ALL:
            return user
        return msgspec.structs.replace(user, symbols=tuple(dict.fromkeys((*user.symbols, *self.leased))))

    @property
    def active_symbol(self) -> str | None:
        """The asset the page shows, as far as it is known."""
        return self.active.symbol if self.active is not None else self.page_label_symbol or self._sole_active

    @property
    def sole_active(self) -> str | None:
        """The one asset that ticks, if there is but one: after a late attach no frame tells the active asset."""
        return self._sole_active

    @sole_active.setter
    def sole_active(self, symbol: str | None) -> None:
        self._sole_active = symbol
        self._follow()

    @property
    def leased(self) -> tuple[str, ...]:
        """The leased assets, each once."""
        return tuple(dict.fromkeys(lease.symbol for lease in self._leases.values()))

    @property
    def followed(self) -> tuple[str, ...]:
        """The assets that the page showed while it was followed, the newest first."""
        return tuple(reversed(self._followed))

    def wanted(self, shown: Sequence[str]) -> tuple[str, ...]:
        """Return the assets that the user wants to be captured now, without what viewers alone look at.

        ``shown``: those in force, as ``shown`` tells them. While the page is followed and shows nothing yet, it is the
        one that it showed last.
        """
        if self.mode is FocusMode.LOCK:
            return self._user_focus.symbols
        viewed = set(self.leased) - set(self._followed) - set(self._user_focus.symbols)
        if self.mode is FocusMode.ALL:
            return tuple(shown)
        return tuple(symbol for symbol in shown if symbol not in viewed) or self.followed[:1]

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names in force that fit no asset of the platform's table: accepted before it came."""
        return tuple(symbol for symbol in self.focus.symbols if not self._is_possible(symbol))

    @property
    def unverified(self) -> tuple[str, ...]:
        """Names in force of which nothing can be said yet: nothing tells them, and the platform sent no table."""
        if self.mode is FocusMode.ALL or self.names.has_catalogue:
            return ()
        return tuple(symbol for symbol in self.focus.symbols if not self.names.contains(symbol))

    @property
    def is_decided(self) -> bool:
        """Return whether it is known what is in force: while following, what the page shows."""
        return self.mode is not FocusMode.FOLLOW or self.active_symbol is not None

    def members(self, symbols: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """The assets whose ticks become candles, if the page sends them. ``symbols``: tells all that there are."""
        if self.mode is FocusMode.ALL:
            return symbols()
        return self._in_force(lambda symbol: True)

    def shown(self, symbols: Callable[[], tuple[str, ...]], is_live: Callable[[str], bool]) -> tuple[str, ...]:
        """The assets in force, as people are told: of those that the page showed before, what it still sends."""
        return symbols() if self.mode is FocusMode.ALL else self._in_force(is_live)

    def snapshot(self, symbols: tuple[str, ...]) -> FocusSnapshot:
        """The focus as it is now; ``symbols``: as ``shown`` tells them."""
        active = self.active or (ActiveAsset(self.active_symbol) if self.active_symbol else None)
        return FocusSnapshot(self.mode, symbols, self.unverified, self.unknown, active)

    # --- who sets it ------------------------------------------------------------------------------------------------

    def set_user_focus(self, focus: Focus, *, is_checked: bool = True) -> bool:
        """Take what the user set. Returns whether the focus in force changed.

        ``is_checked`` False: names that fit no asset are taken all the same, as when they stood before the platform
        told its assets. Otherwise raises UnknownAsset; then nothing has changed.
        """
        resolve = self.names.resolve if is_checked else self._resolved_if_known
        symbols = tuple(dict.fromkeys(resolve(name) for name in focus.symbols))
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

    def keep_catalogue(self, assets: Iterable[Asset]) -> None:
        """Take the table of an earlier run."""
        self.names.keep(assets)
        self._resolve_again()

    def restore_followed(self, symbols: Sequence[str]) -> None:
        """Take what the page showed in an earlier run, the newest first: followed as what it showed in this one."""
        earlier = dict.fromkeys(reversed(symbols[:FOLLOWED_MAX]))
        self._followed = earlier | self._followed
        for symbol in symbols:
            self.add_observed(symbol)

    def add_observed(self, symbol: str) -> None:
        """Take note of an asset that is seen for the first time, or that an earlier run saw."""
        if self.names.add_observed(symbol):
            self._resolve_again()

    def forget(self, symbols: Collection[str]) -> None:
        """Take note that assets were not seen for long."""
        self.names.forget(symbols)

    def set_active(self, active: ActiveAsset) -> None:
        """Take the asset that the page shows. A period of 0 stays as it was."""
        period_ms = active.period_ms or (self.active.period_ms if self.active else 0)
        self.active = ActiveAsset(active.symbol, period_ms)
        self.add_observed(active.symbol)
        self._follow()

    def set_page_label(self, label: str, is_live: Callable[[str | None], bool] = lambda symbol: False) -> None:
        """Take the label that a page was seen to show. A name that cannot be resolved yet says nothing.

        An asset named by frames has priority, unless it is from a page that is gone: it has no ticks, and this one has.
        """
        with contextlib.suppress(UnknownAsset):
            symbol = self.names.resolve(label)
            self.page_label_symbol = symbol if self.names.contains(symbol) else None
        if not is_live(self.active_symbol) and is_live(self.page_label_symbol):
            self.active = None
        self._follow()

    # --- within -----------------------------------------------------------------------------------------------------

    def _in_force(self, is_sent: Callable[[str], bool]) -> tuple[str, ...]:
        symbols = self.focus.symbols
        if self.mode is FocusMode.FOLLOW:
            active = self.active_symbol
            shown = (active,) if active else ()
            symbols = (*shown, *symbols, *(symbol for symbol in self.followed if is_sent(symbol)))
        return tuple(dict.fromkeys(symbols))

    def _follow(self) -> None:
        """Remember what the page shows, if it is followed."""
        active = self.active_symbol
        if active is None or self.mode is not FocusMode.FOLLOW:
            return
        self._followed.pop(active, None)
        self._followed[active] = None
        if len(self._followed) > FOLLOWED_MAX:
            del self._followed[next(iter(self._followed))]

    def _without(self, holders: set[str]) -> bool:
        return self._apply(
            self._user_focus, {name: lease for name, lease in self._leases.items() if name not in holders}
        )

    def _apply(self, user_focus: Focus, leases: Mapping[str, FocusLease]) -> bool:
        """The one place where the focus changes. Returns whether the one in force did."""
        before = self.focus
        self._user_focus = user_focus
        self._leases = {holder: lease for holder, lease in leases.items() if self._is_possible(lease.symbol)}
        self._follow()
        return self.focus != before

    def _resolve_again(self) -> None:
        """More is known of the assets: understand the names that were taken as typed."""
        user = self._user_focus
        symbols = tuple(dict.fromkeys(self._resolved_if_known(name) for name in user.symbols))
        self._user_focus = msgspec.structs.replace(user, symbols=symbols)
        self._leases = {
            holder: FocusLease(self._resolved_if_known(lease.symbol), lease.until_ms)
            for holder, lease in self._leases.items()
        }

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
