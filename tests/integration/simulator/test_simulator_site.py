"""The simulated site over real sockets, without a browser: the talk, the truth, the faults and the controls."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from fluxcap.capture.simulator import Fault, SimulatedSite, SiteConfig, read_truth
from fluxcap.capture.simulator.server.garbage import HUGE_BYTES
from fluxcap.schemas.errors import AlreadyRunning, ConfigError
from tests.support.daemon.plain_http import request
from tests.support.market.market_client import MarketClient
from tests.support.patience import PATIENCE_S

ASSETS = ("EURUSD_otc", "USDJPY_otc", "LBPUSD_otc")
OFFSET_MS = 7_200_000


@pytest.fixture
def start_site(tmp_path: Path) -> Iterator[Callable[..., SimulatedSite]]:
    """A factory of running sites: quick ticks, little lag, a truth file each."""
    with ExitStack() as stack:

        def start(**settings: Any) -> SimulatedSite:
            defaults = {
                "assets": ASSETS,
                "rate_hz": 20.0,
                "lag_ms": (30, 40),
                "pre_roll_s": 10,
                "truth_path": tmp_path / "truth.jsonl",
            }
            return stack.enter_context(SimulatedSite(SiteConfig(**(defaults | settings))))

        yield start


Start = Callable[..., SimulatedSite]


def signed_in(site: SimulatedSite) -> MarketClient:
    client = MarketClient(site.port)
    client.await_event("updateHistoryNewFast")
    return client


def now_ms(site: SimulatedSite) -> int:
    return int(site.state()["now_ms"])


# --- the talk --------------------------------------------------------------------------------------------------------


def test_a_page_load_is_told_everything_in_the_platforms_order(start_site: Start) -> None:
    with MarketClient(start_site().port) as client:
        client.await_event("successprice-alert/load")

        assert str(client.packets[0]).startswith('0{"sid":"')
        assert str(client.packets[1]).startswith('40{"sid":"')
        assert [name for name in client.names() if name != "updateStream"] == [
            "updateAssets",
            "successauth",
            "updateOpenedDeals",
            "successupdatePending",
            "successupdateBalance",
            "updateCharts",
            "updateClosedDeals",
            "successindicator/load",
            "successfavorite/change",
            "updateHistoryNewFast",
            "signals/load",
            "successprice-alert/load",
        ]


def test_the_asset_table_is_sent_again(start_site: Start) -> None:
    with MarketClient(start_site(second_assets_s=0.2).port) as client:
        first = client.await_event("updateAssets")

        second = client.await_event("updateAssets")

    assert len(first) == len(second) == 183
    assert {len(row) for row in second} == {19}


def test_a_wrong_session_is_refused_and_gets_no_ticks(start_site: Start) -> None:
    with MarketClient(start_site().port, session="guess") as client:
        client.drain(0.5)

        assert "41" in client.packets
        assert client.ticks == []


def test_live_ticks_go_on_exactly_where_history_ends(start_site: Start) -> None:
    site = start_site(pre_roll_s=800)
    with MarketClient(site.port) as client:
        history = client.await_event("updateHistoryNewFast")["history"]
        live = [t for t in client.await_ticks(60) if t[0] == "EURUSD_otc"]
    site.stop()

    received = [(round(at * 1000), price) for at, price in history] + [(raw, price) for _, raw, price in live]
    truth = [(t.raw_ts_ms, t.price) for t in read_truth(site.truth_path).ticks("EURUSD_otc")]
    begin = truth.index(received[0])
    assert received == truth[begin : begin + len(received)]


def test_truth_says_how_many_sockets_a_tick_went_to(start_site: Start) -> None:
    site = start_site()
    with signed_in(site) as one, signed_in(site) as other:
        one.await_ticks(30)
        other.await_ticks(30)
    site.stop()

    truth = read_truth(site.truth_path)
    sent = {(t.symbol, t.raw_ts_ms, t.price): t.sent for s in truth.symbols for t in truth.ticks(s)}
    assert set(one.ticks) <= set(sent)
    assert set(sent.values()) >= {0, 1, 2}
    assert all(sent[tick] == 2 for tick in set(one.ticks) & set(other.ticks))
    kinds = [event["kind"] for event in truth.events]
    assert (kinds[0], kinds[-1]) == ("site_started", "site_stopped")
    assert kinds.count("socket_opened") == kinds.count("socket_closed") == 2
    assert kinds.count("history_sent") == 2


def test_history_candles_equal_the_candles_of_the_truth(start_site: Start) -> None:
    site = start_site(rate_hz=2.1, pre_roll_s=800)
    with MarketClient(site.port) as client:
        payload = client.await_event("updateHistoryNewFast")
    site.stop()

    truth = {c.ts_ms: c for c in read_truth(site.truth_path).candles("EURUSD_otc", 60_000, 0, 1 << 62)}
    full = list(truth)[1:]  # the pre-roll begins within the first
    compared = 0
    for start, opened, closed, high, low in payload["candles"]:
        ts_ms = start * 1000 - OFFSET_MS
        if ts_ms in full:
            candle = truth[ts_ms]
            assert (opened, closed, high, low) == (candle.open, candle.close, candle.high, candle.low)
            compared += 1
    assert compared >= 5


def test_stamps_and_arrivals_are_a_lag_apart(start_site: Start) -> None:
    site = start_site(lag_ms=(700, 800))
    with signed_in(site) as client:
        client.await_ticks(60)

    lags_ms = [at * 1000 - (raw - OFFSET_MS) for at, (_, raw, _) in zip(client.arrivals_s, client.ticks, strict=True)]
    assert min(lags_ms) >= 699
    assert [raw for _, raw, _ in client.ticks] == sorted(raw for _, raw, _ in client.ticks)


def test_change_of_asset_and_timeframe_is_answered_with_history(start_site: Start) -> None:
    site = start_site()
    with signed_in(site) as client:
        client.emit("changeSymbol", {"asset": "USDJPY_otc", "period": 300})
        payload = client.await_event("updateHistoryNewFast")
        oldest = payload["candles"][-1]
        client.emit(
            "loadHistoryPeriod",
            {"asset": "USDJPY_otc", "period": 300, "time": oldest[0], "index": 42, "offset": 45_000},
        )
        earlier = client.await_event("loadHistoryPeriodFast")

    assert (payload["asset"], payload["period"]) == ("USDJPY_otc", 300)
    assert (earlier["asset"], earlier["index"], earlier["period"]) == ("USDJPY_otc", 42, 300)
    assert len(earlier["data"]) == 150
    assert earlier["data"][-1]["time"] == oldest[0]
    assert site.state()["account"] == {"symbol": "USDJPY_otc", "period_s": 300}


@pytest.mark.parametrize(
    "request_data", [{"asset": "NOSUCH", "period": 60}, {"asset": "USDJPY_otc", "period": 61}, ["x"], None, 7]
)
def test_senseless_requests_are_ignored(start_site: Start, request_data: object) -> None:
    with signed_in(start_site()) as client:
        client.emit("changeSymbol", request_data)
        client.emit("loadHistoryPeriod", request_data)
        client.emit("subfor", request_data)

        assert len(client.await_ticks(20)) >= 20
        assert client.names().count("updateHistoryNewFast") == 1


def test_without_tick_all_only_the_open_asset_and_those_asked_for_tick(start_site: Start) -> None:
    site = start_site(tick_all=False)
    with signed_in(site) as client:
        client.await_ticks(10)
        assert {symbol for symbol, _, _ in client.ticks} == {"EURUSD_otc"}

        client.emit("subfor", "LBPUSD_otc")
        client.emit("changeSymbol", {"asset": "USDJPY_otc", "period": 60})
        client.await_event("updateHistoryNewFast")

        assert {symbol for symbol, _, _ in client.await_ticks(20)} == {"USDJPY_otc", "LBPUSD_otc"}
        assert site.state()["market_sockets"][0]["subscribed"] == ["USDJPY_otc", "LBPUSD_otc"]


def test_a_client_that_answers_no_ping_is_closed(start_site: Start) -> None:
    with signed_in(start_site(ping_interval_s=0.2, ping_timeout_s=PATIENCE_S)) as answering:
        while answering.packets.count("2") < 3:
            answering.receive(PATIENCE_S)
        answering.await_ticks(5)
    with signed_in(start_site(ping_interval_s=0.2, ping_timeout_s=2)) as silent:
        silent.answer_pings = False

        assert silent.await_close() == 1000


def test_chat_and_cabinet_have_sockets_of_their_own(start_site: Start) -> None:
    site = start_site()
    with MarketClient(site.port, path="/chat/socket.io/") as chat:
        rooms = chat.await_event("chat_room_list")
    with MarketClient(site.port, path="/cabinet/socket.io/") as cabinet:
        cabinet.await_event("counters/all/success")

    assert site.config.secrets.chat_text in str(rooms)
    assert chat.names() == ["user_ready", "chat_room_list"]
    assert cabinet.names() == ["auth/success", "counters/all/success"]


def test_secrets_are_planted_where_the_platform_has_them(start_site: Start) -> None:
    site = start_site()
    with signed_in(site) as client, MarketClient(site.port, path="/chat/socket.io/") as chat:
        chat.await_event("chat_room_list")
        seen = str(client.events) + str(chat.events) + str(client.packets[:2])
    page = request(site.port, "GET", "/")[1].decode()

    missing = [secret for secret in site.config.secrets.all() if secret not in seen and secret not in page]
    assert missing == []


# --- starting and stopping -------------------------------------------------------------------------------------------


def test_a_site_that_was_down_comes_back_on_its_port_with_an_unbroken_truth(start_site: Start) -> None:
    site = start_site(pre_roll_s=5)
    port = site.port
    with signed_in(site) as client:
        client.await_ticks(10)
        site.stop()
        client.await_close()

    site.start()

    with signed_in(site) as client:
        client.await_ticks(10)
    site.stop()
    assert site.port == port
    truth = read_truth(site.truth_path)
    assert len(truth.of_kind("site_started")) == 2
    for symbol in ASSETS:
        times = [t.ts_ms for t in truth.ticks(symbol)]
        assert len(set(times)) == len(times)
        assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 200


def test_a_taken_port_and_a_site_not_running_are_told_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AlreadyRunning, match=str(port)):
            SimulatedSite(SiteConfig(port=port)).start()
    with pytest.raises(ConfigError, match="not running"):
        SimulatedSite().state()
    with pytest.raises(ConfigError, match="cannot be written"):
        SimulatedSite(SiteConfig(truth_path=tmp_path)).start()
    with pytest.raises(ConfigError, match="no truth"):
        _ = SimulatedSite().truth_path


RUN_SITE = """
import sys
from pathlib import Path
from fluxcap.capture.simulator import SiteConfig, run_site
run_site(SiteConfig(assets=("EURUSD_otc",), truth_path=Path(sys.argv[1])), lambda url: print(url, flush=True))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_run_site_serves_until_it_is_told_to_end(tmp_path: Path, how: signal.Signals) -> None:
    truth_path = tmp_path / "truth.jsonl"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN_SITE, str(truth_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert request(int(url.rstrip("/").rpartition(":")[2]), "GET", "/")[0] == 200

        process.send_signal(how)
        _, errors = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, errors) == (0, "")
    assert read_truth(truth_path).of_kind("site_stopped")


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("abrupt", "code"), [(False, 1001), (True, None)])
def test_sockets_can_be_closed(start_site: Start, abrupt: bool, code: int | None) -> None:
    site = start_site()
    with signed_in(site) as client, MarketClient(site.port, path="/chat/socket.io/") as chat:
        chat.await_event("chat_room_list")

        site.inject(Fault.CLOSE_SOCKETS, abrupt=abrupt)

        assert client.await_close() == code
        assert [entry["kind"] for entry in site.state()["sockets"]] == ["chat"]
        assert site.state()["faults"] == []


@pytest.mark.parametrize("pings", [False, True])
def test_in_a_silence_frames_are_lost_and_the_socket_stays(start_site: Start, pings: bool) -> None:
    site = start_site(ping_interval_s=0.3, ping_timeout_s=20)
    with signed_in(site) as client:
        client.await_ticks(10)
        site.inject(Fault.SILENCE, pings=pings)
        before = -1
        while before != len(client.ticks):  # what was on its way
            before = len(client.ticks)
            client.drain(0.3)
        packets = len(client.packets)
        client.drain(1.0)
        assert len(client.ticks) == before
        assert ("2" in client.packets[packets:]) is not pings

        site.end(Fault.SILENCE)

        client.await_ticks(10)
    site.stop()
    truth = read_truth(site.truth_path)
    first_sent = truth.sent("EURUSD_otc")[0]
    lost = [t for t in truth.ticks("EURUSD_otc") if first_sent.ts_ms < t.ts_ms and not t.sent]
    assert len(lost) >= 15
    assert not {t.raw_ts_ms for t in lost} & {raw for symbol, raw, _ in client.ticks if symbol == "EURUSD_otc"}


def test_a_backlog_comes_in_one_burst_with_nothing_missing(start_site: Start) -> None:
    site = start_site()
    with signed_in(site) as client:
        client.await_ticks(10)
        site.inject(Fault.BACKLOG, seconds=1.0)
        client.drain(0.2)
        held_from = len(client.ticks)
        client.await_ticks(50)
    site.stop()

    first_held_lag_s = client.arrivals_s[held_from] - (client.ticks[held_from][1] - OFFSET_MS) / 1000
    assert first_held_lag_s > 0.6
    received = [tick for tick in client.ticks if tick[0] == "EURUSD_otc"]
    ticks = [(t.symbol, t.raw_ts_ms, t.price) for t in read_truth(site.truth_path).ticks("EURUSD_otc")]
    begin = ticks.index(received[0])
    assert received == ticks[begin : begin + len(received)]


def receive_until(client: MarketClient, raw_ts_ms: int) -> None:
    """Receive until a tick with that stamp or a later one has come."""
    while not client.ticks or client.ticks[-1][1] < raw_ts_ms:
        client.await_ticks(1)


def during(ticks: list[tuple[str, int, float]], from_ms: int, to_ms: int = 1 << 62) -> list[tuple[str, int, float]]:
    """The ticks that happened in a stretch of true time, by stamps of UTC + 7200 s."""
    return [tick for tick in ticks if from_ms <= tick[1] - OFFSET_MS < to_ms]


def test_a_quiet_market_ticks_no_more_while_others_do(start_site: Start) -> None:
    site = start_site()
    with signed_in(site) as client:
        site.inject(Fault.QUIET_MARKET, symbols=("EURUSD_otc",))
        receive_until(client, now_ms(site) + 700 + OFFSET_MS)
        site.end(Fault.QUIET_MARKET)
        receive_until(client, now_ms(site) + 700 + OFFSET_MS)
    site.stop()

    truth = read_truth(site.truth_path)
    (begun,), (ended,) = truth.of_kind("fault_begun"), truth.of_kind("fault_ended")
    assert begun["symbols"] == ["EURUSD_otc"]
    quiet = during(client.ticks, begun["at_ms"], ended["at_ms"])
    assert {symbol for symbol, _, _ in quiet} == {"USDJPY_otc", "LBPUSD_otc"}
    assert "EURUSD_otc" in {symbol for symbol, _, _ in during(client.ticks, ended["at_ms"])}
    assert not [t for t in truth.ticks("EURUSD_otc") if begun["at_ms"] <= t.ts_ms < ended["at_ms"]]


def test_a_clock_step_moves_the_stamps_and_nothing_else(start_site: Start) -> None:
    site = start_site()
    with signed_in(site) as client:
        client.await_ticks(10)
        site.inject(Fault.CLOCK_STEP, offset_s=3_600)
        while client.await_ticks(1)[0][1] - now_ms(site) > 3_700_000:
            pass
        client.await_ticks(20)
        client.emit("changeSymbol", {"asset": "EURUSD_otc", "period": 60})
        history = client.await_event("updateHistoryNewFast")["history"]
    site.stop()

    truth = read_truth(site.truth_path)
    stepped_at_ms = truth.of_kind("fault_begun")[0]["at_ms"]
    for tick in truth.ticks("EURUSD_otc"):
        assert tick.raw_ts_ms - tick.ts_ms == (3_600_000 if tick.ts_ms >= stepped_at_ms else 7_200_000)
    stopped_at_ms = truth.of_kind("site_stopped")[0]["at_ms"]
    assert all(at * 1000 <= stopped_at_ms + 3_600_000 for at, _price in history)


def test_duplicates_are_sent_twice_and_happened_once(start_site: Start) -> None:
    site = start_site()
    with signed_in(site) as client:
        site.inject(Fault.DUPLICATES, share=1.0)
        receive_until(client, now_ms(site) + 700 + OFFSET_MS)
    site.stop()

    truth = read_truth(site.truth_path)
    whole = client.ticks[:-1]  # the last one's second copy may not have been read
    copies = Counter(during(whole, truth.of_kind("fault_begun")[0]["at_ms"]))
    assert len(copies) > 5
    assert set(list(copies.values())[:-1]) == {2}
    times = [t.raw_ts_ms for t in truth.ticks("EURUSD_otc")]
    assert len(times) == len(set(times))


def test_late_ticks_arrive_out_of_order(start_site: Start) -> None:
    with signed_in(site := start_site()) as client:
        site.inject(Fault.LATE_TICKS, share=0.5, extra_ms=300)

        def raw() -> list[int]:
            return [at for symbol, at, _ in client.ticks if symbol == "EURUSD_otc"]

        while raw() == sorted(raw()):  # until the test's time is over
            receive_until(client, now_ms(site) + 500 + OFFSET_MS)


def test_jitter_delays_and_keeps_the_order(start_site: Start) -> None:
    with signed_in(site := start_site()) as client:
        site.inject(Fault.JITTER, extra_ms=500)
        begun_ms = now_ms(site)
        receive_until(client, begun_ms + 1_500 + OFFSET_MS)

    arrivals = zip(client.arrivals_s, client.ticks, strict=True)
    lags_ms = [at * 1000 - (raw - OFFSET_MS) for at, (_, raw, _) in arrivals if raw - OFFSET_MS > begun_ms]
    assert max(lags_ms) > 250
    assert [raw for _, raw, _ in client.ticks] == sorted(raw for _, raw, _ in client.ticks)


def test_garbage_reaches_the_socket_and_never_the_truth(start_site: Start) -> None:
    site = start_site(noise=False)
    with signed_in(site) as client:
        site.inject(Fault.GARBAGE, kinds=("negative_price", "wrong_shape", "unknown_event", "huge_frame"))
        client._event = lambda name, data=None: client.events.append((name, data))  # type: ignore[method-assign]
        client.await_event("huge")
    site.stop()

    assert any(len(packet) > HUGE_BYTES for packet in client.packets)
    assert any(isinstance(packet, bytes) and b",-1.1]]" in packet for packet in client.packets)
    assert all(t.price > 0 for t in read_truth(site.truth_path).ticks("EURUSD_otc"))


def test_new_sockets_can_be_refused_while_the_page_is_served(start_site: Start) -> None:
    site = start_site()
    site.inject(Fault.REFUSE)

    with pytest.raises(InvalidStatus, match="503"):
        MarketClient(site.port)
    assert request(site.port, "GET", "/")[0] == 200

    site.end()
    with signed_in(site) as client:
        client.await_ticks(3)


def test_faults_end_by_themselves_and_are_in_the_truth(start_site: Start) -> None:
    site = start_site()
    with signed_in(site) as client:
        site.inject(Fault.SILENCE, seconds=0.3, pings=True)
        assert site.state()["faults"] != []
        client.drain(0.1)
        client.await_ticks(1)
        assert site.state()["faults"] == []
    site.stop()

    truth = read_truth(site.truth_path)
    assert [event["fault"] for event in truth.of_kind("fault_begun")] == ["silence"]
    assert [event["fault"] for event in truth.of_kind("fault_ended")] == ["silence"]


def test_a_fault_begun_anew_replaces_the_one_in_force(start_site: Start) -> None:
    site = start_site()
    with signed_in(site) as client:
        site.inject(Fault.QUIET_MARKET, symbols=("EURUSD_otc",))
        site.inject(Fault.QUIET_MARKET, symbols=("USDJPY_otc",))
        receive_until(client, now_ms(site) + 700 + OFFSET_MS)
    site.stop()

    second = read_truth(site.truth_path).of_kind("fault_begun")[1]
    assert {symbol for symbol, _, _ in during(client.ticks, second["at_ms"])} == {"EURUSD_otc", "LBPUSD_otc"}


# --- the controls over HTTP ------------------------------------------------------------------------------------------


def test_faults_over_http(start_site: Start) -> None:
    site = start_site()

    status, begun = request(site.port, "POST", "/control/faults", b'{"fault": "refuse"}')
    with pytest.raises(InvalidStatus):
        MarketClient(site.port)
    _, ended = request(site.port, "DELETE", "/control/faults?fault=refuse")
    _, state = request(site.port, "GET", "/control/state")

    assert status == 200
    assert [fault["fault"] for fault in json.loads(begun)["faults"]] == ["refuse"]
    assert json.loads(ended)["faults"] == []
    assert json.loads(state)["offset_s"] == 7_200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"fault":"no_such"}',
        b'{"fault":"silence","colour":1}',
        b'{"fault":"quiet_market","symbols":["NOSUCH"]}',
        b'{"fault":"garbage","kinds":["nice"]}',
        b'{"fault":"silence","seconds":-1}',
    ],
)
def test_senseless_orders_are_answered_with_a_sentence(start_site: Start, body: bytes) -> None:
    site = start_site()

    status, answer = request(site.port, "POST", "/control/faults", body)

    assert status == 400
    assert json.loads(answer)["error"].endswith(".")
    assert site.state()["faults"] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 200),
        ("HEAD", "", 200),
        ("GET", "en/cabinet/demo-quick-high-low/", 200),
        ("GET", "page.js", 200),
        ("GET", "frame", 200),
        ("GET", "favicon.ico", 200),
        ("GET", "nothing", 404),
        ("GET", "page.py", 404),
        ("POST", "", 405),
        ("DELETE", "control/faults?fault=none", 400),
        ("PUT", "control/faults", 404),
    ],
)
def test_http_routes(start_site: Start, method: str, path: str, status: int) -> None:
    assert request(start_site().port, method, f"/{path}")[0] == status


def test_bytes_that_are_no_request_do_no_harm(start_site: Start) -> None:
    site = start_site()
    for rubbish in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\r\n\r\n", b"x" * 100_000):
        with socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE_S) as connection:
            connection.sendall(rubbish)
            connection.shutdown(socket.SHUT_WR)
            try:
                while connection.recv(65_536):
                    pass
            except ConnectionError:
                pass  # cut off, which is an answer too

    with signed_in(site) as client:
        client.await_ticks(3)


# --- the time it tells ------------------------------------------------------------------------------------------------


def handshake_date(site: SimulatedSite) -> float | None:
    """The time (epoch seconds) in the answer to a handshake; None when it tells none."""
    with connect(f"ws://127.0.0.1:{site.port}/socket.io/?EIO=4&transport=websocket") as client:
        assert client.response is not None
        told = client.response.headers.get("Date")
    return None if told is None else parsedate_to_datetime(told).timestamp()


def test_it_tells_the_time_with_every_response(start_site: Start) -> None:
    site = start_site()

    told = httpx.get(site.url, trust_env=False, verify=False).headers["Date"]

    assert abs(parsedate_to_datetime(told).timestamp() - time.time()) < PATIENCE_S
    assert abs((handshake_date(site) or 0) - time.time()) < PATIENCE_S


def test_it_lies_about_the_time_or_says_nothing_when_asked_to(start_site: Start) -> None:
    site = start_site()

    site.inject(Fault.DATE_HEADER, offset_s=86_400)
    assert abs((handshake_date(site) or 0) - 86_400 - time.time()) < PATIENCE_S
    site.inject(Fault.DATE_HEADER, omit=True)
    assert handshake_date(site) is None
    assert "Date" not in httpx.get(site.url, trust_env=False, verify=False).headers

    site.end(Fault.DATE_HEADER)
    assert abs((handshake_date(site) or 0) - time.time()) < PATIENCE_S
