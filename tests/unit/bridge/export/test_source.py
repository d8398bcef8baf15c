"""bridge/export/source.py: a stopped store and a running server tell the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fluxcap.bridge.client.fetch import RemoteStore
from fluxcap.bridge.export.source import ExportSource
from fluxcap.bridge.server.server import WireServer
from fluxcap.bridge.store import offline
from fluxcap.bridge.store.offline import OfflineStore
from fluxcap.bridge.store.store import Store
from fluxcap.schemas.errors import StoreDamaged, StoreError, StoreLocked
from fluxcap.schemas.types import Gap, StreamKey
from tests.support.patience import PATIENCE_S
from tests.support.wire.samples import ANY_PORT, EURUSD, GBPUSD, candle, candles, minutes

COUNT = 25
SHORT = StreamKey("SIM", "EURUSD_otc", "5s")
GAPS = [Gap("SIM", "EURUSD_otc", 1_000, 5_000, "tab closed"), Gap("SIM", "", 9_000, 0, "chrome gone")]


def fill(server: WireServer) -> None:
    server.publish({EURUSD: candles(1, COUNT), GBPUSD: candles(1, 3)})
    server.revise({EURUSD: [candle(2, 1.9), candle(3, 1.8)]})
    server.revise({EURUSD: [candle(2, 1.7)]})
    server.record_gaps(GAPS)


@pytest.fixture(params=["store", "server"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExportSource]:
    monkeypatch.setattr(offline, "PAGE_ROWS", 10)
    monkeypatch.setattr("fluxcap.bridge.client.fetch.PAGE_LIMIT", 10)
    with ExitStack() as stack:
        server = stack.enter_context(WireServer(tmp_path / "s.duckdb", ANY_PORT, ANY_PORT))
        fill(server)
        if request.param == "server":
            yield RemoteStore(server.rep_endpoint, lambda: GAPS, timeout=PATIENCE_S)
        else:
            server.close()
            yield stack.enter_context(OfflineStore(tmp_path / "s.duckdb"))


@pytest.mark.costly
def test_streams_are_told_with_what_they_hold(source: ExportSource) -> None:
    held = {item.key: (item.candles, item.revisions) for item in source.streams()}

    assert held == {EURUSD: (COUNT, 3), GBPUSD: (3, 0)}


@pytest.mark.costly
def test_candles_come_page_by_page_with_their_sequences_as_revised(source: ExportSource) -> None:
    pages = list(source.candles(EURUSD))

    assert [page.start_sequence for page in pages] == [1, 11, 21]
    assert [minute for page in pages for minute in minutes(page.candles)] == list(range(1, COUNT + 1))
    assert pages[0].candles["close"][1] == 1.7


@pytest.mark.costly
def test_revisions_come_with_the_sequences_they_replace(source: ExportSource) -> None:
    (page,) = source.revisions(EURUSD)

    assert page.start_revision == 1
    assert page.sequences.tolist() == [2, 3, 2]
    assert page.candles["close"].tolist() == [1.9, 1.8, 1.7]
    assert list(source.revisions(GBPUSD)) == []


@pytest.mark.costly
def test_gaps_are_told(source: ExportSource) -> None:
    assert source.gaps() == GAPS


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb"), pytest.raises(StoreLocked):
        OfflineStore(tmp_path / "s.duckdb")


def test_what_is_no_store_is_refused_and_let_go(tmp_path: Path) -> None:
    (tmp_path / "s.duckdb").write_bytes(b"no store" * 1_000)

    for _ in range(2):
        with pytest.raises(StoreDamaged):
            OfflineStore(tmp_path / "s.duckdb")


def test_an_absent_store_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        OfflineStore(tmp_path / "s.duckdb")

    assert list(tmp_path.iterdir()) == []
