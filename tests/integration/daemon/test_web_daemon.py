"""The daemon's own web server with a real Chromium: foreign pages kept out, and the way from the site to the page."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.browser.chromium import Chromium
from tests.support.browser.webpage import WebPage, web_page
from tests.support.daemon.live_rig import DaemonProcess, Process
from tests.support.patience import PATIENCE_S, await_that

pytestmark = pytest.mark.browser
WEB = ("--web", "--web-port", "0")

ATTACK = """
const url = arguments[0], done = arguments[arguments.length - 1], ws = url.replace('http', 'ws');
const body = JSON.stringify({mode: 'lock', symbols: ['GBPUSD_otc']}), results = {};
const attempt = (name, promise) => promise.then(r => { results[name] = r; }, () => { results[name] = 'refused'; });
const read = (path, how) => fetch(url + path, how).then(r => r.text());
const socket = path => new Promise((good, bad) => {
  const s = new WebSocket(ws + path); s.onopen = () => good('open'); s.onerror = bad;
});
const element = (tag, set) => new Promise((good, bad) => {
  const e = Object.assign(document.createElement(tag), set); e.onload = () => good('loaded'); e.onerror = bad;
  document.body.append(e);
});
Promise.all([
  attempt('status', read('/api/status')),
  attempt('focus', read('/api/focus', {method: 'PUT', body, headers: {'content-type': 'application/json'}})),
  attempt('simple', fetch(url + '/api/focus', {method: 'POST', body, mode: 'no-cors'}).then(() => 'sent')),
  attempt('polling', read('/socket.io/?EIO=4&transport=polling')),
  attempt('socket', socket('/socket.io/?EIO=4&transport=websocket')),
  attempt('feed', read('/api/stream?watch=*')),
  attempt('script', element('script', {src: url + '/api/status'})),
  attempt('picture', element('img', {src: url + '/api/status'})),
]).then(() => done(results));
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with its web server, and no Chrome to attach to."""
    process = DaemonProcess(tmp_path / "daemon", 1, *WEB, "--focus", "EURUSD_otc")
    yield process
    process.discard()


@pytest.fixture
def foreign_site() -> Iterator[str]:
    """An empty page on another port of this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>foreign</title><link rel=icon href='data:,'>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_of_another_origin_can_neither_read_nor_drive_it(
    daemon: DaemonProcess, foreign_site: str, tmp_path: Path
) -> None:
    url = daemon.run_file().control
    with web_page(tmp_path / "profile") as page:
        page.open(foreign_site)
        page.driver.set_script_timeout(40)
        results = page.driver.execute_async_script(ATTACK, url)
        framed = page.script(
            "const f = document.createElement('iframe'); f.src = arguments[0]; document.body.append(f); return true",
            url,
        )
        page.driver.get(url)
        page.wait_text("start", "Where do candles come from?")

    assert framed
    # An opaque answer to a no-cors request tells the page nothing; what counts is that it did nothing.
    assert {name: result for name, result in results.items() if name != "simple"} == dict.fromkeys(
        ("status", "focus", "polling", "socket", "feed", "script", "picture"), "refused"
    )
    assert httpx.get(f"{url}/api/focus", trust_env=False, verify=False).json()["symbols"] == ["EURUSD_otc"]


def test_the_description_of_the_api_fetches_nothing_from_outside(daemon: DaemonProcess, tmp_path: Path) -> None:
    with web_page(tmp_path / "profile") as page:
        page.open(f"{daemon.run_file().control}/docs")
        page.wait(lambda: "/api/focus" in page.script("return document.body.innerText"), "the operations")
        page.picture("api-docs")

        assert page.foreign_requests() == []
        assert page.complaints() == []


@pytest.mark.long  # each part is shown by itself: site to store, the page, its button, a collection
def test_candles_of_the_site_reach_the_page_live_and_collected(
    tmp_path: Path, chromium: Callable[..., Chromium]
) -> None:
    site = Process(tmp_path / "site", "simulate", "--port", "0", "--assets", "EURUSD_otc,GBPUSD_otc")
    try:
        address = await_that(lambda: site.out.partition(" at ")[2].partition(" ")[0], "the site")
        daemon = DaemonProcess(
            tmp_path / "daemon", (browser := chromium()).port, *WEB, "--platform-url", address.split("/")[2]
        )
        try:
            daemon.await_status(lambda status: status["chrome"] == "attached", "the attach")
            browser.open(address)
            daemon.await_status(lambda status: status["assets_known"], "the platform's assets")
            _look(daemon.run_file().control, tmp_path / "profile")
            found = {path.parent.name for path in daemon.data_dir.rglob("*_otc_*.csv")}
            assert found == {"1H_candles", "15M_candles", "5M_candles", "1M_candles"}
        finally:
            code, _ = daemon.end()
        assert code == 0
        assert "Traceback" not in daemon.err
    finally:
        site.discard()


def _look(url: str, profile: Path) -> None:
    with web_page(profile) as page:
        page.open(f"{url}?source=platform&asset=GBPUSD_otc&theme=dark")
        _becomes_live(page)
        page.wait_text("legend", "GBP")
        page.wait_text("fact-platform-clock", "+2h")
        page.picture("dashboard-daemon")
        _collects(page)
        assert page.complaints() == []
        assert page.foreign_requests() == []


def _becomes_live(page: WebPage) -> None:
    page.wait_text("label", "Live, ")
    count = page.wait_chart(lambda chart: chart["count"] and chart["forming"], "candles")["count"]
    page.wait_chart(lambda chart: chart["count"] > count + 1, "more candles")


def _collects(page: WebPage) -> None:
    """The drawer's button has the daemon collect what ``fluxcap collect`` would."""
    page.click("more")
    page.click("history")
    page.click("confirm-yes")
    page.wait_text("collection-text", " 8 saved")
    page.wait_text("collection-text", "Saved 8 files")
    assert "Missing" not in page.text("collection-text")


def test_without_the_web_socket_io_is_not_imported() -> None:
    code = (
        "import sys; from pathlib import Path; import tempfile\n"
        "from fluxcap.capture.daemon.daemon import Daemon; from fluxcap.capture.runtime.settings import load_settings\n"
        "ends = {'pub': 'tcp://127.0.0.1:0', 'rep': 'tcp://127.0.0.1:0', 'control_port': 0}\n"
        "with tempfile.TemporaryDirectory() as d, Daemon(load_settings(data_dir=Path(d), web=False, **ends)): pass\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'socketio', 'engineio'}))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)

    assert done.stdout.strip() == "[]", done.stderr
