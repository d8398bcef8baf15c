"""capture/api/routes.py: collect mode, gaps and metrics over REST."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from fluxcap.bridge.store.store import Store
from fluxcap.capture.api.metrics import Metrics
from fluxcap.capture.api.routes import files_router
from fluxcap.capture.csvfiles.writer import Persistence
from fluxcap.capture.runtime.settings import CollectMode
from fluxcap.schemas.types import Gap

pytestmark = pytest.mark.anyio
GAPS = (Gap("SIM", "EURUSD_otc", 1_000, 5_000, "tab closed"), Gap("SIM", "GBPUSD_otc", 9_000, 0, "chrome gone"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    writer = Persistence(tmp_path, CollectMode.NONE)
    writer.start()
    with Store.open(tmp_path / "s.duckdb") as store:
        store.commit(gaps=GAPS)
        made = FastAPI()
        made.include_router(files_router(writer, store.reader(), Metrics("1", process=False)))
        yield made
    writer.stop()


async def call(app: FastAPI, method: str, path: str, **how: object) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        return await client.request(method, path, **how)  # type: ignore[arg-type]


async def test_the_collect_mode_is_changed_and_told(app: FastAPI) -> None:
    changed = await call(app, "PUT", "/api/collect-mode", json={"mode": "both", "tick_chunk_size": 7})
    seen = await call(app, "GET", "/api/collect-mode")

    assert changed.status_code == 200
    assert changed.json() == seen.json()
    assert (seen.json()["mode"], seen.json()["tick_chunk_size"], seen.json()["candle_chunk_size"]) == ("both", 7, 100)


@pytest.mark.parametrize(
    "body", [{"mode": "ticks"}, {"tick_chunk_size": 0}, {"candle_chunk_size": "x"}, {"modus": "tick"}, [], None]
)
async def test_what_is_no_change_is_refused_and_changes_nothing(app: FastAPI, body: object) -> None:
    answer = await call(app, "PUT", "/api/collect-mode", json=body)

    assert answer.status_code == 422
    assert (await call(app, "GET", "/api/collect-mode")).json()["mode"] == "none"


async def test_gaps_are_told_with_open_ones_as_not_over(app: FastAPI) -> None:
    found = (await call(app, "GET", "/api/gaps")).json()

    assert [(gap["symbol"], gap["from_ms"], gap["to_ms"], gap["reason"]) for gap in found] == [
        ("EURUSD_otc", 1_000, 5_000, "tab closed"),
        ("GBPUSD_otc", 9_000, 0, "chrome gone"),
    ]


async def test_gaps_can_be_chosen_by_symbol_and_time(app: FastAPI) -> None:
    by_symbol = (await call(app, "GET", "/api/gaps", params={"symbol": "GBPUSD_otc"})).json()
    by_time = (await call(app, "GET", "/api/gaps", params={"to_ms": 6_000})).json()

    assert [gap["symbol"] for gap in by_symbol] == ["GBPUSD_otc"]
    assert [gap["symbol"] for gap in by_time] == ["EURUSD_otc"]


async def test_metrics_are_what_prometheus_reads(app: FastAPI) -> None:
    answer = await call(app, "GET", "/metrics", headers={"accept": "text/plain"})

    assert answer.headers["content-type"].startswith("text/plain")
    assert [family.name for family in text_string_to_metric_families(answer.text)]
