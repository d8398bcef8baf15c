"""Assets that clients look at, on top of the focus that the user set. Lives on the pipeline's thread.

The daemon has one focus; several charts may each want an asset of their own. Each takes a lease, and the focus in
force is the user's together with all leases:

- the user locked assets: those and the leased ones are locked,
- the user follows the page: the leased ones are locked, and when the last lease ends the page is followed again,
- the user takes all: all.

So whoever comes or goes takes nothing from anybody else; nor does one who named an asset, before the platform told its
assets, that there is not: that lease ends.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from fluxcap.capture.market.focus import AssetNames, Focus, FocusMode
from fluxcap.schemas.errors import UnknownAsset


class FocusTarget(Protocol):
    """The part of the market used here."""

    @property
    def focus(self) -> Focus: ...

    @property
    def names(self) -> AssetNames: ...

    def set_focus(self, focus: Focus) -> Focus: ...


class _Lease(msgspec.Struct, frozen=True):
    asset: str
    until_ms: int | None


class FocusLeases:
    """See the module. Times are monotonic milliseconds."""

    def __init__(self, market: FocusTarget) -> None:
        self._market = market
        self._base = market.focus
        self._leases: dict[str, _Lease] = {}

    @property
    def assets(self) -> tuple[str, ...]:
        """The leased assets, each once."""
        return tuple(dict.fromkeys(lease.asset for lease in self._leases.values()))

    def set_user_focus(self, focus: Focus) -> None:
        """The user set a focus. Raises UnknownAsset; then nothing has changed."""
        symbols = tuple(self._market.names.resolve(name) for name in focus.symbols)
        self._apply(Focus(focus.mode, symbols), self._leases)

    def acquire(self, holder: str, asset: str, until_ms: int | None = None) -> str:
        """``holder`` looks at an asset from now on, in place of the one it had; returns the asset's symbol.

        until_ms: when the lease ends by itself unless it is taken again. Raises UnknownAsset; nothing has changed then.
        """
        symbol = self._market.names.resolve(asset)
        self._apply(self._base, {**self._leases, holder: _Lease(symbol, until_ms)})
        return symbol

    def release(self, holder: str) -> None:
        """``holder`` looks at nothing any more. One without a lease may say so too."""
        if holder in self._leases:
            self._apply(self._base, {name: lease for name, lease in self._leases.items() if name != holder})

    def expire(self, now_ms: int) -> None:
        """End the leases whose time is over."""
        over = {n for n, lease in self._leases.items() if lease.until_ms is not None and lease.until_ms <= now_ms}
        if over:
            self._apply(self._base, {name: lease for name, lease in self._leases.items() if name not in over})

    def _apply(self, base: Focus, leases: dict[str, _Lease]) -> None:
        leases = {holder: lease for holder, lease in leases.items() if self._is_valid(lease.asset)}
        leased = tuple(lease.asset for lease in leases.values())
        if not leases or base.mode is FocusMode.ALL:
            focus = base
        else:
            own = base.symbols if base.mode is FocusMode.LOCK else ()
            focus = Focus(FocusMode.LOCK, tuple(dict.fromkeys((*own, *leased))))
        if (focus.mode, focus.symbols) != (self._market.focus.mode, self._market.focus.symbols):
            self._market.set_focus(focus)
        self._base, self._leases = base, leases

    def _is_valid(self, asset: str) -> bool:
        """False for one that was leased before the platform told its assets, and is none of them."""
        try:
            self._market.names.resolve(asset)
        except UnknownAsset:
            return False
        return True
