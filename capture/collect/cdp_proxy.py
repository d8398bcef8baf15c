"""A DevTools endpoint on loopback that shows one tab of a browser: what a chromedriver is given instead of the browser.

Moves messages between a driver and a guest's session on the one browser connection (``chrome/share.py``); what may pass
is decided in ``cdp_filter.py``. Any program of this machine can reach a port, and the browser's user has let in this
one alone, so each way in wants a token that nobody can guess. A WebSocket has it in its path. A chromedriver can be
told a host and a port and nothing else: there it is the first part of the host's name (``TOKEN.localhost``, which its
HTTP client takes for loopback without asking anybody) and comes back in its Host header; the answer tells it the path.
Whatever carries an Origin is a web page and gets 403, as from Chrome itself.
"""

from __future__ import annotations

import contextlib
import hmac
import http
import queue
import secrets
import threading
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from websockets.exceptions import WebSocketException
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from fluxcap.capture.chrome.share import SharedBrowser
from fluxcap.capture.collect.cdp_filter import PlatformFilter, SingleTabFilter
from fluxcap.schemas.errors import BrowserGone, CommandFailed

TOKEN_BYTES = 16
SEND_MAX = 100_000
"""Messages that may wait for a client; one that reads no more is cut off."""


class Filter(Protocol):
    """The rules of one client: ``SingleTabFilter``, ``PlatformFilter``."""

    def to_browser(self, message: str) -> tuple[str, str]: ...

    def to_driver(self, message: str) -> str: ...


class GateAddress(msgspec.Struct, frozen=True):
    """The ways through a gate; secret, since who knows them may use them."""

    endpoint: str
    """For a driver's debuggerAddress."""
    feed_url: str
    """For a reader of the platform's frames."""


class SingleTabProxy:
    """Open from construction until ``close()``.

    Attributes
    ----------
    endpoint
        The ``HOST:PORT`` for a driver's debuggerAddress. Secret: who knows it has the tab.
    port
        Where it listens on 127.0.0.1.
    feed_url
        A WebSocket for this package's own reader, to the platform's tabs. Secret, too.
    address
        Both.

    Parameters
    ----------
    browser
        The connection to share.
    is_shown
        ``is_shown(url)``: the addresses of which the driver may see one tab.
    on_feed
        ``on_feed(open)``: the reader has come, or gone.
    """

    def __init__(
        self,
        browser: SharedBrowser,
        is_shown: Callable[[str], bool],
        on_feed: Callable[[bool], None] = lambda is_open: None,
    ) -> None:
        self._browser = browser
        self._is_shown = is_shown
        self._on_feed = on_feed
        token = secrets.token_hex(TOKEN_BYTES)
        self._feed_path = f"/{token}/feed"
        self._driver_path = f"/devtools/browser/{token}"
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
        self.port = int(self._server.socket.getsockname()[1])
        self.endpoint = f"{token}.localhost:{self.port}"
        self.feed_url = f"ws://127.0.0.1:{self.port}{self._feed_path}"
        self.address = GateAddress(self.endpoint, self.feed_url)
        self._thread = threading.Thread(target=self._server.serve_forever, name="fluxcap-tab-gate", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all connections through the gate."""
        self._server.shutdown()
        self._thread.join()

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """``/json/…`` as Chrome answers it, with what is shown only; None goes on to the WebSocket."""
        hosts = request.headers.get_all("Host")
        if len(hosts) != 1 or "Origin" in request.headers:
            return connection.respond(http.HTTPStatus.FORBIDDEN, "")
        on_loopback = hosts[0].partition(":")[0] == "127.0.0.1"  # a chromedriver leaves out the port
        if on_loopback and (_same(request.path, self._feed_path) or _same(request.path, self._driver_path)):
            return None
        if not _same(hosts[0], self.endpoint):
            return connection.respond(http.HTTPStatus.FORBIDDEN, "")
        try:
            if request.path == "/json/version":
                return _json(connection, self._version())
            if request.path in ("/json", "/json/list"):
                return _json(connection, self._pages())
        except (BrowserGone, CommandFailed) as error:
            return connection.respond(http.HTTPStatus.BAD_GATEWAY, str(error))
        return connection.respond(http.HTTPStatus.NOT_FOUND, "")

    def _version(self) -> dict[str, str]:
        """As the browser says it on ``/json/version``, but that its WebSocket is here."""
        told = self._browser.call("Browser.getVersion")
        return {
            "Browser": told["product"],
            "Protocol-Version": told["protocolVersion"],
            "User-Agent": told["userAgent"],
            "V8-Version": told.get("jsVersion", ""),
            "WebKit-Version": f"537.36 ({told.get('revision', '')})",
            "webSocketDebuggerUrl": f"ws://127.0.0.1:{self.port}{self._driver_path}",
        }

    def _pages(self) -> list[dict[str, Any]]:
        return [
            {
                "id": one["targetId"],
                "type": "page",
                "url": one["url"],
                "title": one["title"],
                "webSocketDebuggerUrl": f"ws://{self.endpoint}/devtools/page/{one['targetId']}",
            }
            for one in self._browser.call("Target.getTargets")["targetInfos"]
            if one["type"] == "page" and self._is_shown(one["url"])
        ]

    def _relay(self, client: ServerConnection) -> None:
        """One client: carry messages both ways until either side ends."""
        assert client.request is not None  # noqa: S101 - after the handshake
        is_feed = client.request.path == self._feed_path
        rules: Filter = PlatformFilter(self._is_shown) if is_feed else SingleTabFilter(self._is_shown)
        waiting: queue.Queue[str | None] = queue.Queue(SEND_MAX)
        if is_feed:
            self._on_feed(True)
        try:
            with contextlib.suppress(WebSocketException, OSError, BrowserGone, CommandFailed):
                guest = self._browser.join(
                    lambda text: _put(waiting, text, client), lambda: _put(waiting, None, client)
                )
                back = threading.Thread(target=_carry_back, args=(client, waiting, rules), name="fluxcap-tab-gate-back")
                back.start()
                try:
                    for message in client:
                        onward, answer = rules.to_browser(str(message))
                        if onward:
                            guest.send(onward)
                        if answer:
                            client.send(answer)
                finally:
                    guest.leave()
                    _put(waiting, None, client)
                    back.join()
        finally:
            if is_feed:
                self._on_feed(False)


def _put(waiting: queue.Queue[str | None], text: str | None, client: ServerConnection) -> None:
    """Queue a message on the browser's reader, which must not wait."""
    try:
        waiting.put_nowait(text)
    except queue.Full:
        with contextlib.suppress(OSError):
            client.socket.close()


def _carry_back(client: ServerConnection, waiting: queue.Queue[str | None], rules: Filter) -> None:
    with contextlib.suppress(WebSocketException, OSError):
        while (message := waiting.get()) is not None:
            if shown := rules.to_driver(message):
                client.send(shown)
    with contextlib.suppress(WebSocketException, OSError):
        client.close()


def _same(told: str, expected: str) -> bool:
    """Compare in a time that tells nothing of how much is right."""
    return hmac.compare_digest(told.encode(errors="replace"), expected.encode())


def _json(connection: ServerConnection, value: Any) -> Response:
    response = connection.respond(http.HTTPStatus.OK, msgspec.json.encode(value).decode())
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json; charset=UTF-8"
    return response
