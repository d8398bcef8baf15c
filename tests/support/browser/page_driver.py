"""Looks at one tab as a person at the keyboard would: evaluates, clicks, reads the console and what the tab sends.

A DevTools connection of its own, written without the product's, so that the product can be held against it.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import websocket

from tests.support.browser.chromium import Chromium
from tests.support.patience import PATIENCE_S, pause_s


class PageDriver:
    """One tab, opened here and closed with it."""

    def __init__(self, browser: Chromium, url: str) -> None:
        self.browser = browser
        self.errors: list[str] = []
        """Exceptions, console errors and failed loads."""
        self.sent_frames: list[str] = []
        """Text frames sent by sockets of the page itself (not of its workers)."""
        self.socket_urls: list[str] = []
        target = browser.open("about:blank")
        self.target_id = target["id"]
        self._number = 0
        self._connection = websocket.create_connection(
            target["webSocketDebuggerUrl"], suppress_origin=True, timeout=PATIENCE_S, skip_utf8_validation=True
        )
        for domain in ("Runtime", "Log", "Page", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        self.wait_until("document.readyState === 'complete' && window.site !== undefined")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A DevTools command and its result."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv())
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])
            self._notice(message)

    def _notice(self, message: dict[str, Any]) -> None:
        params = message["params"]
        match message["method"]:
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.errors.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.errors.append(json.dumps(params["entry"]))
            case "Network.webSocketFrameSent":
                self.sent_frames.append(params["response"]["payloadData"])
            case "Network.webSocketCreated":
                self.socket_urls.append(params["url"])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_until(self, expression: str, timeout_s: float = PATIENCE_S) -> Any:
        """The first truthy value of an expression."""
        begin_s = time.monotonic()
        while (waited_s := time.monotonic() - begin_s) < timeout_s:
            if value := self.evaluate(expression):
                return value
            time.sleep(pause_s(waited_s))
        raise TimeoutError(f"never true: {expression}; {self.errors}; {self.evaluate('JSON.stringify(window.site)')}")

    def click(self, selector: str) -> None:
        """A real mouse click on the middle of an element, after it was scrolled to."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView();"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2, b.width]; })()"
        )
        assert box[2] > 0, f"{selector} is not to be seen"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self._connection.close()
        self.browser.close_tab(self.target_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
