"""A DevTools endpoint on loopback that shows one tab of a browser: what a chromedriver is given instead of the browser.

Moves messages between the driver and Chrome; what may pass is decided in ``cdp_filter.py``. Answers only programs:
whatever carries an Origin is a web page and gets 403, as from Chrome itself.
"""

from __future__ import annotations

import contextlib
import http
import threading
from collections.abc import Callable
from typing import Any

import msgspec
from websockets.exceptions import WebSocketException
from websockets.http11 import Request, Response
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve

from fluxcap.bridge.transport.addresses import in_address
from fluxcap.capture.chrome.endpoint import get_json, open_pages
from fluxcap.capture.collect.cdp_filter import SingleTabFilter
from fluxcap.schemas.errors import ChromeUnavailable

_BROWSER_TIMEOUT_S = 5.0
_LOCAL_NAMES = ("127.0.0.1", "localhost")


class SingleTabProxy:
    """Open from construction until ``close()``. ``endpoint``: the ``HOST:PORT`` for a driver's debuggerAddress.

    ``is_shown(url)``: the addresses of which the driver may see one tab.
    """

    def __init__(self, host: str, port: int, is_shown: Callable[[str], bool]) -> None:
        self._host = host
        self._port = port
        self._is_shown = is_shown
        self._server: Server = serve(
            self._relay,
            "127.0.0.1",
            0,
            process_request=self._answer_http,
            origins=[None],
            compression=None,
            max_size=None,
            ping_interval=None,
        )
        self.endpoint = f"127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="fluxcap-tab-gate", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all connections through the gate."""
        self._server.shutdown()
        self._thread.join()

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """``/json/…`` as Chrome answers it, with what is shown only; None goes on to the WebSocket."""
        hosts = request.headers.get_all("Host")
        if len(hosts) != 1 or hosts[0].partition(":")[0] not in _LOCAL_NAMES or "Origin" in request.headers:
            return connection.respond(http.HTTPStatus.FORBIDDEN, "")
        try:
            if request.path.startswith("/devtools/browser/"):
                return None
            if request.path == "/json/version":
                return _json(connection, self._version())
            if request.path in ("/json", "/json/list"):
                return _json(connection, self._pages())
        except ChromeUnavailable as error:
            return connection.respond(http.HTTPStatus.BAD_GATEWAY, str(error))
        return connection.respond(http.HTTPStatus.NOT_FOUND, "")

    def _version(self) -> dict[str, str]:
        """As the browser says it, but that its WebSocket is here."""
        version = get_json(self._host, self._port, "/json/version", dict[str, str], _BROWSER_TIMEOUT_S)
        path = version.get("webSocketDebuggerUrl", "").partition("//")[2].partition("/")[2]
        return {**version, "webSocketDebuggerUrl": f"ws://{self.endpoint}/{path}"}

    def _pages(self) -> list[dict[str, Any]]:
        pages = open_pages(self._host, self._port, _BROWSER_TIMEOUT_S)
        return [
            {**msgspec.to_builtins(page), "webSocketDebuggerUrl": f"ws://{self.endpoint}/devtools/page/{page.id}"}
            for page in pages
            if self._is_shown(page.url)
        ]

    def _relay(self, driver: ServerConnection) -> None:
        """One driver connection: carry messages both ways until either side ends."""
        assert driver.request is not None  # noqa: S101 - after the handshake
        url = f"ws://{in_address(self._host)}:{self._port}{driver.request.path}"
        rules = SingleTabFilter(self._is_shown)
        with (
            contextlib.suppress(WebSocketException, OSError),
            connect(url, max_size=None, compression=None, ping_interval=None, proxy=None) as browser,
        ):
            backwards = threading.Thread(
                target=_carry_back, args=(browser, driver, rules), name="fluxcap-tab-gate-back"
            )
            backwards.start()
            try:
                for message in driver:
                    onward, answer = rules.to_browser(str(message))
                    if onward:
                        browser.send(onward)
                    if answer:
                        driver.send(answer)
            finally:
                browser.close()
                backwards.join()


def _carry_back(browser: ClientConnection, driver: ServerConnection, rules: SingleTabFilter) -> None:
    with contextlib.suppress(WebSocketException, OSError):
        for message in browser:
            driver.send(rules.to_driver(str(message)))
    with contextlib.suppress(WebSocketException, OSError):
        driver.close()


def _json(connection: ServerConnection, value: Any) -> Response:
    response = connection.respond(http.HTTPStatus.OK, msgspec.json.encode(value).decode())
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json; charset=UTF-8"
    return response
