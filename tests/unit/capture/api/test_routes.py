"""The routes: collect mode, gaps, metrics, and collected candles into the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from fluxcap.bridge.store.store import Store
from fluxcap.bridge.system.folders import STORE_FILE
from fluxcap.capture.api.metrics import Metrics
from fluxcap.capture.api.routes import collection_router, csv_settings_router
from fluxcap.capture.collect.runner import CollectionState, CollectionView
from fluxcap.capture.collect.store import HistoryStore
from fluxcap.capture.csvfiles.writer import CsvWriter
from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.market.clock import ClockPrior
from fluxcap.capture.runtime.settings import CollectMode, Settings
from fluxcap.schemas.errors import FluxcapError
from fluxcap.schemas.types import Candle, CandleFlags, Gap, StreamKey, candles_from
from tests.support.patience import PATIENCE_S, await_that

GAPS = (Gap("SIM", "EURUSD_otc", 1_000, 5_000, "tab closed"), Gap("SIM", "GBPUSD_otc", 9_000, 0, "chrome gone"))


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    writer = CsvWriter(tmp_path, CollectMode.NONE)
    writer.start()
    with Store.open(tmp_path / "s.duckdb") as store:
        store.commit(gaps=GAPS)
        made = FastAPI()
        made.include_router(csv_settings_router(writer, store.reader(), Metrics("1", process=False)))
        yield made
    writer.stop()


def call(app: FastAPI, method: str, path: str, **how: object) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **how)  # type: ignore[arg-type]

    return asyncio.run(ask())


@pytest.mark.costly
def test_the_collect_mode_is_changed_and_told(app: FastAPI) -> None:
    changed = call(app, "PUT", "/api/collect-mode", json={"mode": "both", "tick_chunk_size": 7})
    seen = call(app, "GET", "/api/collect-mode")

    assert changed.status_code == 200
    assert changed.json() == seen.json()
    assert (seen.json()["mode"], seen.json()["tick_chunk_size"], seen.json()["candle_chunk_size"]) == ("both", 7, 100)


@pytest.mark.parametrize(
    "body", [{"mode": "ticks"}, {"tick_chunk_size": 0}, {"candle_chunk_size": "x"}, {"modus": "tick"}, [], None]
)
def test_what_is_no_change_is_refused_and_changes_nothing(app: FastAPI, body: object) -> None:
    answer = call(app, "PUT", "/api/collect-mode", json=body)

    assert answer.status_code == 422
    assert (call(app, "GET", "/api/collect-mode")).json()["mode"] == "none"


def test_gaps_are_told_with_open_ones_as_not_over(app: FastAPI) -> None:
    found = (call(app, "GET", "/api/gaps")).json()

    assert [(gap["symbol"], gap["from_ms"], gap["to_ms"], gap["reason"]) for gap in found] == [
        ("EURUSD_otc", 1_000, 5_000, "tab closed"),
        ("GBPUSD_otc", 9_000, 0, "chrome gone"),
    ]


def test_gaps_can_be_chosen_by_symbol_and_time(app: FastAPI) -> None:
    by_symbol = (call(app, "GET", "/api/gaps", params={"symbol": "GBPUSD_otc"})).json()
    by_time = (call(app, "GET", "/api/gaps", params={"to_ms": 6_000})).json()

    assert [gap["symbol"] for gap in by_symbol] == ["GBPUSD_otc"]
    assert [gap["symbol"] for gap in by_time] == ["EURUSD_otc"]


@pytest.mark.costly
def test_metrics_are_what_prometheus_reads(app: FastAPI) -> None:
    answer = call(app, "GET", "/metrics", headers={"accept": "text/plain"})

    assert answer.headers["content-type"].startswith("text/plain")
    assert [family.name for family in text_string_to_metric_families(answer.text)]


# --- the route for collected candles: into the store of the running daemon, never into the live stream ---


HOUR = 3_600_000
T0 = 1_700_006_400_000
HOURS = [Candle(T0 + n * HOUR, 1.5, 1.6, 1.4, 1.55) for n in range(4)]
KEY = StreamKey("POCKETOPTION", "EURUSD_otc", "1h")


def settings(folder: Path) -> Settings:
    free = "tcp://127.0.0.1:0"
    return Settings(data_dir=folder, pub=free, rep=free, web=False, control_port=0, chrome="127.0.0.1:1")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(settings(tmp_path)) as daemon:
        yield daemon


def put(daemon: Daemon, body: Any) -> httpx.Response:
    return httpx.put(
        f"{daemon.identity.control}/api/history", json=body, trust_env=False, verify=False, timeout=PATIENCE_S
    )


def row(ts_ms: int = T0, price: float = 1.5) -> list[float]:
    return [ts_ms, price, price, price, price, 0]


@pytest.mark.costly
def test_candles_reach_the_store_through_the_daemon_that_holds_it(daemon: Daemon, tmp_path: Path):
    store = HistoryStore(tmp_path, "OTHER", "1m")

    first = store.put("EURUSD_otc", "1h", HOURS)
    again = store.put("EURUSD_otc", "1h", HOURS)

    assert first is not None
    assert again is not None
    assert (first.published, again.published, again.revised) == (4, 0, 0)
    page = daemon.server.store.reader().page(KEY, 0, None, 10)
    assert {candle.flags for candle in candles_from(page.candles)} == {int(CandleFlags.FILLED)}


@pytest.mark.costly
def test_without_a_daemon_they_reach_the_store_directly(tmp_path: Path):
    stored = HistoryStore(tmp_path, "POCKETOPTION", "1m").put("EURUSD_otc", "1h", HOURS)

    assert stored is not None
    assert stored.published == 4
    with Daemon(settings(tmp_path)) as daemon:
        assert daemon.server.watermark(KEY).latest_sequence == 4


@pytest.mark.costly
def test_what_earlier_runs_knew_of_the_platforms_clock_is_found_in_the_store(tmp_path: Path):
    history = HistoryStore(tmp_path, "POCKETOPTION", "1m")
    assert history.known_offset() == (ClockPrior(), False)
    with Store.open(tmp_path / STORE_FILE) as store:
        store.keep_offset("POCKETOPTION", 7_200_000)

    assert history.known_offset() == (ClockPrior(7_200_000), False)
    assert HistoryStore(tmp_path, "OTHER", "1m").known_offset() == (ClockPrior(), False)


@pytest.mark.costly
def test_what_a_running_daemon_has_not_measured_yet_is_not_known(daemon: Daemon, tmp_path: Path):
    assert HistoryStore(tmp_path, "POCKETOPTION", "1m").known_offset() == (ClockPrior(), False)


@pytest.mark.costly
def test_candles_of_the_live_interval_are_kept_out_with_a_daemon_and_without(tmp_path: Path):
    store = HistoryStore(tmp_path, "POCKETOPTION", "1m")

    assert store.put("EURUSD_otc", "1m", HOURS) is None
    with Daemon(settings(tmp_path)) as daemon:
        assert store.put("EURUSD_otc", "1m", HOURS) is None
        refused = put(daemon, {"symbol": "EURUSD_otc", "interval": "1m", "candles": [row()]})

    assert refused.status_code == 400
    assert "are made live here" in refused.json()["error"]


@pytest.mark.costly
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"symbol": "../x", "interval": "1h", "candles": []}, 422),
        ({"symbol": "A", "interval": "1x", "candles": []}, 422),
        ({"symbol": "A", "interval": "1h", "candles": [[1, 2]]}, 422),
        ({"symbol": "A", "interval": "1h", "candles": [row(10**30)]}, 422),
        ({"symbol": "A", "interval": "1h", "candles": [[T0, 1, 0.5, 1, 1, 0]]}, 400),
        ({"symbol": "A", "interval": "1h", "candles": [], "more": 1}, 422),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_and_the_daemon_lives_on(daemon: Daemon, body: Any, status: int):
    assert put(daemon, body).status_code == status
    assert daemon.pipeline.alive
    assert daemon.server.status() == {}


@pytest.mark.costly
def test_a_store_that_another_process_holds_is_told(tmp_path: Path):
    with Daemon(settings(tmp_path)) as daemon:
        (tmp_path / "fluxcap.run.json").unlink()
        assert daemon.pipeline.alive

        with pytest.raises(FluxcapError, match=r"fluxcap\.duckdb"):
            HistoryStore(tmp_path, "POCKETOPTION", "1m").put("EURUSD_otc", "1h", HOURS)


class Collections:
    """Takes orders, and refuses those of which it was told so."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, str, bool]] = []
        self.stopped = 0

    def view(self) -> CollectionView:
        return CollectionView(CollectionState.RUNNING, done=1, total=8)

    def start(self, assets: str, timeframes: str, *, restart: bool) -> CollectionView:
        self.orders.append((assets, timeframes, restart))
        return self.view()

    def stop(self) -> CollectionView:
        self.stopped += 1
        return msgspec.structs.replace(self.view(), state=CollectionState.STOPPING)


def test_a_collection_is_begun_seen_and_stopped_by_its_own_verbs() -> None:
    collections, app = Collections(), FastAPI()
    app.include_router(collection_router(collections))

    begun = call(app, "POST", "/api/collection", json={"assets": "payout>=92", "timeframes": "1h"})
    plain = call(app, "POST", "/api/collection")
    seen = call(app, "GET", "/api/collection")
    stopped = call(app, "DELETE", "/api/collection")
    refused = call(app, "POST", "/api/collection", json={"asset": "EURUSD_otc"})

    assert [answer.status_code for answer in (begun, plain, seen, stopped, refused)] == [200, 200, 200, 200, 422]
    assert collections.orders == [("payout>=92", "1h", False), ("favourites", "1h,15m,5m,1m", False)]
    assert (seen.json()["state"], seen.json()["done"], seen.json()["total"]) == ("running", 1, 8)
    assert (stopped.json()["state"], collections.stopped) == ("stopping", 1)


@pytest.mark.costly
def test_without_a_browser_history_is_refused_with_the_reason(daemon: Daemon) -> None:
    await_that(lambda: daemon.pipeline.view().chrome_reason, "the first look for a browser")

    answer = httpx.post(f"{daemon.identity.control}/api/collection", trust_env=False, timeout=PATIENCE_S)

    assert answer.status_code == 400
    assert answer.json()["error"] == daemon.pipeline.view().chrome_reason
