"""What the next start needs of the market."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap.bridge.store.store import Store
from fluxcap.capture.market.focus import Focus
from fluxcap.capture.market.market import Market
from fluxcap.capture.pipeline.kept import KeptFacts
from fluxcap.capture.platforms.base import Asset
from fluxcap.capture.platforms.pocketoption import PocketOption
from fluxcap.schemas.errors import StoreError
from tests.support.market.simulated_market import EUR, GBP, Stage, lock

TABLE = [
    [1, EUR, "EUR/USD OTC", "currency", 2, 92, 60, 30, 3, 1, 0, 0, [], 0, True, [], -1, 60, 0],
    [2, GBP, "Cable", "currency", 2, 92, 60, 30, 3, 1, 0, 0, [], 0, True, [], -1, 60, 0],
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s.duckdb") as opened:
        yield opened


def first_run(store: Store) -> None:
    """A page that shows GBP, then EUR."""
    stage = Stage(focus=Focus())
    kept = KeptFacts(stage.market, store, "X")
    kept.restore()
    stage.event("s1", "updateAssets", TABLE)
    stage.turn(GBP)
    stage.turn(EUR)
    kept.keep()


def next_run(store: Store, focus: Focus = Focus()) -> Market:  # noqa: B008  frozen
    market = Market(PocketOption(), 60_000, focus)
    KeptFacts(market, store, "X").restore()
    return market


def test_names_are_understood_by_the_table_of_the_run_before(store: Store) -> None:
    first_run(store)

    market = next_run(store, lock("cable", "EURUSD_OTC"))

    assert market.focus.symbols == (GBP, EUR)
    assert market.focused_symbols() == (GBP, EUR)


def test_what_the_page_showed_in_the_run_before_goes_on_being_followed(store: Store) -> None:
    first_run(store)

    assert next_run(store).followed == (EUR, GBP)


def test_another_source_keeps_its_own(store: Store) -> None:
    first_run(store)
    market = Market(PocketOption(), 60_000, lock("cable"))

    KeptFacts(market, store, "Y").restore()

    assert (market.followed, market.focused_symbols()) == ((), ())


class CountingStore:
    """A store that counts what it is told, and fails when told to."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.fails = False

    def keep_assets(self, source_id: str, assets: object) -> None:
        self._take(assets)

    def keep_followed(self, source_id: str, symbols: object) -> None:
        self._take(symbols)

    def _take(self, what: object) -> None:
        if self.fails:
            raise StoreError("no room")
        self.told.append(what)

    def kept_assets(self, source_id: str, kind: type[Asset]) -> list[Asset]:
        return []

    def kept_followed(self, source_id: str) -> list[str]:
        return []


def test_only_what_has_changed_is_written() -> None:
    stage, store = Stage(focus=Focus()), CountingStore()
    kept = KeptFacts(stage.market, store, "X")
    kept.keep()
    stage.turn(EUR)
    kept.keep()
    kept.keep()
    stage.turn(GBP)
    kept.keep()

    assert store.told == [(EUR,), (GBP, EUR)]


def test_what_the_store_does_not_take_is_tried_again() -> None:
    stage, store = Stage(focus=Focus()), CountingStore()
    kept = KeptFacts(stage.market, store, "X")
    stage.turn(EUR)
    store.fails = True
    kept.keep()

    store.fails = False
    kept.keep()

    assert store.told == [(EUR,)]
