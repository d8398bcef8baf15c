"""The control endpoint of a running daemon: status, focus by people's names, and who may not use it."""

from __future__ import annotations

import time
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
    with httpx.Client(base_url=daemon.identity.control, trust_env=False, verify=False, timeout=PATIENCE_S) as client:
        yield client


WRONG_TIMES = ("NaN", "Infinity", "-1", "1e400", "32503680000000", "1" + "0" * 40, "true", '"soon"')


@pytest.mark.parametrize("wrong", WRONG_TIMES)
def test_a_time_that_is_none_or_beyond_every_calendar_is_422(rest: httpx.Client, wrong: str):
    headers = {"content-type": "application/json"}
    candle = f'{{"symbol": "A", "interval": "1h", "candles": [[{wrong}, 1, 1, 1, 1, 1]]}}'
    lease = f'{{"asset": "EURUSD_otc", "seconds": {wrong}}}'
    if wrong == "true":  # 1, which is a second
        lease = '{"asset": "EURUSD_otc", "seconds": [true]}'
        candle = candle.replace("true", "[true]")

    answers = [
        rest.put("/api/history", content=candle, headers=headers),
        rest.put("/api/focus/leases/chart", content=lease, headers=headers),
        rest.get("/api/gaps", params={"from_ms": wrong.strip('"')}),
        rest.get("/api/gaps", params={"to_ms": wrong.strip('"')}),
    ]

    assert [answer.status_code for answer in answers] == [422] * 4
    assert all(isinstance(answer.json()["error"], str) for answer in answers)


@pytest.mark.parametrize("field", range(1, 6))
@pytest.mark.parametrize("wrong", ["NaN", "Infinity", "-Infinity"])
def test_a_price_that_is_no_number_is_422(rest: httpx.Client, field: int, wrong: str):
    row = ["3600000", "1", "1", "1", "1", "1"]
    row[field] = wrong
    content = f'{{"symbol": "A", "interval": "1h", "candles": [[{", ".join(row)}]]}}'

    answer = rest.put("/api/history", content=content, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "candles", 0, field])


def test_a_collected_candle_of_the_future_is_422_and_keeps_no_true_one_out(rest: httpx.Client):
    hour_ms = 3_600_000
    now_ms = time.time_ns() // 1_000_000 // hour_ms * hour_ms

    def import_from(ts_ms: int) -> httpx.Response:
        row = [ts_ms, 1, 1, 1, 1, 1]
        return rest.put("/api/history", json={"symbol": "FUTURE", "interval": "1h", "candles": [row]})

    refused = import_from(now_ms + 48 * hour_ms)
    taken = import_from(now_ms - hour_ms)

    assert (refused.status_code, refused.json()["detail"]) == (422, "A candle begins more than a day from now.")
    assert (taken.status_code, taken.json()["published"]) == (200, 1)


def test_a_body_beyond_every_need_is_413(rest: httpx.Client):
    answer = rest.put("/api/history", content=b"[" + b"1," * 3_000_000, headers={"content-type": "application/json"})

    assert answer.status_code == 413


def test_a_wrong_request_names_what_is_wrong_and_is_not_sent_back(rest: httpx.Client):
    answer = rest.put("/api/focus", json={"mode": "x" * 100_000, "symbols": [1] * 1_000})

    assert answer.status_code == 422
    assert answer.json()["error"].startswith("body.mode: ")
    assert len(answer.content) < 10_000


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


# --- the clock -------------------------------------------------------------------------------------------------------


def test_there_is_nothing_to_trust_before_anything_is_in_question(rest: httpx.Client):
    answer = rest.put("/api/clock", json={"trust": "earlier"})

    assert answer.status_code == 400
    assert "No earlier run" in answer.json()["error"]


def test_the_users_word_is_taken_and_answered_with_what_the_clock_says(rest: httpx.Client):
    answer = rest.put("/api/clock", json={"trust": "wall"})

    assert answer.json()["clock"] == "waiting for ticks"
    assert answer.json()["platform_offset_ms"] is None


@pytest.mark.parametrize("body", [{}, {"trust": "me"}, {"trust": None}])
def test_another_word_is_refused(rest: httpx.Client, body: dict[str, Any]):
    assert rest.put("/api/clock", json=body).status_code == 422


def test_without_a_browser_there_is_no_page_to_reload(rest: httpx.Client):
    assert rest.post("/api/reload").status_code == 400


@pytest.mark.parametrize(("method", "path"), [("PUT", "/api/clock"), ("POST", "/api/reload")])
def test_pages_of_others_can_neither_reload_nor_trust(rest: httpx.Client, method: str, path: str):
    answer = rest.request(method, path, json={"trust": "wall"}, headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403
