"""The dev server: engine, control API and process."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fluxcap import backfill, fetch_status
from fluxcap.bridge.devserver.api import make_api
from fluxcap.bridge.devserver.engine import DevEngine
from fluxcap.bridge.devserver.faults import Faults
from fluxcap.bridge.devserver.process import READY_PREFIX
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.schemas.errors import ConfigError, WireError
from fluxcap.schemas.types import StreamKey
from tests.support.paths import ROOT
from tests.support.patience import PATIENCE_S

KEY = StreamKey("SIM", "A", "1s")


def settings(folder: Path, **changed: Any) -> DevSettings:
    base: dict[str, Any] = {
        "symbols": ("A",),
        "history": 30,
        "tick_ms": 10,
        "start_ts_ms": 1_000_000,
        "data_dir": str(folder),
        "pub": "tcp://127.0.0.1:0",
        "rep": "tcp://127.0.0.1:0",
        "api_port": 0,
        "broadcasting": False,
    }
    return DevSettings(**(base | changed))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DevEngine]:
    running = DevEngine(settings(tmp_path)).start()
    yield running
    running.close()


class Api:
    """Calls the app without a socket."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:5558") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.call("GET", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.call("PUT", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.call("POST", path, **options)

    def delete(self, path: str) -> httpx.Response:
        return self.call("DELETE", path)


@pytest.fixture
def api(engine: DevEngine) -> Api:
    return Api(make_api(engine))


def test_history_is_served_and_the_same_for_the_same_seed(engine: DevEngine, tmp_path: Path) -> None:
    rows = backfill(KEY, engine.endpoints[1])
    twin = DevEngine(settings(tmp_path / "twin")).start()
    again = backfill(KEY, twin.endpoints[1])
    twin.close()

    assert len(rows) == 30
    assert again.tobytes() == rows.tobytes()


def test_starting_makes_candles_and_stopping_ends_it(api: Api) -> None:
    api.post("/start")
    while api.get("/status").json()["streams"][0]["latest_sequence"] < 35:
        pass
    assert api.post("/stop").json() == {"broadcasting": False}

    stopped = api.get("/status").json()["streams"][0]["latest_sequence"]
    assert api.get("/status").json()["streams"][0]["latest_sequence"] == stopped


def test_faults_are_in_force_when_the_answer_comes(api: Api, engine: DevEngine) -> None:
    answer = api.put("/faults", json={"answer_fail_percent": 100})
    assert answer.json()["answer_fail_percent"] == 100
    with pytest.raises(WireError, match="500"):
        backfill(KEY, engine.endpoints[1])

    api.delete("/faults")
    assert engine.faults == Faults()
    assert len(backfill(KEY, engine.endpoints[1])) == 30


def test_a_restart_keeps_the_store_and_the_numbers_go_on(api: Api, engine: DevEngine) -> None:
    before = fetch_status(KEY, engine.endpoints[1])

    api.post("/restart", json={"down_ms": 0})

    after = fetch_status(KEY, engine.endpoints[1])
    assert (after.store_id, after.latest_sequence) == (before.store_id, before.latest_sequence)


def test_a_restart_with_a_new_store_has_another_id(api: Api, engine: DevEngine) -> None:
    before = fetch_status(KEY, engine.endpoints[1])

    store_id = api.post("/restart", json={"store": "new", "down_ms": 0}).json()["store_id"]

    assert fetch_status(KEY, engine.endpoints[1]).store_id == store_id != before.store_id


def test_streams_can_be_changed_while_it_runs(api: Api, engine: DevEngine) -> None:
    answer = api.put("/streams", json={"symbols": ["B", "C"], "interval": "1m", "history": 5})

    assert answer.json()["symbols"] == ["B", "C"]
    assert fetch_status(StreamKey("SIM", "C", "1m"), engine.endpoints[1]).latest_sequence == 5
    assert fetch_status(KEY, engine.endpoints[1]).latest_sequence == 30


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/faults", {"drop": 1}, "drop"),
        ("/faults", {"drop_percent": 200}, "drop_percent"),
        ("/streams", {"interval": "1x"}, "1x"),
        ("/streams", {"colour": "red"}, "colour"),
        ("/streams", {"tick_ms": "often"}, "tick_ms"),
    ],
)
def test_wrong_wishes_are_refused_in_words(api: Api, path: str, body: dict[str, object], word: str) -> None:
    answer = api.put(path, json=body)

    assert answer.status_code == 400
    assert word in answer.json()["error"]


def test_a_page_of_another_site_may_not_steer_it(api: Api) -> None:
    assert api.get("/status", headers={"origin": "https://elsewhere.example"}).status_code == 403
    assert api.get("/status", headers={"host": "elsewhere.example"}).status_code == 403
    assert api.get("/status", headers={"origin": "http://localhost:3001"}).status_code == 200


def test_the_universe_comes_from_the_csv_when_the_table_is_empty(api: Api) -> None:
    listings = api.get("/universe").json()

    assert any(listing["symbol"] == "EURUSD_otc" for listing in listings)


def test_a_closed_engine_says_so(tmp_path: Path) -> None:
    engine = DevEngine(settings(tmp_path)).start()
    engine.close()

    with pytest.raises(ConfigError, match="stopped"):
        engine.set_broadcasting(True)


def test_the_process_says_where_it_is_and_ends_on_sigterm(tmp_path: Path) -> None:
    text = json.dumps(
        {"data_dir": str(tmp_path), "pub": "tcp://127.0.0.1:0", "rep": "tcp://127.0.0.1:0", "api_port": 0}
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "fluxcap.bridge.devserver", text],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        assert process.stdout is not None
        hello = process.stdout.readline()
        addresses = json.loads(hello.removeprefix(READY_PREFIX))
        rep = addresses["rep"]
        assert fetch_status(StreamKey("SIM", "EURUSD_otc", "1s"), rep).store_id

        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
