"""The control endpoint of a running daemon: status, focus by people's names, and who may not use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fluxcap.capture.daemon.daemon import Daemon
from fluxcap.capture.platforms.base import Asset
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import NotAnswering
from tests.support.patience import PATIENCE_S


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    free = "tcp://127.0.0.1:0"
    folder = tmp_path_factory.mktemp("control")
    options: dict[str, Any] = {"chrome": "127.0.0.1:9", "data_dir": folder, "pub": free, "rep": free, "source": "TEST"}
    with Daemon(Settings(**options, web=False, control_port=0, focus=("EURUSD_otc",))) as running:
        yield running


@pytest.fixture
def rest(daemon: Daemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.identity.control, trust_env=False, timeout=PATIENCE_S) as client:
        yield client


def learn_assets(daemon: Daemon) -> None:
    assets = tuple(
        Asset(symbol=symbol, name=name, is_otc=True)
        for symbol, name in (("EURUSD_otc", "EUR/USD OTC"), ("GBPUSD_otc", "GBP/USD OTC"))
    )
    daemon.pipeline.call(lambda: daemon.market._focus.set_catalogue(assets))


def test_health_and_status_are_served(rest: httpx.Client):
    assert rest.get("/health").json()["status"] == "ok"
    assert rest.get("/api/status").json()["source"] == "TEST"


def test_before_the_platform_told_its_assets_a_name_is_taken_and_said_to_be_unchecked(rest: httpx.Client):
    answer = rest.put("/api/focus", json={"mode": "lock", "symbols": ["nonsense"]}).json()

    assert (answer["symbols"], answer["unchecked"], answer["unknown"]) == (["nonsense"], ["nonsense"], [])


def test_a_locked_name_that_turned_out_to_be_unknown_is_told_and_hinders_no_chart(rest: httpx.Client, daemon: Daemon):
    rest.put("/api/focus", json={"mode": "lock", "symbols": ["nonsense"]})
    learn_assets(daemon)

    leased = rest.put("/api/focus/leases/chart", json={"asset": "EURUSD_otc"})

    assert leased.status_code == 200
    assert leased.json()["symbols"] == ["nonsense", "EURUSD_otc"]
    rest.delete("/api/focus/leases/chart")


def test_the_focus_is_set_by_names_as_people_type_them(rest: httpx.Client, daemon: Daemon):
    learn_assets(daemon)

    answer = rest.put("/api/focus", json={"mode": "lock", "symbols": ["gbp/usd otc", "EURUSD_OTC"]})

    assert answer.json()["symbols"] == ["GBPUSD_otc", "EURUSD_otc"]
    assert rest.get("/api/focus").json() == answer.json()


def test_an_unknown_name_is_refused_with_the_nearest_and_changes_nothing(rest: httpx.Client, daemon: Daemon):
    learn_assets(daemon)
    before = rest.get("/api/focus").json()

    answer = rest.put("/api/focus", json={"mode": "lock", "symbols": ["EURUSX_otc"]})

    assert answer.status_code == 404
    assert answer.json()["nearest"][0] == "EURUSD_otc"
    assert rest.get("/api/focus").json() == before


@pytest.mark.parametrize("body", [{"mode": "lock"}, {"mode": "nosuch"}, {}, {"mode": "lock", "symbols": "EURUSD_otc"}])
def test_a_focus_that_cannot_be_is_refused(rest: httpx.Client, body: dict[str, Any]):
    assert rest.put("/api/focus", json=body).status_code == 422


@pytest.mark.parametrize("mode", ["follow", "all"])
def test_the_lock_can_be_released(rest: httpx.Client, mode: str):
    assert rest.put("/api/focus", json={"mode": mode}).json()["mode"] == mode


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "http://127.0.0.1:1"}]
)
def test_pages_of_others_cannot_drive_it(rest: httpx.Client, headers: dict[str, str]):
    rest.put("/api/focus", json={"mode": "follow"})
    before = rest.get("/api/focus").json()

    answer = rest.put("/api/focus", json={"mode": "all"}, headers=headers)

    assert answer.status_code == 403
    assert rest.get("/api/focus").json() == before


def test_a_pipeline_that_cannot_answer_is_said_to_be_unavailable(
    rest: httpx.Client, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
):
    def busy(*_: Any) -> None:
        raise NotAnswering("fluxcap is too busy to answer.")

    monkeypatch.setattr(daemon.pipeline, "call", busy)

    answer = rest.get("/api/focus")

    assert (answer.status_code, answer.json()) == (503, {"error": "fluxcap is too busy to answer."})
