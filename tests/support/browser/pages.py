"""A tiny site for browser tests: pages, workers and frames that open WebSockets over which numbered frames come.

Served under several host names of one port (``http://platform.localhost:PORT``), which Chromium takes for different
sites and for secure ones, so that frames get processes of their own and service workers run.
"""

from __future__ import annotations

import threading
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from tests.support.patience import await_that

PERIOD_S = 0.02
SOCKET = "const s = new WebSocket('ws://' + location.host + '/ws?who=%s'); s.onmessage = () => {}; self.s = s;"
BLOB = "new Worker(URL.createObjectURL(new Blob([`%s`.replace('location.host', `'${location.host}'`)])))"
PAGES = {
    "/socket": f"<title>socket</title><script>{SOCKET % 'page'}</script>",
    "/quiet": "<title>quiet</title>",
    "/worker": "<title>worker</title><script>new Worker('/worker.js')</script>",
    "/blob": f"<title>blob</title><script>{BLOB % (SOCKET % 'blob')}</script>",
    "/shared": "<title>shared</title><script>new SharedWorker('/shared.js')</script>",
    "/service": "<title>service</title><script>navigator.serviceWorker.register('/service.js')</script>",
    "/frame": "<title>frame</title><iframe src='%s'></iframe>",
}
SCRIPTS = {f"/{who}.js": SOCKET % who for who in ("worker", "shared", "service")}


class Site:
    """Started at once; ``close()`` ends it. ``open_sockets`` are the connections that live."""

    def __init__(self) -> None:
        self._server: Server = serve(self._talk, "127.0.0.1", 0, process_request=self._serve_page)
        self.port: int = self._server.socket.getsockname()[1]
        self.open_sockets: set[ServerConnection] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def url(self, path: str, host: str = "platform") -> str:
        return f"http://{host}.localhost:{self.port}{path}"

    def is_platform_url(self, url: str) -> bool:
        return urlsplit(url).hostname in ("platform.localhost", "mirror.localhost")

    def close(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()

    def wait_for_socket(self, besides: set[ServerConnection]) -> None:
        """Until a page or worker has a socket open that is none of these."""
        await_that(lambda: self.open_sockets - besides, "a socket that is opened")

    def hang_up(self) -> None:
        """The server closes all its sockets."""
        for connection in list(self.open_sockets):
            connection.close()

    def _talk(self, connection: ServerConnection) -> None:
        """Send ``<host> <who> <number>`` for ever."""
        assert connection.request is not None
        host = connection.request.headers["Host"].partition(".")[0]
        who = parse_qs(urlsplit(connection.request.path).query)["who"][0]
        self.open_sockets.add(connection)
        try:
            number = 0
            while not self._stopping.wait(PERIOD_S):
                connection.send(f"{host} {who} {number}")
                number += 1
        except ConnectionClosed:
            pass
        finally:
            self.open_sockets.discard(connection)

    def _serve_page(self, connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        if url.path == "/ws":
            return None
        text, kind = PAGES.get(url.path), "text/html"
        if url.path in SCRIPTS:
            text, kind = SCRIPTS[url.path], "text/javascript"
        elif url.path == "/frame":
            text = PAGES["/frame"] % parse_qs(url.query)["src"][0]
        response = connection.respond(404 if text is None else 200, text or "")
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = kind
        response.headers["Set-Cookie"] = "ssid=COOKIE-SECRET"
        return response
