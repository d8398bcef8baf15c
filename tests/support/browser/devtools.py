"""Two DevTools clients for browser tests: ``Capture`` is ours under test, ``Remote`` acts as the tab's user would."""

from __future__ import annotations

import contextlib
import json
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

from websockets.sync.client import ClientConnection, connect

from fluxcap.capture.chrome.connection import Connection
from fluxcap.capture.chrome.endpoint import probe
from fluxcap.capture.chrome.events import ArrivalTime, ChromeEvent, FrameReceived
from fluxcap.capture.chrome.session import CdpSession
from tests.support.browser.chromium import Chromium
from tests.support.patience import PATIENCE_S, pause_s

Condition = Callable[[ChromeEvent], bool]


class Capture:
    """A connection with its session, pumped by the test. Keeps all events and all traffic, both ways."""

    def __init__(
        self, browser: Chromium, is_platform_url: Callable[[str], bool], timeout_ns: int = 5_000_000_000
    ) -> None:
        self.session = CdpSession(is_platform_url, timeout_ns=timeout_ns)
        self.events: list[ChromeEvent] = []
        self.heard: list[bytes] = []
        self.said: list[str] = []
        self.end_reason = ""
        self._queue: queue.Queue[tuple[bytes, ArrivalTime] | ArrivalTime | str] = queue.Queue()
        self.connection = Connection(
            probe("127.0.0.1", browser.port, timeout_s=PATIENCE_S).websocket_url,
            lambda message, stamp: self._queue.put((message, stamp)),
            self._queue.put,
            self._queue.put,
        )
        self.session.start(time.monotonic_ns())

    def until(self, done: Condition, *, probing: bool = False) -> ChromeEvent:
        """Pump until an event fulfils ``done``; returns it. Each event is looked at once.

        ``probing``: ask browser and tabs for a sign of life all the while.
        """
        for event in self._pump(every_message=probing):
            if event is not None and done(event):
                return event
            if probing:
                self.session.probe(time.monotonic_ns())
        raise AssertionError(f"not seen within {PATIENCE_S:.0f} s; last events: {self.events[-10:]}")

    def until_state(self, target_id: str, state: str) -> None:
        """Pump until a target is in a state (``listening``, ``silent``, ``crashed``…)."""
        for _ in self._pump(every_message=True):
            if any((tab.target_id, tab.state) == (target_id, state) for tab in self.session.snapshot().tabs):
                return
        raise AssertionError(f"{target_id} is not {state}: {self.session.snapshot().tabs}")

    def until_answered(self, method: str) -> None:
        """Pump until the browser has answered the first command of that method."""
        for _ in self._pump(every_message=True):
            asked = [command["id"] for command in map(json.loads, self.said) if command["method"] == method]
            if asked and any(json.loads(message).get("id") == asked[0] for message in self.heard):
                return
        raise AssertionError(f"{method} was not answered")

    def frames(self, prefix: str = "") -> list[FrameReceived]:
        """The frames received so far whose text begins so."""
        return [e for e in self.events if isinstance(e, FrameReceived) and e.payload.startswith(prefix)]

    def close(self) -> None:
        self.connection.close()

    def send_pending(self) -> None:
        for command in self.session.outgoing():
            self.said.append(command)
            self.connection.send(command)

    def _pump(self, *, every_message: bool = False) -> Iterator[Any]:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self.send_pending()
            fresh = self._take(self._queue.get(timeout=PATIENCE_S))
            self.events += fresh
            yield from fresh
            if every_message:
                yield None

    def _take(self, item: tuple[bytes, ArrivalTime] | ArrivalTime | str) -> list[ChromeEvent]:
        if isinstance(item, str):
            self.end_reason = item
            return self.session.browser_gone()
        if isinstance(item, ArrivalTime):
            return self.session.expire(item.mono_ns)
        message, stamp = item
        self.heard.append(message)
        events = self.session.receive(message, stamp)
        return events + (self.session.expire(stamp.mono_ns) if stamp.drained else [])


class Remote:
    """One tab, driven from outside over a DevTools connection of its own for each call."""

    def __init__(self, browser: Chromium, target_id: str) -> None:
        self.id = target_id
        self._url = f"ws://127.0.0.1:{browser.port}/devtools/page/{target_id}"

    def call(self, method: str, **params: Any) -> Any:
        """One command and its answer."""
        with self._connect() as connection:
            return _call(connection, method, params)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Until the expression is true in the page."""
        begin_s = time.monotonic()
        while (waited_s := time.monotonic() - begin_s) < PATIENCE_S:
            with contextlib.suppress(AssertionError, KeyError):
                if self.evaluate(expression):
                    return
            time.sleep(pause_s(waited_s))
        raise AssertionError(f"never true: {expression}")

    def navigate(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def back(self) -> None:
        with self._connect() as connection:
            history = _call(connection, "Page.getNavigationHistory", {})
            entry = history["entries"][history["currentIndex"] - 1]
            _call(connection, "Page.navigateToHistoryEntry", {"entryId": entry["id"]})

    def crash(self) -> None:
        """The renderer dies; the command itself is never answered."""
        with self._connect() as connection:
            connection.send(json.dumps({"id": 1, "method": "Page.crash"}))
            while "targetCrashed" not in str(connection.recv(timeout=PATIENCE_S)):
                pass

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Frozen as Chrome freezes hidden tabs, for as long as this is held."""
        with self._connect() as connection:
            _call(connection, "Page.setWebLifecycleState", {"state": "frozen"})
            yield
            _call(connection, "Page.setWebLifecycleState", {"state": "active"})

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """The page's own thread is kept by a script, for as long as this is held."""
        with self._connect() as connection:
            # Answered before the timer runs: from then on only what interrupts a script comes through.
            _call(connection, "Runtime.evaluate", {"expression": "setTimeout(() => { while (true); }); 1"})
            yield
            _call(connection, "Runtime.terminateExecution", {})

    def _connect(self) -> ClientConnection:
        return connect(self._url, max_size=None, proxy=None)


def discard(discards: Remote, url: str) -> None:
    """Discard a tab as Chrome does when memory is short."""
    discards.wait_for("location.href == 'chrome://discards/'")
    discards.evaluate(
        "import('chrome://discards/discards.mojom-webui.js').then(async module => {"
        "  const remote = module.DetailsProvider.getRemote();"
        "  const {infos} = await remote.getTabDiscardsInfo();"
        f"  const tab = infos.find(info => info.tabUrl == {json.dumps(url)});"
        "  await remote.discardById(tab.id, 0);"
        "})"
    )


def _call(connection: ClientConnection, method: str, params: dict[str, Any]) -> Any:
    connection.send(json.dumps({"id": 1, "method": method, "params": params}))
    while True:
        message = json.loads(connection.recv(timeout=PATIENCE_S))
        if message.get("id") == 1:
            assert "error" not in message, message
            return message["result"]
