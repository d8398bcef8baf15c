"""Ways of getting a page's ticks out of a browser, each as a process of its own:

    python -m tests.bench.tick_readers WAY DEVTOOLS_PORT PAGE_HOST SECONDS FILE

``ours``: fluxcap's connection, session and decoder, the frames crossing from the reader's thread to another as they do
in the daemon. ``daemon``: the daemon's whole pipeline, up to what its listeners are told, on a first run, which has to
measure the platform's clock. ``again``: the same on a later run, which has its offset confirmed. ``bare``: receive,
json.loads, the least decoding. ``log``: Selenium's performance log, asked every 0.1 s. Playwright's way is
playwright_reader.py.

FILE gets the number of each tick (its price, see numbered_site.py) and the monotonic time when it was in hand, in
seconds: pairs of 8-byte floats. Reading ends SECONDS after the first tick. Printed are the seconds from attaching to
the first tick, and the share of a core that it took since then, in percent.
"""

from __future__ import annotations

import base64
import json
import queue
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fluxcap.capture.market.clock import ClockPrior

sys.path.insert(0, str(Path(__file__).parents[2]))

FIRST_TICK_WITHIN_S = 30.0


class Taken:
    """The ticks in hand. ``enough`` once ``seconds`` have passed since the first."""

    def __init__(self, seconds: float) -> None:
        self.pairs = array("d")
        self._seconds = seconds
        self._until_s = time.monotonic() + FIRST_TICK_WITHIN_S
        self._cpu_s = 0.0
        self.attaching_s = 0.0
        """When the reader turned to the browser, its imports done."""

    def add(self, number: float, now_s: float) -> None:
        if not self.pairs:
            self._until_s = now_s + self._seconds
            self._cpu_s = time.process_time()
        self.pairs.append(number)
        self.pairs.append(now_s)

    def told(self) -> str:
        """Seconds from attaching to the first tick, and percent of a core since."""
        if not self.pairs:
            raise SystemExit(f"no tick came within {FIRST_TICK_WITHIN_S:g} s")
        share = 100 * (time.process_time() - self._cpu_s) / (time.monotonic() - self.pairs[1])
        return f"{self.pairs[1] - self.attaching_s} {share}"

    @property
    def enough(self) -> bool:
        return time.monotonic() > self._until_s


def ours(port: int, page_host: str, taken: Taken) -> None:
    """fluxcap, up to the decoded tick."""
    from fluxcap.capture.chrome.connection import Connection
    from fluxcap.capture.chrome.endpoint import probe
    from fluxcap.capture.chrome.events import ArrivalTime, FrameReceived
    from fluxcap.capture.chrome.session import CdpSession
    from fluxcap.capture.platforms.base import RawTick
    from fluxcap.capture.platforms.pocketoption import PocketOption

    frames: queue.Queue[tuple[bytes, ArrivalTime]] = queue.Queue(200_000)
    taken.attaching_s = time.monotonic()
    connection = Connection(probe("127.0.0.1", port).websocket_url, lambda *frame: frames.put(frame), lambda why: None)
    session = CdpSession(lambda url: page_host in url)
    session.start(time.monotonic_ns())
    decoders: dict[Any, Any] = {}
    while not taken.enough:
        for command in session.outgoing():
            connection.send(command)
        try:
            message, stamp = frames.get(timeout=0.1)
        except queue.Empty:
            continue
        for event in session.receive(message, stamp):
            if type(event) is not FrameReceived:
                continue
            decoder = decoders.get(event.socket)
            if decoder is None:
                decoder = decoders[event.socket] = PocketOption().decoder()
            for tick in decoder.received(event.opcode, event.payload):
                if type(tick) is RawTick:
                    taken.add(tick.price, time.monotonic())
    connection.close()


class _NoOutlet:
    """Where candles would go: the figure is that of ticks."""

    def watermark(self, key: Any) -> Any:
        from fluxcap.schemas.types import Watermark

        return Watermark()

    def status(self) -> dict[Any, Any]:
        return {}

    def publish(self, *args: Any) -> list[Any]:
        return []

    revise = publish

    def take_derived(self) -> list[Any]:
        return []

    def record_gaps(self, gaps: Any) -> None: ...

    ensure_stream = forget_stream = forget_progress = record_gaps

    def not_compared(self, *args: Any) -> dict[Any, Any]:
        return {}

    def record_agreement(self, *args: Any) -> None: ...

    is_forming_heard = True

    def forming(self, *args: Any) -> bool:
        return True

    def heartbeat(self, *args: Any) -> None: ...


def daemon(port: int, page_host: str, taken: Taken, prior: ClockPrior | None = None) -> None:
    """fluxcap's pipeline, up to its listeners."""
    from fluxcap.capture.chrome.endpoint import probe
    from fluxcap.capture.market.clock import ClockPrior
    from fluxcap.capture.market.focus import Focus, FocusMode
    from fluxcap.capture.market.market import Market
    from fluxcap.capture.pipeline.pipeline import Pipeline
    from fluxcap.capture.platforms.pocketoption import PocketOption
    from fluxcap.schemas.types import StreamKey

    class Hearing:
        def published(self, update: Any) -> None:
            for tick in update.ticks:
                taken.add(tick.price, time.monotonic())

        def forming(self, key: Any, candle: Any) -> None: ...

        def chrome_changed(self, state: Any, reason: str) -> None: ...

    platform = PocketOption(extra_hosts=(page_host,))
    market = Market(platform, 60_000, Focus(FocusMode.ALL), prior=prior or ClockPrior())
    pipeline = Pipeline(
        market,
        _NoOutlet(),
        lambda symbol: StreamKey("BENCH", symbol, "1m"),
        lambda url: page_host in url,
        listeners=[Hearing()],
    )
    pipeline.start()
    taken.attaching_s = time.monotonic()
    browser = probe("127.0.0.1", port)
    pipeline.attach(browser.websocket_url, browser.product)
    while not taken.enough:
        time.sleep(0.05)
    pipeline.stop()


def again(port: int, page_host: str, taken: Taken) -> None:
    """The same with the offset that an earlier run has kept."""
    from fluxcap.capture.market.clock import ClockPrior
    from fluxcap.capture.simulator.config import SiteConfig

    daemon(port, page_host, taken, ClockPrior(SiteConfig().offset_s * 1_000))


def bare(port: int, page_host: str, taken: Taken) -> None:
    """The least that can be done: one thread, one session on the page, no state but what is awaited."""
    import websocket

    from tests.support.daemon.plain_http import request

    taken.attaching_s = time.monotonic()
    pages = json.loads(request(port, "GET", "/json/list")[1])
    address = next(page["webSocketDebuggerUrl"] for page in pages if page_host in page["url"])
    socket = websocket.create_connection(address, suppress_origin=True, skip_utf8_validation=True)
    socket.send('{"id":1,"method":"Network.enable"}')
    while not taken.enough:
        message = json.loads(socket.recv())
        if message.get("method") != "Network.webSocketFrameReceived":
            continue
        response = message["params"]["response"]
        if response["opcode"] == 2:
            for number in prices(response["payloadData"]):
                taken.add(number, time.monotonic())
    socket.close()


def prices(payload: str) -> list[float]:
    """The prices of an attachment that holds ticks, decoded as one does without thinking; of another: none."""
    rows = json.loads(base64.b64decode(payload))
    if not (isinstance(rows, list) and rows and isinstance(rows[0], list) and len(rows[0]) == 3):
        return []
    return [price for _symbol, _ts, price in rows]


def log(port: int, page_host: str, taken: Taken) -> None:
    """Selenium's performance log."""
    from selenium import webdriver

    taken.attaching_s = time.monotonic()
    options = webdriver.ChromeOptions()
    options.add_experimental_option("debuggerAddress", f"127.0.0.1:{port}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options)
    for handle in driver.window_handles:
        driver.switch_to.window(handle)
        if page_host in driver.current_url:
            break
    while not taken.enough:
        for entry in driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] != "Network.webSocketFrameReceived":
                continue
            response = message["params"]["response"]
            if response["opcode"] == 2:
                for number in prices(response["payloadData"]):
                    taken.add(number, time.monotonic())
        time.sleep(0.1)
    driver.quit()


WAYS: dict[str, Callable[[int, str, Taken], None]] = {
    "ours": ours,
    "daemon": daemon,
    "again": again,
    "bare": bare,
    "log": log,
}


def main() -> None:
    way, port, page_host, seconds, file = sys.argv[1:]
    taken = Taken(float(seconds))
    WAYS[way](int(port), page_host, taken)
    with Path(file).open("wb") as out:
        taken.pairs.tofile(out)
    print(taken.told())


if __name__ == "__main__":
    main()
