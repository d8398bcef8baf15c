"""What belongs to the trader is nowhere: in no file, log, wire message, answer of the web server or traceback.

The simulated site plants tokens, user numbers, a balance, deals and chat in every personal event and in what the page
sends; cookie and address of the page carry one more. All that the daemon leaves or says is searched for every one.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import socketio

from fluxcap.capture.simulator import Secrets, SimulatedSite, SiteConfig
from fluxcap.schemas import codec, types
from fluxcap.schemas.types import StreamKey
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.browser.devtools import Remote
from tests.support.daemon.fault_rig import SHORT_WAITS, Hearing, Wire
from tests.support.daemon.live_rig import DaemonProcess, Process
from tests.support.patience import PATIENCE_S, await_that

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ASSETS = ("EURUSD_otc", "GBPUSD_otc")
COOKIE, TOKEN = "c00kieJar-81f2-zz", "addr3ssToken-55ab"
SECRETS = (*Secrets().all(), COOKIE, TOKEN)
ROUTES = (
    *("/health", "/api/status", "/api/focus", "/api/assets", "/api/gaps", "/api/collect-mode", "/metrics"),
    *("/openapi.json", "/docs", "/api/available-csv-files", "/"),
)


class Left:
    """All that was left and said, by where."""

    def __init__(self) -> None:
        self.places: dict[str, bytes] = {}
        self.frames = 0

    def files(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self.places[str(path)] = path.read_bytes()


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    with ExitStack() as stack:
        yield _run(tmp_path_factory.mktemp("privacy"), stack)


def _run(folder: Path, stack: ExitStack) -> Left:
    left = Left()
    config = SiteConfig(assets=ASSETS, rate_hz=10, second_assets_s=2)
    site = stack.enter_context(SimulatedSite(config))
    browser = Chromium(folder / "chromium")
    stack.callback(browser.stop)
    host = site.url.removeprefix("http://").strip("/")
    settings = folder / "fluxcap.toml"
    settings.write_text(SHORT_WAITS)
    common = ("--platform-url", host, "--config", str(settings), "--debug")
    daemon = DaemonProcess(
        *(folder / "daemon", browser.port, *common, "--collect", "both", "--web", "--web-port", "0"),
        *("--record", str(folder / "daemon" / "frames.rec"), "--focus", ",".join(ASSETS)),
    )
    stack.callback(daemon.discard)
    failing = DaemonProcess(folder / "failing", browser.port, *common, module="tests.support.daemon.failing_daemon")
    stack.callback(failing.discard)
    for one in (daemon, failing):
        one.await_status(lambda seen: seen["chrome"] == "attached", "the attach")
    run = daemon.run_file()
    with Hearing(run.pub) as hearing:
        tab = Remote(browser, str(browser.open(f"{site.url}?token={TOKEN}#{TOKEN}")["id"]))
        tab.wait_for("window.site && site.ticks > 20")
        tab.evaluate(f"document.cookie = 'ssid={COOKIE}'; 1")
        tab.call("Page.reload")
        daemon.await_status(lambda seen: min((s["latest_sequence"] for s in seen["streams"]), default=0) > 5, "candles")
        await_that(lambda: "could not be handled; reconnecting" in failing.err, "a fault and its traceback")
        time.sleep(3)  # chat, signals and balances come every now and then
        left.frames = tab.evaluate("site.ticks")
        _ask_wire(left, Wire(run.rep), daemon.key(ASSETS[0]))
        _ask_web(left, run.control)
        for command in ("status", "gaps"):
            shown = Process(folder / command, command, "--data-dir", str(daemon.data_dir), "--json")
            assert shown.wait() == 0
            left.files(folder / command)
    for number, payload in enumerate(hearing.of(b"")):
        left.places[f"published {number}"] = payload
    for one in (daemon, failing):
        one.end()
    for name in ("daemon", "failing"):
        left.files(folder / name)
    return left


def _ask_wire(left: Left, wire: Wire, key: StreamKey) -> None:
    requests = (
        *(types.HealthRequest(), types.GetCursorRequest(key), types.SubscribeCandlesRequest(key)),
        *(types.BackfillCandlesRequest(key, 0), types.StreamStatusRequest(key), types.RevisionsRequest(key, 0)),
        *(types.ListStreamsRequest(), types.GetCursorRequest(StreamKey("NO", "SUCH", "1s"))),
    )
    for request in requests:
        left.places[f"answer to {type(request).__name__}"] = codec.encode(wire.ask(request))
    wire.close()


def _ask_web(left: Left, control: str) -> None:
    with httpx.Client(base_url=control, timeout=PATIENCE_S, trust_env=False, verify=False) as web:
        for route in ROUTES:
            left.places[f"GET {route}"] = repr(web.get(route).headers).encode() + web.get(route).content
        for file in web.get("/api/available-csv-files").json()["files"]:
            left.places[f"GET {file['path']}"] = web.get(f"/api/csv-data/{quote(file['path'])}").content
    told = []
    with socketio.SimpleClient() as client:
        client.connect(control, transports=["websocket"], wait_timeout=PATIENCE_S)
        client.emit("detect_asset", {})
        client.emit("start_stream", {"asset": ASSETS[0]})
        client.emit("change_asset", {"asset": ASSETS[1]})
        for _ in range(12):
            told.append(client.receive(timeout=PATIENCE_S))
    left.places["Socket.IO"] = repr(told).encode()


def forms(secret: str) -> tuple[bytes, ...]:
    """As text, and as the inside of base64 at each of its three offsets."""
    inside = (base64.b64encode(b" " * shift + secret.encode())[4 if shift else 0 : -4] for shift in range(3))
    return secret.encode(), *(part for part in inside if len(part) >= 8)


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_in_anything_that_is_left_or_said(left: Left, secret: str):
    leaks = [where for where, data in left.places.items() for form in forms(secret) if form in data]

    assert leaks == []


def test_all_places_were_searched(left: Left):
    wheres = "\n".join(left.places)

    for part in ("fluxcap.duckdb", ".journal", ".csv", "frames.rec", "stderr.txt", "GET /api/status", "Socket.IO"):
        assert part in wheres, part
    assert sum(where.startswith("published") for where in left.places) > 20
    assert left.frames > 20


def test_tracebacks_were_written_and_are_among_what_was_searched(left: Left):
    log = next(data for where, data in left.places.items() if where.endswith("failing/stderr.txt"))

    assert b"JSONDecodeError" in log
    assert b"Traceback" in log
