"""Keeps in the store what the next start needs of the market: the platform's assets, and what the page showed.

The platform tells its assets only when its page loads. A daemon that starts beside an open page understands names by
the table of the run before, and goes on with the assets that the page showed then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fluxcap.capture.market.market import Market
from fluxcap.capture.platforms.base import Asset
from fluxcap.schemas.errors import StoreError


class FactStore(Protocol):
    """The part of the store used here; see there."""

    def keep_assets(self, source_id: str, assets: Sequence[Asset]) -> None: ...

    def kept_assets(self, source_id: str, kind: type[Asset]) -> list[Asset]: ...

    def keep_followed(self, source_id: str, symbols: Sequence[str]) -> None: ...

    def kept_followed(self, source_id: str) -> list[str]: ...


class KeptFacts:
    """See the module. Both methods are for the thread that owns market and store."""

    def __init__(self, market: Market, store: FactStore, source_id: str) -> None:
        self._market = market
        self._store = store
        self._source_id = source_id
        self._assets: Sequence[Asset] = ()
        self._followed: tuple[str, ...] = ()

    def restore(self) -> None:
        """Give the market what the run before kept, before anything else happens. Raises StoreError."""
        self._market.keep_names(self._store.kept_assets(self._source_id, Asset))
        self._followed = tuple(self._store.kept_followed(self._source_id))
        self._market.restore_followed(self._followed)

    def keep(self) -> None:
        """Keep what has changed. While the store takes nothing, it is tried again at the next call."""
        assets, followed = self._market.names.assets, self._market.followed
        try:
            if assets and assets != self._assets:
                self._store.keep_assets(self._source_id, assets)
                self._assets = assets
            if followed != self._followed:
                self._store.keep_followed(self._source_id, followed)
                self._followed = followed
        except StoreError:
            return  # whoever publishes says so
